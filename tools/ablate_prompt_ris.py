"""Prompt-RIS without some of its parts: the paper's Tables 3, 4 and 5, trained and evaluated on scenes with mini.

    python tools/ablate_prompt_ris.py --out runs/ablate-ris
    python tools/ablate_prompt_ris.py --out runs/ablate-ris --tables 3 --scenes 400 --threads 1

Training has the two stages of the paper. Stage 1, the coarse masks alone, is the same for all variants that differ in
SAM's prompts alone, and trained once for them, in OUT/stage1; each variant starts stage 2 from it, in OUT/stage2, at
half the rate. All see the same scenes, the same number of times. The same command goes on where it was stopped.

The three tables have 13 variants and six stages 1, by default of 600 steps of 16 scenes, some 2.5 s of CPU time each,
much less where the text does not prompt the images; stage 2 is 100 steps of some 7 s. That is in bf16; fp32, which is
taken where the CPU is not fast at bf16, takes a fifth more. All in all it is some four hours on one core of a server.
Evaluating takes 0.5 to 1.5 s per picture and variant.

The best model of each variant answers all expressions of held-out scenes: some like those trained on, some crowded with
several objects of one concept, where a name alone does not tell what is meant. Overlaps are kept picture by picture, so
that the tables can be made again at once. They are written to OUT/tables.md and printed: in per cent, mIoU with its
95 % interval by bootstrap over pictures, and its difference to the full model with that of paired rounds.
"""

import hashlib
import time
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path

import click
import torch
from ablate_prompt_ris_results import KINDS, PRECISION, Kind, Records, Result
from ablate_prompt_ris_variants import FULL, TABLES, Budget, Table, Variant, variants

from car.cli.progress import progress
from car.cli.train import MINI
from car.device import choose_dtype
from car.errors import CarError
from car.evaluate.markdown import count, number, per_cent, table, within
from car.export import make_folder, reported, write_atomically
from car.prompt_ris.checkpoint import build_model, load_prompt_ris, read, start_from
from car.prompt_ris.curves import Curve
from car.prompt_ris.pictures import ScenePictures
from car.prompt_ris.processes import Processes
from car.prompt_ris.settings import PromptRISSettings
from car.prompt_ris.training import BEST, Told, Trainer
from car.prompt_ris.validation import judged

CPU = torch.device("cpu")
DTYPE = choose_dtype("auto", CPU)
VALIDATED = 20
"""Scenes that the trainer chooses the best model by."""
SECONDS = "cpu.csv"
"""CPU time of each step, with the scenes it drew; the last of an epoch has that of the validation as well."""
SCORES = (*(f"P@{x}" for x in PRECISION), "ImgAcc", "InstAcc")


