"""Train the embedded mini SAM on procedural scenes: one command, resumable, judged by clicks and boxes.

    MALLOC_MMAP_THRESHOLD_=4294967296 MALLOC_TRIM_THRESHOLD_=4294967296 OMP_NUM_THREADS=1 \
        python tools/train_mini_sam.py --out runs/mini_sam --images 100000

The same command continues a run that was stopped or killed. Writes state.pt (everything a resumed run needs), steps.csv
(the loss), curve.csv (the evaluations), and best.safetensors (float16, for `car.refine.sam_checkpoint.load_sam`).
"""

import json
import os
import time
from pathlib import Path
from typing import Any

import click
import torch
from mini_sam_data import Batch, Batches
from mini_sam_model import SIDE, export, new_sam, options_of
from mini_sam_rounds import Together, losses
from safetensors.torch import save
from torch import nn
from torch.utils.data import DataLoader

from car.prompt_ris.curves import Curve

STAGES = ((0.2, 64), (0.7, 128), (0.88, 192), (1.0, SIDE))
"""Shares of the images after which training at so many pixels ends: small first, which is several times faster."""
LEARNING_RATE = 1e-3
MATRIX_RATE = 3e-3
"""Of the transformers' and perceptrons' matrices, which Muon updates (orthogonalised momentum)."""
MATRICES = (".qkv.", ".proj.", "_proj.", ".lin1.", ".lin2.", "_mlps.", "_head.")
WARM_UP = 200
DECAY_FROM = 0.5
"""Share of the images after which the learning rate falls, linearly, to a fiftieth."""
AVERAGE = 0.998
"""Decay of the running average of the weights, which is what is evaluated and exported."""
LARGEST_GRADIENT = 1.0
JUDGED_BY = ("click", "box")
"""The figures of `mini_sam_eval.prompted` whose sum says how good a checkpoint is."""
LOGGED = 20
"""Steps that a row of steps.csv is the mean of."""
SAVED = 90.0
"""Seconds between two states on disk: what a killed run loses at most, but for the step it was in."""


def side_at(progress: float) -> int:
    """Side in pixels that a share of the images is trained at."""
    return next(side for until, side in STAGES if progress < until or until == STAGES[-1][0])


def rate(step: int, steps: int) -> float:
    """Learning rate as a share of its peak: warm-up, constant, then a linear fall."""
    fall = 1 - 0.98 * max(0.0, (step / steps - DECAY_FROM) / (1 - DECAY_FROM))
    return min(1.0, (step + 1) / WARM_UP) * fall


