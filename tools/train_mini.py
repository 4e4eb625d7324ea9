"""Train the embedded mini CLIP on procedural scenes: one command, resumable, judged by its proposals.

    MALLOC_MMAP_THRESHOLD_=4294967296 MALLOC_TRIM_THRESHOLD_=4294967296 \
        python tools/train_mini.py --out runs/mini --images 362000

Writes state.pt (everything a resumed run needs), log.jsonl, and best.safetensors (float16, OpenAI's layout).
"""

import json
import os
import time
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
import torch.nn.functional as F
from mini_data import Batch, Batches, stage_at
from mini_model import Mini, export
from mini_words import sentences, token_ids, vocabulary
from safetensors.torch import save
from torch import Tensor
from torch.utils.data import DataLoader

LEARNING_RATE = 1.2e-3
MATRIX_RATE = 2e-3
"""Of the blocks' matrices, which Muon updates (orthogonalised momentum): far fewer images are needed than by AdamW."""
WARM_UP = 400
DECAY_FROM = 0.5
"""Share of the images after which the learning rate falls, linearly, to a fiftieth."""
AVERAGE = 0.998
"""Decay of the running average of the weights, which is what is evaluated and exported."""
LARGEST_SCALE = 60.0
JUDGED_BY = ("cam", "own blur+gray")
"""The figures of `mini_eval.evaluate` whose sum says how good a checkpoint is: what it proposes, and whether it then
knows what it proposed."""


def soft_cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
    """Mean over rows of the cross-entropy against a distribution."""
    return -(target * F.log_softmax(logits.float(), dim=-1)).sum(dim=-1).mean()


def contrast(images: Tensor, captions: Tensor, same: Tensor, scale: Tensor, wrong: Tensor | None = None) -> Tensor:
    """Symmetric InfoNCE; equal captions are positives of each other.

    Args:
        images: (B, E) normalised.
        captions: (B, E) normalised.
        same: (B,), equal numbers are equal captions.
        scale: what cosines are multiplied by.
        wrong: (B, E), a caption for each image that nearly fits; each image must tell its own from all the others.
    """
    target = (same[:, None] == same[None]).float()
    target = target / target.sum(dim=-1, keepdim=True)
    logits = scale * images @ captions.T
    to_images = soft_cross_entropy(logits.T, target)
    if wrong is not None:
        own = scale * (images * wrong).sum(dim=-1, keepdim=True)
        logits, target = torch.cat([logits, own], dim=-1), F.pad(target, (0, 1))
    return (soft_cross_entropy(logits, target) + to_images) / 2


