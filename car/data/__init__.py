"""The benchmarks of the field as they lie on disk: pictures with label maps, and pictures and films with expressions.

>>> from car.data import list_benchmarks, list_referring
>>> "ade847" in list_benchmarks(), "refcocog" in list_referring()
(True, True)
"""

from car.data.benchmark import Benchmark, ReferringBenchmark
from car.data.catalogue import DATASETS, find_benchmark, list_benchmarks
from car.data.dataset import IGNORE, SemanticDataset, Truth
from car.data.disk import DiskDataset, open_dataset
from car.data.explain import MissingDataError
from car.data.of_categories import OfCategories, read_categories
from car.data.referring import Frame, ReferringDataset, ReferringTruth, Target, VideoDataset
from car.data.referring_catalogue import REFERRING, find_referring, list_referring
from car.data.referring_readers import open_referring, open_video

__all__ = [
    "DATASETS",
    "IGNORE",
    "REFERRING",
    "Benchmark",
    "DiskDataset",
    "Frame",
    "MissingDataError",
    "OfCategories",
    "ReferringBenchmark",
    "ReferringDataset",
    "ReferringTruth",
    "SemanticDataset",
    "Target",
    "Truth",
    "VideoDataset",
    "find_benchmark",
    "find_referring",
    "list_benchmarks",
    "list_referring",
    "open_dataset",
    "open_referring",
    "open_video",
    "read_categories",
]
