"""Validation: scores are those of the masks that the model answers with, and what cannot be asked is left out."""

import logging
from dataclasses import dataclass, replace

import numpy as np
import pytest

from car.data import ReferringTruth, Target
from car.errors import InputError
from car.metrics.referring import grouped_scores
from car.prompt_ris.pictures import ScenePictures
from car.prompt_ris.referrer import PromptRISReferrer
from car.prompt_ris.validation import judged, validate
from tests.prompt_ris.models import needs_sam, small_model

PICTURES = ScenePictures(seed=0, count=3, split="val", sides=(48, 64), objects=((2, 3),), shares=(1.0,))


@dataclass(frozen=True)
class Given:
    """Pictures that are given; None is a damaged one."""

    truths: tuple[ReferringTruth | None, ...]

    def __len__(self) -> int:
        return len(self.truths)

    def read(self, index: int) -> ReferringTruth:
        if (truth := self.truths[index]) is None:
            raise InputError("it is damaged")
        return truth


def said(*texts: str) -> ReferringTruth:
    """A picture of noise with a target for each text, the upper half of it."""
    image = np.random.default_rng(0).integers(0, 256, (40, 56, 3), dtype=np.uint8)
    mask = np.zeros((40, 56), bool)
    mask[:20] = True
    return ReferringTruth(image, tuple(Target(str(i), (text,), mask, False, None) for i, text in enumerate(texts)))


@needs_sam
@pytest.mark.parametrize("coarse", [False, True])
def test_overlaps_are_those_of_the_answers(coarse: bool) -> None:
    model = small_model()
    referrer = PromptRISReferrer(model)
    found = dict(judged(model, PICTURES, [2, 0], coarse=coarse))
    assert list(found) == [2, 0]
    for number, kinds in found.items():
        truth = PICTURES.read(number)
        assert set(kinds) == ({"coarse"} if coarse else {"coarse", "final"})
        for kind, targets in kinds.items():
            assert [len(each) for each in targets] == [len(target.expressions) for target in truth.targets]
            for each, target in zip(targets, truth.targets, strict=True):
                masks = referrer.prepare(truth.image, coarse=coarse).masks(target.expressions)[kind]
                for one, mask in zip(each, masks, strict=True):
                    # Texts in other batches: a pixel on the edge may fall to the other side.
                    assert one.intersection == pytest.approx((mask & target.mask).sum(), abs=3)
                    assert one.union == pytest.approx((mask | target.mask).sum(), abs=3)
        grouped_scores([kinds["coarse"]])


@needs_sam
def test_scores_are_of_all_expressions() -> None:
    model = small_model()
    counted = [each for _, kinds in judged(model, PICTURES, range(3)) for target in kinds["final"] for each in target]
    scores = validate(model, PICTURES)
    assert scores["oIoU"] == sum(each.intersection for each in counted) / sum(each.union for each in counted)
    assert scores["mIoU"] == pytest.approx(np.mean([each.iou() for each in counted]))
    assert scores["P@0.5"] == np.mean([each.iou() > 0.5 for each in counted])
    coarse = validate(model, PICTURES, coarse=True)
    assert set(coarse) == {"oIoU", "mIoU", "P@0.5", "P@0.7", "P@0.9"}
    assert (scores["coarse oIoU"], scores["coarse mIoU"]) == (coarse["oIoU"], coarse["mIoU"])


def test_what_cannot_be_asked_is_left_out_and_told(caplog: pytest.LogCaptureFixture) -> None:
    model, seen = small_model(sam_prompts=()), []
    pictures = Given((said("a dog", " ", "cat"), None, said(" "), said("cat")))
    with caplog.at_level(logging.WARNING):
        found = dict(judged(model, pictures, range(4), watch=lambda: seen.append(1)))
    assert {number: [len(each) for each in kinds["coarse"]] for number, kinds in found.items()} == {0: [1, 1], 3: [1]}
    told = [record.getMessage() for record in caplog.records]
    assert told == [
        "Validation picture 1 is left out: it is damaged",
        "Validation picture 2 is left out: nothing is said of it.",
    ]
    assert len(seen) == 4
    whole = Given((replace(pictures.truths[0], targets=pictures.truths[0].targets[::2]), pictures.truths[3]))
    assert validate(model, pictures) == validate(model, whole)


def test_nothing_to_validate_on_is_an_error() -> None:
    with pytest.raises(InputError, match="None of the validation pictures could be read"):
        validate(small_model(sam_prompts=()), Given((None, said(" "))))
