"""What Prompt-RIS of the published size costs: training steps and answers with CLIP ViT-B/16 and SAM ViT-B.

    python tools/prompt_ris_step.py --threads 2
    python tools/prompt_ris_step.py --images 4 --device cuda --dtype bf16

The weights are random, for speed and memory do not care. CLIP sees 480 x 480 pixels, SAM 1024 x 1024. A picture is
prepared and an expression answered; then steps of stage 2 are made: the losses of coarse and final masks, their
gradients, AdamW. All of it is done twice, for the first time also warms up. Seconds of a step are without the time in
which its pictures are read. Memory is the most in use at the time: what torch had allocated on a GPU, otherwise that of
the whole process, libraries and weights included.
"""

import tempfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import click
import torch

from car.bench.meter import Meter, peak, reset_peak
from car.bench.models import random_clip
from car.device import choose_device, choose_dtype
from car.errors import CarError
from car.evaluate.markdown import count, number, table
from car.prompt_ris.checkpoint import Backbones
from car.prompt_ris.model import PromptRIS
from car.prompt_ris.pictures import ScenePictures
from car.prompt_ris.referrer import PromptRISReferrer
from car.prompt_ris.training import Told, Trainer
from car.prompt_ris.training_settings import TrainingSettings
from car.refine.sam_checkpoint import import_package, require_package

EXPRESSION = "the person in a red coat to the left of the small dog"
TIMES = 2


@dataclass(frozen=True)
class Cost:
    """What something took.

    seconds: each time that it was done.
    peak: bytes in use at most; None where the system does not tell.
    """

    what: str
    seconds: tuple[float, ...]
    peak: int | None

    def cells(self) -> tuple[str, ...]:
        """As a row of the table."""
        gibibytes = None if self.peak is None else self.peak / 2**30
        return (self.what, *map(number, self.seconds), number(gibibytes, 1))


class Enough(Exception):
    """All steps that are wanted have been made."""


def published_model() -> PromptRIS:
    """The published architecture with random weights, in float32 on the CPU."""
    require_package("segment_anything")
    return PromptRIS(random_clip("ViT-B/16"), import_package("segment_anything").build_sam_vit_b())


def costs(model: PromptRIS, images: int, sentences: int, device: torch.device, dtype: torch.dtype) -> Iterator[Cost]:
    """What answers and steps take, one after the other."""
    pictures = ScenePictures(seed=0, count=(TIMES + 1) * images)
    yield from answers(model.to(device), pictures, dtype)
    how = TrainingSettings(coarse_epochs=0, joint_epochs=1, images=images, sentences=sentences)
    yield step(model, pictures, how, device, dtype)


def answers(model: PromptRIS, pictures: ScenePictures, dtype: torch.dtype) -> Iterator[Cost]:
    """What a picture takes, and an expression for it."""
    referrer, image = PromptRISReferrer(model, dtype=dtype), pictures.read(0).image
    meters = [Meter(model.clip.clip.device) for _ in range(TIMES)]
    for meter in meters:
        with meter("a picture"):
            prepared = referrer.prepare(image)
        with meter("an expression for it"):
            prepared.refer(EXPRESSION)
    for what in meters[0].seconds:
        yield Cost(what, tuple(meter.seconds[what] for meter in meters), meters[-1].peaks[what])


def step(
    model: PromptRIS, pictures: ScenePictures, how: TrainingSettings, device: torch.device, dtype: torch.dtype
) -> Cost:
    """What a step of training takes."""
    told: list[Told] = []

    def watch(each: Told) -> None:
        told.append(each)
        if len(told) == TIMES:
            raise Enough

    reset_peak(device)
    with tempfile.TemporaryDirectory() as out, suppress(Enough):
        random = Backbones("random", "", "random", "")
        Trainer(model, random, pictures, pictures, Path(out), how, device=device, dtype=dtype).train(watch)
    what = f"a step, {how.images} x {how.sentences} sentences"
    return Cost(what, tuple(each.figures["seconds"] for each in told), peak(device))


def parameters(model: PromptRIS) -> str:
    """How many there are of each kind, in words."""
    numbers = {
        "learned": model.learned().values(),
        "frozen of CLIP": model.clip.clip.parameters(),
        "frozen of SAM": () if model.sam is None else model.sam.parameters(),
    }
    return ", ".join(f"{count(sum(p.numel() for p in each))} {name}" for name, each in numbers.items())


@click.command(help=__doc__.replace("    python", "\b\n    python", 1))
@click.option("--images", type=click.IntRange(min=1), default=1, show_default=True, help="In a step.")
@click.option("--sentences", type=click.IntRange(min=1), default=4, show_default=True, help="For each.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:1, mps.")
@click.option("--dtype", default="auto", show_default=True, help="auto, fp32, bf16, fp16.")
@click.option("--threads", type=click.IntRange(min=1), help="Of a CPU.  [default: torch's choice]")
def main(images: int, sentences: int, device: str, dtype: str, threads: int | None) -> None:
    if threads is not None:
        torch.set_num_threads(threads)
    try:
        place = choose_device(device)
        precision = choose_dtype(dtype, place)
        model = published_model()
        told = f"{place.type}, {str(precision).removeprefix('torch.')}, {torch.get_num_threads()} thread(s)"
        click.echo(f"Parameters: {parameters(model)}; {told}.\n")
        rows = [cost.cells() for cost in costs(model, images, sentences, place, precision)]
    except CarError as error:
        raise click.ClickException(str(error)) from None
    click.echo(table(("", "first, s", "second, s", "peak memory, GiB"), rows))


if __name__ == "__main__":
    main()
