"""`car train`: the one method that is trained."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from car.cli.options import with_options

if TYPE_CHECKING:
    from car.prompt_ris.pictures import Pictures
    from car.prompt_ris.training import Told

SCENES = "scenes"
DATA = (
    click.option("--data", help="scenes, or any of refcoco, refcoco+, refcocog, joined by commas.  [default: scenes]"),
    click.option("--data-root", type=click.Path(path_type=Path), help="Where the benchmarks are; see `car data`."),
    click.option("--split-by", multiple=True, metavar="NAME=WHO", help="Who split a benchmark: refcocog=google."),
    click.option("--categories", type=str, help="Train on these alone: coco-seen, coco-unseen, or a file of names."),
    click.option("--scenes", type=click.IntRange(min=1), help="Scenes in an epoch.  [default: 1600]"),
    click.option(
        "--val-images", type=click.IntRange(min=1), help="Pictures to validate on.  [default: 40; all of val]"
    ),
)
PARTS = (
    click.option("--model", help="CLIP: mini, ViT-B/16, a path, ...  [default: mini]"),
    click.option("--sam", help="SAM: mini, sam_vit_b, a file of weights.  [default: mini]"),
    click.option("--weights-dir", type=click.Path(path_type=Path), help="Where checkpoints are kept."),
    click.option("--clip-side", type=int, help="Pixels of the square CLIP sees.  [default: 480; mini: 112]"),
    click.option("--prompts", type=int, help="Learnable tokens per layer and direction.  [default: 16]"),
    click.option("--directions", help="Prompting: both, v2l, l2v or none.  [default: both]"),
    click.option("--start", type=click.Path(path_type=Path), help="Begin with what this trained model has learned."),
    click.option("--sam-prompts", help="Of mask, point and text, joined by +; none for no SAM.  [default: all]"),
)
TRAINING = (
    click.option("--coarse-epochs", type=int, help="Of stage 1, coarse masks alone.  [default: 20; mini: 4]"),
    click.option("--joint-epochs", type=int, help="Of stage 2, SAM's masks as well.  [default: 30; mini: 6]"),
    click.option("--images", type=int, help="Images in a step, of all processes together.  [default: 16]"),
    click.option("--sentences", type=int, help="Sentences for each.  [default: 4]"),
    click.option("--at-once", type=int, help="Images a process holds at once; fewer need less memory.  [default: all]"),
    click.option("--rate", type=float, help="Learning rate.  [default: 0.0001; mini: 0.002]"),
    click.option("--drop", type=float, help="Chance of a prompt for SAM to be left out.  [default: 0.25]"),
    click.option("--contrast", type=float, help="Weight of the instance contrastive loss.  [default: 1]"),
    click.option("--patience", type=int, help="Stop after so many epochs without a better oIoU.  [default: never]"),
    click.option("--seed", type=int, help="Of everything that is drawn.  [default: 0]"),
)
MACHINE = (
    click.option("--device", help="auto, cpu, cuda, cuda:1, mps.  [default: auto]"),
    click.option("--dtype", help="auto, fp32 or bf16.  [default: auto]"),
    click.option("--workers", type=click.IntRange(min=0), default=2, show_default=True, help="Processes that read."),
)
MINI: dict[str, Any] = {"clip_side": 112, "coarse_epochs": 4, "joint_epochs": 6, "rate": 2e-3}
"""For the embedded models, whose pictures are small and whose training is short."""
ARCHITECTURE = ("clip_side", "prompts", "directions", "sam_prompts")
HOW = (
    "coarse_epochs",
    "joint_epochs",
    "images",
    "sentences",
    "at_once",
    "rate",
    "drop",
    "contrast",
    "patience",
    "seed",
)


@click.group("train", context_settings={"help_option_names": ["-h", "--help"]})
def command() -> None:
    """Train the one method that is trained, Prompt-RIS.

    \b
    Examples:
      car train prompt-ris --out runs/ris
    """


@command.command("prompt-ris")
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), required=True, help="Folder of the run.")
@with_options(DATA, PARTS, TRAINING, MACHINE)
@click.option("--restart", is_flag=True, help="Begin anew where the folder holds a run, instead of going on with it.")
@click.option("--quiet", is_flag=True, help="Say nothing but errors.")
def prompt_ris(out: Path, restart: bool, quiet: bool, **options: Any) -> None:
    """Train Prompt-RIS: CLIP and SAM stay as they are, prompts between them learn to refer.

    Without options it learns from procedural scenes with the embedded models. The published training is the second
    example. The same command goes on with a run that was stopped, from what it saved last, every two minutes; OUT
    gets best.safetensors, which `car refer` and `car eval` take, the curves as steps.csv and epochs.csv (and
    curves.png, with matplotlib), and state.pt. Pictures that another split of a chosen benchmark has are never trained
    on.

    \b
    Examples:
      car train prompt-ris --out runs/ris
      car train prompt-ris --out runs/coco --data refcoco,refcoco+,refcocog --data-root data/coco \\
        --model ViT-B/16 --sam sam_vit_b --at-once 4
      torchrun --nproc-per-node 4 -m car train prompt-ris --out runs/coco --data refcoco --data-root data/coco \\
        --model ViT-B/16 --sam sam_vit_b
      car refer photo.jpg "the left dog" --method prompt-ris --model runs/ris/best.safetensors
    """
    from car.errors import InputError
    from car.export import make_folder
    from car.prompt_ris.checkpoint import build_model, start_from
    from car.prompt_ris.processes import Processes
    from car.prompt_ris.settings import PromptRISSettings
    from car.prompt_ris.training import BEST, Trainer
    from car.prompt_ris.training_settings import TrainingSettings

    given = {name: value for name, value in options.items() if value not in (None, ())}
    model, sam = given.pop("model", "mini"), given.pop("sam", "mini")
    chosen = (MINI if model == "mini" else {}) | given
    if "sam_prompts" in chosen:
        chosen["sam_prompts"] = tuple(name for name in chosen["sam_prompts"].split("+") if name != "none")
        if not chosen["sam_prompts"] and "joint_epochs" not in given:
            chosen["joint_epochs"] = 0
    architecture = PromptRISSettings(**{name: chosen[name] for name in ARCHITECTURE if name in chosen})
    how = TrainingSettings(**{name: chosen[name] for name in HOW if name in chosen})
    pictures, validation, said = open_data(given, how.seed)
    with Processes(chosen.get("device", "auto"), chosen.get("dtype", "auto")) as here:
        if here.first:
            make_folder(out)
            clear(out, restart)
        here.wait()
        here.seed(how.seed)
        built, backbones = build_model(model, sam, architecture, weights_dir=chosen.get("weights_dir"))
        if "start" in chosen:
            start_from(built, chosen["start"])
        trainer = Trainer(
            built,
            backbones,
            pictures,
            validation,
            out,
            how,
            device=here.device,
            dtype=here.dtype,
            workers=chosen["workers"],
        )
        if here.first and not quiet:
            learned = sum(p.numel() for p in built.learned().values())
            click.echo(f"{said}; {learned:,} learned parameters, {here.told}", err=True)
        try:
            watch(trainer, quiet=quiet or not here.first)
        except KeyboardInterrupt:
            raise click.Abort("The same command goes on where it was saved last.") from None
        if here.first and trainer.best < 0:
            raise InputError("The run ended without a validation.")
        if here.first and not quiet:
            finish(out, out / BEST)


def open_data(given: dict[str, Any], seed: int) -> "tuple[Pictures, Pictures, str]":
    """What to train and validate on, and a line about it."""
    from car.data import OfCategories, open_referring, read_categories
    from car.errors import InputError
    from car.prompt_ris.family import open_family
    from car.prompt_ris.pictures import OfDataset, ScenePictures, Some, all_but

    names = given.get("data", SCENES).split(",")
    categories = read_categories(given["categories"]) if "categories" in given else None
    if names == [SCENES]:
        for name in ("data_root", "split_by"):
            if name in given:
                raise InputError(f"`--{name.replace('_', '-')}` is of benchmarks; scenes need no data.")
        without = () if categories is None else all_but(categories)
        pictures = ScenePictures(seed=seed, count=given.get("scenes", 1600), without=without)
        validation = ScenePictures(seed=0, count=given.get("val_images", 40), split="val", without=without)
        return pictures, validation, f"{len(pictures):,} scenes in an epoch, {len(validation):,} to validate on"
    if "scenes" in given:
        raise InputError("`--scenes` is of scenes; a benchmark has the pictures it has.")
    if "data_root" not in given:
        raise InputError(
            f"Name the folder of {', '.join(names)} with `--data-root`; `car data list` says what it holds."
        )
    makers = dict(each.partition("=")[::2] for each in given.get("split_by", ()))
    family = open_family(names, given["data_root"], split_by=makers, categories=categories)
    split = open_referring(names[0], given["data_root"], split="val", split_by=makers.get(names[0]))
    val = OfDataset(split if categories is None else OfCategories(split, categories))
    some = Some(val, given.get("val_images", len(val)))
    said = f"{len(family):,} pictures ({family.removed:,} more are in other splits and left out)"
    return family, some, f"{said}, {len(some):,} to validate on"


def clear(out: Path, restart: bool) -> None:
    """Remove what a run left in its folder, where that is wanted."""
    from car.prompt_ris.training import BEST, EPOCHS, STATE, STEPS

    for name in (STATE, STEPS, EPOCHS, BEST) if restart else ():
        (out / name).unlink(missing_ok=True)


def watch(trainer: Any, *, quiet: bool) -> None:
    """Train, and show how it goes."""
    from car.cli.progress import progress

    with progress(trainer.steps, quiet=quiet, done=trainer.step, unit="steps") as advance:

        def tell(told: "Told") -> None:
            line = None
            if told.scores is not None:
                shown = "  ".join(f"{name} {100 * value:.1f}" for name, value in told.scores.items())
                line = f"epoch {told.epoch} ({told.stage}): {shown}"
            advance(line, note=f"epoch {told.epoch} ({told.stage}), loss {told.figures['loss']:.3f}")

        trainer.train(tell)


def finish(out: Path, best: Path) -> None:
    """Draw the curves where that can be done, and say what there is."""
    from car.errors import MissingError
    from car.prompt_ris.curve_plots import plot_curves

    try:
        click.echo(f"-> {plot_curves(out)}")
    except MissingError as missing:
        click.echo(f"no curves.png: {missing}", err=True)
    click.echo(f'-> {best}  (car refer photo.jpg "the left dog" --method prompt-ris --model {best})')
