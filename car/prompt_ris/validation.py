"""How good a Prompt-RIS model is on pictures with expressions and true masks."""

import logging
from collections.abc import Callable, Iterable, Iterator
from itertools import chain, islice

import torch
import torch.distributed as dist

from car.data.referring import ReferringTruth
from car.errors import InputError
from car.metrics.referring import Overlap, overlap, referring_scores
from car.prompt_ris.model import PromptRIS
from car.prompt_ris.pictures import Pictures
from car.prompt_ris.referrer import PromptRISReferrer

log = logging.getLogger(__name__)

KINDS = ("final", "coarse")


def validate(
    model: PromptRIS,
    pictures: Pictures,
    *,
    dtype: torch.dtype = torch.float32,
    coarse: bool = False,
    watch: Callable[[], None] = lambda: None,
) -> dict[str, float]:
    """Scores over all expressions of all pictures, in [0, 1]; under torchrun the processes share the pictures.

    Args:
        model: stays in the mode that it is in.
        pictures: what cannot be read or asked is logged and left out.
        dtype: of the computation.
        coarse: score the coarse masks alone (stage 1).
        watch: called after each picture.

    Returns:
        "oIoU", "mIoU", "P@0.5", "P@0.7", "P@0.9" (IoU higher than X) of the masks that the model answers with; where
        these are SAM's, "coarse oIoU" and "coarse mIoU" besides.

    Raises:
        InputError: no picture could be read.
    """
    rank, world = (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)
    counted: dict[str, list[Overlap]] = {kind: [] for kind in KINDS}
    shared = range(rank, len(pictures), world)
    for _, found in judged(model, pictures, shared, dtype=dtype, coarse=coarse, watch=watch):
        for kind, targets in found.items():
            counted[kind] += chain.from_iterable(targets)
    if world > 1:
        gathered: list[dict[str, list[Overlap]]] = [{} for _ in range(world)]
        dist.all_gather_object(gathered, counted)
        counted = {kind: [one for each in gathered for one in each[kind]] for kind in KINDS}
    if not counted["coarse"]:
        raise InputError("None of the validation pictures could be read.")
    main = referring_scores(counted["final"] or counted["coarse"])
    scores = {"oIoU": main.oiou, "mIoU": main.miou, **{f"P@{x}": main.strict_precision[x] for x in (0.5, 0.7, 0.9)}}
    if counted["final"]:
        other = referring_scores(counted["coarse"])
        scores |= {"coarse oIoU": other.oiou, "coarse mIoU": other.miou}
    return scores


def judged(
    model: PromptRIS,
    pictures: Pictures,
    numbers: Iterable[int],
    *,
    dtype: torch.dtype = torch.float32,
    coarse: bool = False,
    watch: Callable[[], None] = lambda: None,
) -> Iterator[tuple[int, dict[str, list[list[Overlap]]]]]:
    """What the masks of some pictures share with the truth, picture by picture.

    Args:
        numbers: of the pictures.
        others: as of `validate`.

    Yields:
        The number of a picture, and by kind of mask ("coarse", and "final" where SAM is asked) the overlaps of each of
        its targets' expressions, as `grouped_scores` takes them. Blank expressions, and targets that have no other, are
        left out.
    """
    referrer = PromptRISReferrer(model, dtype=dtype)
    for number in numbers:
        try:
            found = of_picture(referrer, pictures.read(number), coarse)
        except InputError as error:
            log.warning("Validation picture %d is left out: %s", number, error)
            continue
        finally:
            watch()
        yield number, found


def of_picture(referrer: PromptRISReferrer, truth: ReferringTruth, coarse: bool) -> dict[str, list[list[Overlap]]]:
    """The overlaps of one picture, as of `judged`; raises InputError where nothing can be asked of it."""
    said = [[text for text in target.expressions if text.strip()] for target in truth.targets]
    if not any(said):
        raise InputError("nothing is said of it.")
    found = {}
    for kind, masks in referrer.prepare(truth.image, coarse=coarse).masks([*chain.from_iterable(said)]).items():
        left = iter(masks)
        targets = [
            [overlap(mask, target.mask) for mask in islice(left, len(texts))]
            for target, texts in zip(truth.targets, said, strict=True)
        ]
        found[kind] = [target for target in targets if target]
    return found
