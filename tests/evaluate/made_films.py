"""Records of films with random scores, for the tests of what runs over films come to."""

import random
from hashlib import sha256

from car.evaluate.video_plan import VideoPlan
from car.evaluate.video_record import AnnotatorRecord, VideoRecord
from car.metrics.video import RULES, ObjectScores

ANNOTATORS = ["annot1", "annot2"]
FRAMES = 6


def video_plan(keys, **changes) -> VideoPlan:
    listed = "".join(f"{key}\n" for key in keys).encode()
    values = {
        "benchmark": "ref-davis17", "split": "val", "variant": "unsupervised", "sequences": len(keys),
        "keys_sha256": sha256(listed).hexdigest(), "annotators": ANNOTATORS, "film": {"mode": "carried"},
        "method": "car", "preset": None, "model": "mini", "weights": {"clip": "0" * 64}, "device": "cpu",
        "dtype": "float32", "threads": 1, "config": {"theta": 0.5}, "proposals": {}, "language": {}, "captions": {},
        "limit": None, "seed": 0, "versions": {"car": "0"},
    }  # fmt: skip
    return VideoPlan(**{**values, **changes})


def film(rng: random.Random, key: str, objects: int) -> VideoRecord:
    """A film of as many objects, with other scores by every rule."""
    said = {}
    for name in ANNOTATORS:
        scores = {}
        for rule, how in RULES.items():
            frames = FRAMES - 2 * how.trimmed
            scores[rule] = tuple(
                ObjectScores(
                    number + 1,
                    tuple(rng.random() for _ in range(frames)),
                    tuple(rng.random() for _ in range(frames)),
                    tuple(rng.uniform(-1, 1) for _ in range(frames - 1)),
                )
                for number in range(objects)
            )
        said[name] = AnnotatorRecord(objects, FRAMES * objects, rng.randint(0, 3), {}, scores)
    return VideoRecord(key, FRAMES, said, {"read": 0.5, "segment": rng.uniform(1, 3), "score": 0.25})


def made_films(seed: int, count: int = 5) -> tuple[list[str], list[VideoRecord]]:
    """Keys and records; a film has the same number of objects whatever the seed."""
    rng = random.Random(seed)
    records = [film(rng, f"film-{index:03}", 1 + index % 3) for index in range(count)]
    return [record.key for record in records], records