class Ablation:
    """Trains and evaluates what is missing, and puts the results in tables.

    Args:
        out: folder of the runs.
        budget: of each training.
        evaluated: pictures of each kind.
    """

    def __init__(self, out: Path, budget: Budget, evaluated: int) -> None:
        self.out, self.budget = out, budget
        self.numbers = {kind: kind.numbers(evaluated) for kind in KINDS}
        self.result = cache(self._result)

    def folder(self, variant: Variant, stage: int = 2) -> Path:
        """Where a stage of a variant is trained; in that of stage 2 its records are."""
        return self.out / f"stage{stage}" / (variant if stage == 2 else variant.first).name

    def run(self, asked: Iterable[Variant]) -> None:
        """Do whatever is missing."""
        for variant in asked:
            for stage in (1, 2):
                self.train(variant, stage)
            for kind in KINDS:
                self.evaluate(variant, kind)

    def train(self, variant: Variant, stage: int, watch: Callable[[Told], None] = lambda told: None) -> None:
        """Train a stage of a variant to the end."""
        folder = self.folder(variant, stage)
        make_folder(folder)
        trainer = self._trainer(variant, stage)
        title = f"{folder.name}, stage {stage}"
        meter = Curve(folder / SECONDS)
        meter.cut(trainer.step)
        left = trainer.steps - trainer.step
        with progress(trainer.steps, quiet=not left, done=trainer.step, unit="steps") as advance:
            before = time.process_time()

            def tell(told: Told) -> None:
                nonlocal before
                now = time.process_time()
                meter.add({"step": told.step, "seconds": now - before})
                before = now
                advance(f"{title}: {epoch_told(told)}" if told.scores else None, note=title)
                watch(told)

            trainer.train(tell)

    def evaluate(self, variant: Variant, kind: Kind) -> None:
        """Have the best model of a variant answer the pictures that it has not answered."""
        records = self._records(variant, kind)
        left = [each for each in self.numbers[kind] if kind.key(each) not in records.pictures]
        if not left:
            return
        model = load_prompt_ris(self.folder(variant) / BEST)
        with progress(len(left), quiet=False, unit="pictures") as advance:
            watch = lambda: advance(note=f"{variant.name}, {kind.name}")  # noqa: E731
            for each, found in judged(model, kind.pictures, left, dtype=DTYPE, watch=watch):
                records.add(kind.key(each), found.get("final", found["coarse"]))

    def page(self, tables: Iterable[Table]) -> str:
        """All of it as Markdown."""
        parts = [self.about()]
        for each in tables:
            parts += [f"## {each.title}", *(f"{kind.title}:\n\n{self.table(each, kind)}" for kind in KINDS)]
        return "\n\n".join(parts) + "\n"

    def about(self) -> str:
        """What was measured on what."""
        budget, (usual, alike) = self.budget, (self.result(FULL, kind) for kind in KINDS)
        return (
            "# The parts of Prompt-RIS, on scenes\n\n"
            f"Every variant was trained {epochs(budget.coarse_epochs)} on {count(budget.scenes)} scenes, the coarse "
            f"masks alone, and {epochs(budget.joint_epochs)} on as many others, with SAM, where it has one; "
            f"{budget.images} in a step, seeds {budget.seed} and {budget.seed + 1}, with the embedded CLIP and SAM; of "
            f"the epochs of a stage, the best by the oIoU of {VALIDATED} other scenes was taken. Evaluated on "
            f"{len(usual.pictures)} scenes like those trained on "
            f"({count(usual.expressions)} expressions) and {len(alike.pictures)} crowded ones with several objects of "
            f"one concept ({count(alike.expressions)}), none of them seen in training or validation. In per cent; mIoU "
            "with its 95 % interval over pictures, and its difference to the full model, paired; P@X counts an IoU "
            "higher than X. ImgAcc and InstAcc: shares of pictures and of targets all of whose expressions have an IoU "
            "above 0.5. CPU minutes are those of training, with drawing the scenes and validation."
        )

    def table(self, asked: Table, kind: Kind) -> str:
        """A table of one kind of pictures."""
        header = (asked.column, "oIoU", "mIoU", "difference to full", *SCORES, "CPU min", "learned")
        return table(header, [self._cells(title, variant, kind) for title, variant in asked.rows.items()])

    def _cells(self, title: str, variant: Variant, kind: Kind) -> tuple[str, ...]:
        result = self.result(variant, kind)
        scores = result.scores
        gain, ends = result.means.difference(self.result(FULL, kind).means)
        return (
            title,
            per_cent(scores["oIoU"]),
            f"{per_cent(scores['mIoU'])} {within(result.means.interval())}",
            "" if variant == FULL else f"{per_cent(gain, '+')} {within(ends, '+')}",
            *(per_cent(scores[name]) for name in SCORES),
            number(self.minutes(variant), 1),
            count(self.learned(variant)),
        )

    def minutes(self, variant: Variant) -> float:
        """CPU time of the steps that both stages of a variant's training have come to."""
        meters = (Curve(self.folder(variant, stage) / SECONDS) for stage in (1, 2))
        return sum(row["seconds"] for meter in meters for row in meter.rows()) / 60

    def learned(self, variant: Variant) -> int:
        """Learned parameters."""
        return sum(tensor.numel() for tensor in read(self.folder(variant) / BEST)[2].values())

    def _trainer(self, variant: Variant, stage: int) -> Trainer:
        how = self.budget.settings(variant, stage)
        Processes.seed(how.seed)
        parts = variant if stage == 2 else variant.first
        settings = PromptRISSettings(
            clip_side=MINI["clip_side"], directions=parts.directions, sam_prompts=parts.sam_prompts
        )
        model, backbones = build_model("mini", "mini", settings)
        if stage == 2:
            start_from(model, self.folder(variant, 1) / BEST)
        return Trainer(
            model,
            backbones,
            ScenePictures(seed=how.seed, count=self.budget.scenes),
            ScenePictures(seed=0, count=VALIDATED, split="val"),
            self.folder(variant, stage),
            how,
            device=CPU,
            dtype=DTYPE,
        )

    def _records(self, variant: Variant, kind: Kind) -> Records:
        """The records of a variant's best model: those of another one are in another file."""
        folder = self.folder(variant)
        weights = hashlib.sha256((folder / BEST).read_bytes()).hexdigest()[:12]
        return Records(folder / f"{kind.name}-{weights}.jsonl")

    def _result(self, variant: Variant, kind: Kind) -> Result:
        return self._records(variant, kind).of([kind.key(each) for each in self.numbers[kind]])