def optimizers(model: nn.Module) -> list[torch.optim.Optimizer]:
    """Muon for the matrices, AdamW for everything else."""
    named = dict(model.named_parameters())
    matrices = [p for name, p in named.items() if p.ndim == 2 and any(part in name for part in MATRICES)]
    chosen = {id(p) for p in matrices}
    tables = [p for p in named.values() if p.ndim >= 2 and id(p) not in chosen]
    vectors = [p for p in named.values() if p.ndim < 2]
    groups = [{"params": tables, "weight_decay": 0.02}, {"params": vectors, "weight_decay": 0.0}]
    return [
        torch.optim.Muon(matrices, lr=MATRIX_RATE, weight_decay=0.02, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(groups, lr=LEARNING_RATE, betas=(0.9, 0.98), fused=True),
    ]


class Run:
    """A training run and everything it must remember to be continued."""

    def __init__(
        self, out: Path, seed: int, steps: int, images: int, options: dict[str, Any], device: str = "cpu"
    ) -> None:
        self.out, self.seed, self.steps, self.images, self.options = out, seed, steps, images, options
        self.device = torch.device(device)
        torch.manual_seed(seed)
        self.model = new_sam(**options).to(self.device)
        self.average = {name: value.detach().clone() for name, value in self.model.state_dict().items()}
        self.together = Together(self.model.mask_decoder.transformer_dim).to(self.device)
        self.optimizers = optimizers(nn.ModuleList([self.model, self.together]))
        self.step, self.best, self.seconds, self.cpu = 0, -1.0, 0.0, 0.0
        self.log, self.curve = Curve(out / "steps.csv"), Curve(out / "curve.csv")

    def load(self) -> bool:
        """Continue from state.pt, if there is one."""
        path = self.out / "state.pt"
        if not path.exists():
            return False
        state = torch.load(path, map_location=self.device, weights_only=True)
        self.model.load_state_dict(state["model"])
        self.together.load_state_dict(state["together"])
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        self.average = state["average"]
        self.step, self.best, self.seconds, self.cpu = (state[name] for name in ("step", "best", "seconds", "cpu"))
        self.log.cut(self.step)
        self.curve.cut(self.step)
        return True

    def save(self) -> None:
        """Write state.pt; a kill while it is written leaves the one before."""
        temporary = self.out / "state.pt.tmp"
        torch.save(
            {
                "model": self.model.state_dict(),
                "together": self.together.state_dict(),
                "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
                "average": self.average,
                **{name: getattr(self, name) for name in ("step", "best", "seconds", "cpu")},
            },
            temporary,
        )
        os.replace(temporary, self.out / "state.pt")

    def learn(self, batch: Batch) -> dict[str, float]:
        """One step; returns the terms of the loss."""
        share = rate(self.step, self.steps)
        for optimizer, peak in zip(self.optimizers, (MATRIX_RATE, LEARNING_RATE), strict=True):
            for group in optimizer.param_groups:
                group["lr"] = peak * share
        generator = torch.Generator().manual_seed(self.seed * 2**32 + self.step)
        with torch.autocast(self.device.type, torch.bfloat16):
            loss, figures = losses(self.model, batch.to(self.device), generator, self.together)
        self.model.zero_grad()
        self.together.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), LARGEST_GRADIENT)
        for optimizer in self.optimizers:
            optimizer.step()
        weight = 1 - min(AVERAGE, (self.step + 1) / (self.step + 10))
        with torch.no_grad():
            torch._foreach_lerp_(list(self.average.values()), list(self.model.state_dict().values()), weight)
        self.step += 1
        return figures

    def tell(self, curve: Curve, **figures: float) -> None:
        """Write figures down, and where the run is."""
        where = {"step": self.step, "images": self.step * self.images, "minutes": round(self.seconds / 60, 2)}
        row = {**where, "cpu_minutes": round(self.cpu / 60, 2), **{k: round(v, 4) for k, v in figures.items()}}
        curve.add(row)
        click.echo(json.dumps(row))

    def judge(self) -> None:
        """Evaluate the averaged weights at the size they are trained at; keep the best at clicks and boxes."""
        from mini_sam_eval import prompted, tuning_scenes

        side = side_at((self.step - 1) / self.steps)
        judged = new_sam(**self.options | {"side": side})
        grid = judged.prompt_encoder.image_embedding_size[0]
        exported = export({name: value.cpu() for name, value in self.average.items()}, grid)
        judged.load_state_dict(exported)
        figures = {name: scores.mean(scores.scores) for name, scores in prompted(judged, tuning_scenes()).items()}
        self.tell(self.curve, side=side, **figures)
        quality = sum(figures[name] for name in JUDGED_BY)
        if quality > self.best:
            self.best = quality
            facts = {**options_of(judged), "images": self.step * self.images, "seed": self.seed}
            temporary = self.out / "best.safetensors.tmp"
            temporary.write_bytes(save(exported, metadata={name: str(value) for name, value in facts.items()}))
            os.replace(temporary, self.out / "best.safetensors")

    def train(self, minutes: float, every: float, prompts: int, workers: int) -> None:
        """Train until the steps or the minutes are used up; judge every so many minutes."""
        data = Batches(self.seed, [side_at(i / self.steps) for i in range(self.steps)], self.images, prompts)
        loader = DataLoader(
            data,
            batch_size=None,
            sampler=range(self.step, self.steps),
            num_workers=workers,
            prefetch_factor=4 if workers else None,
        )
        started = judged = saved = begin = time.monotonic()
        spent, rows = time.process_time(), []
        for batch in loader:
            rows.append(self.learn(batch))
            now, used = time.monotonic(), time.process_time()
            self.seconds, self.cpu = self.seconds + now - begin, self.cpu + used - spent
            if self.step % LOGGED == 0:
                means = {name: sum(row[name] for row in rows) / len(rows) for name in rows[0]}
                self.tell(self.log, side=batch.images.shape[1], speed=self.images / (now - begin), **means)
                rows = []
            if now - judged > 60 * every:
                self.judge()
                judged = time.monotonic()
            if now - saved > SAVED:
                self.save()
                saved = time.monotonic()
            if now - started > 60 * minutes:
                break
            begin, spent = time.monotonic(), time.process_time()
        self.judge()
        self.save()


@click.command(help=__doc__)
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), required=True, help="Folder of the run.")
@click.option("--images", default=100_000, show_default=True, help="Images to train on in all.")
@click.option("--minutes", default=float("inf"), help="Stop after this many minutes, to be continued.")
@click.option("--batch", default=8, show_default=True, help="Images in a step.")
@click.option("--prompts", default=8, show_default=True, help="Prompts for each image.")
@click.option("--seed", default=0, show_default=True)
@click.option("--device", default="cpu", show_default=True, help="cpu, cuda, cuda:1, ...")
@click.option("--threads", default=1, show_default=True, help="Threads of the training process.")
@click.option("--workers", default=0, show_default=True, help="Processes that compose scenes; 0 is the trainer itself.")
@click.option("--every", default=15.0, show_default=True, help="Minutes between evaluations.")
@click.option("--resume/--restart", default=True, help="Continue the run in the folder (the default) or begin anew.")
def main(
    out: Path,
    images: int,
    minutes: float,
    batch: int,
    prompts: int,
    seed: int,
    device: str,
    threads: int,
    workers: int,
    every: float,
    resume: bool,
) -> None:
    torch.set_num_threads(threads)
    out.mkdir(parents=True, exist_ok=True)
    run = Run(out, seed, images // batch, batch, {}, device)
    if not (resume and run.load()):
        for curve in (run.log, run.curve):
            curve.cut(0)
    run.train(minutes, every, prompts, workers)


if __name__ == "__main__":
    main()