def own(patches: Tensor, words: Tensor, target: Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:
    """Two losses that know what is in the picture, not where.

    The first lets some patch own each word that is there (logsumexp over patches against the target distribution).
    The second asks that the patches' answers, averaged, have the target's shares; without it all of an object but
    its most telling patch may pass for background.
    """
    logits = (F.normalize(patches.float(), dim=-1) * scale) @ words.T
    some = soft_cross_entropy(logits.logsumexp(dim=1), target)
    shares = logits.softmax(dim=-1).mean(dim=1)
    return some, -(target * (shares + 1e-6).log()).sum(dim=-1).mean()


def losses(model: Mini, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
    """The terms of the loss on one batch."""
    size, side = len(batch.images), batch.images.shape[1] // model.visual.patch
    shuffled = torch.rand(size, side**2, generator=generator).argsort(dim=1)
    kept = shuffled[:, : round(side**2 * batch.stage.keep)].to(batch.images.device)
    cls, patches, values = model.visual(batch.images, kept)
    words = F.normalize(model.encode_text(torch.cat([batch.words, batch.nonsense])).float(), dim=-1)
    captions, wrong = F.normalize(model.encode_text(batch.captions).float(), dim=-1).chunk(2)
    scale = model.logit_scale.exp().clamp(max=LARGEST_SCALE)
    cls = F.normalize(cls.float(), dim=-1)
    plain = len(batch.patches)
    shares = padded(batch.patches, words)
    some, share = own(patches[:plain], words, shares, scale)
    some_value, share_value = own(values[:plain], words, shares, scale)
    terms = {
        "caption": 0.5 * contrast(cls, captions, batch.same, scale, wrong),
        "word": soft_cross_entropy(scale * cls @ words.T, padded(batch.present, words)),
        "some": 0.5 * some,
        "share": 0.6 * share,
        "some_value": 0.4 * some_value,
        "share_value": 0.5 * share_value,
    }
    if batch.stage.spread:
        others = F.normalize(model.encode_text(batch.others).float(), dim=-1)
        terms["spread"] = batch.stage.spread * spread(words[batch.drawn], others)
    return terms


def padded(target: Tensor, words: Tensor) -> Tensor:
    """A target over the K words, zero for the nonsense that comes after them."""
    return F.pad(target, (0, len(words) - target.shape[1]))


def spread(words: Tensor, others: Tensor) -> Tensor:
    """InfoNCE between two sentences for each word, (n, E) normalised each.

    Without it every thing's sentences collapse to one direction, and images take very long to pull them apart.
    """
    return contrast(words, others, torch.arange(len(words), device=words.device), torch.tensor(15.0))


def rate(step: int, steps: int) -> float:
    """Learning rate as a share of its peak: warm-up, constant, then a linear fall."""
    progress = step / steps
    fall = 1 - 0.98 * max(0.0, (progress - DECAY_FROM) / (1 - DECAY_FROM))
    return min(1.0, (step + 1) / WARM_UP) * fall


def optimizers(model: Mini) -> list[torch.optim.Optimizer]:
    """Muon for the blocks' matrices, AdamW for everything else."""
    named = dict(model.named_parameters())
    matrices = [p for name, p in named.items() if p.ndim == 2 and ".resblocks." in name]
    tables = [p for name, p in named.items() if p.ndim >= 2 and ".resblocks." not in name]
    vectors = [p for p in named.values() if p.ndim < 2]
    groups = [{"params": tables, "weight_decay": 0.05}, {"params": vectors, "weight_decay": 0.0}]
    return [
        torch.optim.Muon(matrices, lr=MATRIX_RATE, weight_decay=0.02, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(groups, lr=LEARNING_RATE, betas=(0.9, 0.98), fused=True),
    ]


class Run:
    """A training run and everything it must remember to be continued."""

    def __init__(
        self, out: Path, seed: int, steps: int, batch: int, options: dict[str, Any], device: str = "cpu"
    ) -> None:
        self.out, self.seed, self.steps, self.batch = out, seed, steps, batch
        self.device = torch.device(device)
        torch.manual_seed(seed)
        self.model = Mini(len(token_ids()), **options).to(self.device)
        self.average = {k: v.detach().clone() for k, v in self.model.state_dict().items()}
        self.optimizers = optimizers(self.model)
        self.step, self.best, self.seconds = 0, -1.0, 0.0

    def warm_up_text(self, steps: int) -> None:
        """Spread the words' sentences before any image is seen."""
        rng = np.random.default_rng([self.seed, 2**32])
        optimizer = torch.optim.AdamW(self.model.parameters(), lr=1e-3, betas=(0.9, 0.98), fused=True)
        for step in range(steps):
            with torch.autocast(self.device.type, torch.bfloat16):
                pairs = self.model.encode_text(torch.cat([sentences(rng), sentences(rng)]).to(self.device))
                loss = spread(*F.normalize(pairs.float(), dim=-1).chunk(2))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            if step == steps - 1:
                self.log(spread=round(float(loss.detach()), 4))

    def load(self) -> bool:
        """Continue from state.pt, if there is one."""
        path = self.out / "state.pt"
        if not path.exists():
            return False
        state = torch.load(path, map_location=self.device, weights_only=True)
        self.model.load_state_dict(state["model"])
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        self.average = state["average"]
        self.step, self.best, self.seconds = state["step"], state["best"], state["seconds"]
        return True

    def save(self) -> None:
        """Write state.pt; a kill while it is written leaves the one before."""
        temporary = self.out / "state.pt.tmp"
        torch.save(
            {
                "model": self.model.state_dict(),
                "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
                "average": self.average,
                "step": self.step,
                "best": self.best,
                "seconds": self.seconds,
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
            terms = losses(self.model, batch.to(self.device), generator)
        self.model.zero_grad()
        torch.stack(list(terms.values())).sum().backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        for optimizer in self.optimizers:
            optimizer.step()
        weight = 1 - min(AVERAGE, (self.step + 1) / (self.step + 10))
        with torch.no_grad():
            torch._foreach_lerp_(list(self.average.values()), list(self.model.state_dict().values()), weight)
        self.step += 1
        return {name: round(float(value.detach()), 4) for name, value in terms.items()}

    def log(self, **entry: object) -> None:
        line = json.dumps({"step": self.step, "images": self.step * self.batch, **entry})
        with (self.out / "log.jsonl").open("a", encoding="utf-8") as file:
            file.write(line + "\n")
        click.echo(line)

    def judge(self) -> None:
        """Evaluate the averaged weights and keep them where they propose and recognise proposals best so far."""
        from mini_eval import evaluate

        exported = export({k: v.cpu() for k, v in self.average.items()}, torch.from_numpy(token_ids()))
        figures = evaluate(exported)
        self.log(minutes=round(self.seconds / 60, 1), **{k: round(v, 4) for k, v in figures.items()})
        quality = sum(figures[name] for name in JUDGED_BY)
        if quality > self.best:
            self.best = quality
            temporary = self.out / "best.safetensors.tmp"
            temporary.write_bytes(save(exported))
            os.replace(temporary, self.out / "best.safetensors")

    def train(self, minutes: float, every: float, workers: int) -> None:
        """Train until the steps or the minutes are used up; judge and save every so many minutes."""
        data = Batches(self.seed, self.steps, self.batch)
        loader = DataLoader(
            data, batch_size=None, sampler=range(self.step, self.steps), num_workers=workers, prefetch_factor=4
        )
        started = last = time.monotonic()
        for batch in loader:
            begin = time.monotonic()
            terms = self.learn(batch)
            now = time.monotonic()
            self.seconds += now - begin
            if self.step % 50 == 0:
                scale = round(float(self.model.logit_scale.detach().exp()), 2)
                speed = round(self.batch / (now - begin), 1)
                self.log(stage=stage_at(self.step / self.steps).until, speed=speed, scale=scale, **terms)
            if now - last > 60 * every:
                self.judge()
                self.save()
                last = time.monotonic()
            if now - started > 60 * minutes:
                break
        self.judge()
        self.save()


@click.command(help=__doc__.replace("\n\n    ", "\n\n\b\n    "))
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), required=True, help="Folder of the run.")
@click.option("--images", default=500_000, show_default=True, help="Images to train on in all.")
@click.option("--minutes", default=float("inf"), help="Stop after this many minutes, to be continued.")
@click.option("--batch", default=128, show_default=True)
@click.option("--seed", default=0, show_default=True)
@click.option("--device", default="cpu", show_default=True, help="cpu, cuda, cuda:1, ...")
@click.option("--threads", default=1, show_default=True, help="Threads of the training process.")
@click.option("--workers", default=1, show_default=True, help="Processes that compose scenes.")
@click.option("--every", default=4.0, show_default=True, help="Minutes between evaluations.")
@click.option("--text-steps", default=120, show_default=True, help="Steps of the text encoder before any image.")
@click.option("--resume/--restart", default=True, help="Continue the run in the folder (the default) or begin anew.")
def main(
    out: Path,
    images: int,
    minutes: float,
    batch: int,
    seed: int,
    device: str,
    threads: int,
    workers: int,
    every: float,
    text_steps: int,
    resume: bool,
) -> None:
    torch.set_num_threads(threads)
    out.mkdir(parents=True, exist_ok=True)
    run = Run(out, seed, images // batch, batch, {}, device)
    if not (resume and run.load()):
        (out / "log.jsonl").unlink(missing_ok=True)
    parameters = sum(p.numel() for p in run.model.parameters())
    run.log(parameters=parameters, words=len(vocabulary()), tokens=len(token_ids()))
    if run.step == 0:
        run.warm_up_text(text_steps)
    run.train(minutes, every, workers)


if __name__ == "__main__":
    main()