def epochs(number: int) -> str:
    """So many times."""
    return f"for {number} {'epoch' if number == 1 else 'epochs'}"


def epoch_told(told: Told) -> str:
    """A line about an epoch that has ended."""
    shown = "  ".join(f"{name} {per_cent(value)}" for name, value in (told.scores or {}).items())
    return f"epoch {told.epoch} ({told.stage}): {shown}"


def chosen(context: click.Context, parameter: click.Parameter, value: str) -> list[str]:
    """Numbers of tables joined by commas."""
    asked = [each.strip() for each in value.split(",")]
    if unknown := [each for each in asked if each not in TABLES]:
        raise click.BadParameter(f"no table {unknown[0]!r}; there are {', '.join(TABLES)}.")
    return asked


@click.command(help=__doc__.replace("    python", "\b\n    python", 1))
@click.option("--out", required=True, type=click.Path(file_okay=False, path_type=Path), help="Folder of the runs.")
@click.option("--tables", default="3,4,5", show_default=True, callback=chosen, help="Numbers joined by commas.")
@click.option("--scenes", type=click.IntRange(min=1), default=Budget.scenes, show_default=True, help="In an epoch.")
@click.option(
    "--coarse-epochs", type=click.IntRange(min=1), default=Budget.coarse_epochs, show_default=True, help="Of stage 1."
)
@click.option(
    "--joint-epochs", type=click.IntRange(min=1), default=Budget.joint_epochs, show_default=True, help="Of stage 2."
)
@click.option(
    "--evaluate", type=click.IntRange(min=2), default=60, show_default=True, help="Pictures of each of two kinds."
)
@click.option("--threads", type=click.IntRange(min=1), default=2, show_default=True, help="Of the CPU.")
@click.option("--seed", type=click.IntRange(min=0), default=Budget.seed, show_default=True, help="Of the training.")
def main(
    out: Path,
    tables: list[str],
    scenes: int,
    coarse_epochs: int,
    joint_epochs: int,
    evaluate: int,
    threads: int,
    seed: int,
) -> None:
    torch.set_num_threads(threads)
    try:
        ablation = Ablation(out, Budget(scenes, coarse_epochs, joint_epochs, seed), evaluate)
        with reported(out):
            ablation.run(variants(tables))
        page = ablation.page(TABLES[name] for name in tables)
        write_atomically(out / "tables.md", page.encode())
    except CarError as error:
        raise click.ClickException(str(error)) from None
    click.echo(page)


if __name__ == "__main__":
    main()
