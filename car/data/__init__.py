"""The benchmarks of the field as they lie on disk, all read as pictures with label maps.

>>> from car.data import list_benchmarks
>>> "ade847" in list_benchmarks()
True
"""

from car.data.benchmark import Benchmark
from car.data.catalogue import DATASETS, find_benchmark, list_benchmarks
from car.data.dataset import IGNORE, SemanticDataset, Truth
from car.data.disk import DiskDataset, open_dataset
from car.data.explain import MissingDataError

__all__ = [
    "DATASETS",
    "IGNORE",
    "Benchmark",
    "DiskDataset",
    "MissingDataError",
    "SemanticDataset",
    "Truth",
    "find_benchmark",
    "list_benchmarks",
    "open_dataset",
]
