"""Training Prompt-RIS: two stages, any memory, any number of processes, and a resumed run that is the same run."""

import math
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, Dataset

from car.errors import CarError, CheckpointError, InputError
from car.prompt_ris.checkpoint import Backbones, save_model
from car.prompt_ris.curves import Curve
from car.prompt_ris.data import Batch, TrainingSet, steps_per_epoch
from car.prompt_ris.losses import instance_contrast, mask_loss
from car.prompt_ris.model import Answer, PromptRIS
from car.prompt_ris.pictures import Pictures
from car.prompt_ris.sam_prompts import gumbel
from car.prompt_ris.settings import SAM_PROMPTS
from car.prompt_ris.training_settings import TrainingSettings
from car.prompt_ris.validation import validate
from car.vlm.fingerprint import weights_hash
from car.vlm.preprocess import normalise

STATE, BEST, STEPS, EPOCHS = "state.pt", "best.safetensors", "steps.csv", "epochs.csv"
SAVED = 120.0
"""Seconds between two states on disk: what a killed run loses at most, but for the step it was in."""


@dataclass(frozen=True)
class Told:
    """What a trainer says after each step.

    step, steps: how many are done, and how many there are at most.
    epoch: of this step, from 1.
    stage: "coarse" or "joint".
    figures: terms of the loss; after the last step of an epoch, the scores of the validation as well.
    """

    step: int
    steps: int
    epoch: int
    stage: str
    figures: Mapping[str, float]
    scores: Mapping[str, float] | None = None


class Trainer:
    """Trains a model in a folder; the same arguments in the same folder go on where a run was stopped.

    The folder holds what the run must remember (state.pt), the curves (steps.csv, epochs.csv), and the model that was
    best by the validation's oIoU in the last stage begun (best.safetensors).

    Under torchrun each process trains on its share of every step's images (DistributedDataParallel).

    Args:
        model, backbones: from `build_model`; the model is moved to the device.
        pictures: to train on.
        validation: pictures to validate on after each epoch, with all their expressions.
        out: the folder.
        settings: how.
        device: of this process.
        dtype: of the computation, bf16 or fp32; learned weights and their moments are float32.
        workers: processes that prepare data; 0 for this one.

    Raises:
        InputError: batches that cannot be shared out, a model without SAM for stage 2, or a folder that holds a run
            with other arguments.
        CheckpointError: a damaged state.
    """

    def __init__(
        self,
        model: PromptRIS,
        backbones: Backbones,
        pictures: Pictures,
        validation: Pictures,
        out: Path,
        settings: TrainingSettings | None = None,
        *,
        device: torch.device,
        dtype: torch.dtype = torch.float32,
        workers: int = 0,
    ) -> None:
        self.settings = settings = settings or TrainingSettings()
        self.rank, self.world = (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)
        self.device, self.dtype, self.workers = device, dtype, workers
        self.backbones, self.out, self.validation = backbones, out, validation
        if dtype == torch.float16:
            raise InputError("Expected argument `dtype` to be bf16 or fp32 in training, but got fp16.")
        if settings.joint_epochs and model.sam is None:
            raise InputError("Stage 2 asks SAM, which these settings leave out; give it no epochs.")
        if settings.images % (self.world * (settings.at_once or 1)):
            raise InputError(
                f"Expected {settings.images} images to be shared out evenly among {self.world} process(es), "
                f"{settings.at_once or 'all'} at once."
            )
        self.at_once = settings.at_once or settings.images // self.world
        shares = settings.images // self.at_once
        self.model = model.to(device)
        self.parts = shares // self.world
        self.steps_per_epoch = steps_per_epoch(len(pictures), settings.images)
        self.pictures = len(pictures)
        self.data = Parts(
            TrainingSet(
                pictures,
                steps=self.steps,
                images=self.at_once,
                sentences=settings.sentences,
                seed=settings.seed,
                clip_side=model.settings.clip_side,
                sam_side=model.sam_side or model.settings.clip_side,
                mask_side=model.answer_side,
                context_length=model.clip.clip.context_length,
                rank=self.rank * self.parts + part,
                world=shares,
            )
            for part in range(self.parts)
        )
        self.optimizer = torch.optim.AdamW(
            model.learned().values(), lr=settings.rate, weight_decay=settings.weight_decay
        )
        self.step, self.ended = 0, False
        self.best, self.since_best = -1.0, 0
        self.curves = (Curve(out / STEPS), Curve(out / EPOCHS))
        self._runner: nn.Module = self.model
        self._runner_joint = False
        if (out / STATE).exists():
            self._load()
        elif self.rank == 0:
            for curve in self.curves:
                curve.cut(0)

    @property
    def steps(self) -> int:
        """How many there are in all, if none is spared by patience."""
        return self.steps_per_epoch * self.settings.epochs

    def rate(self, step: int) -> float:
        """Learning rate of a step, from 0: polynomial decay."""
        return self.settings.rate * (1 - step / self.steps) ** self.settings.power

    def train(self, watch: Callable[[Told], None] = lambda told: None) -> None:
        """Train to the end, or to where patience ends; call `watch` after each step (in the first process).

        Raises:
            CarError: the loss is not finite any more.
            InputError: many pictures in a row are damaged, or none to validate on can be read.
            RuntimeError: a backbone has changed, which cannot be.
        """
        saved = time.monotonic()
        for parts in self._batches():
            begin = time.monotonic()
            epoch = self.step // self.steps_per_epoch
            figures = self._learn(parts, epoch) | {"seconds": time.monotonic() - begin}
            self._tell(self.curves[0], epoch, figures)
            scores = None
            if self.step % self.steps_per_epoch == 0:
                scores = self._judge(epoch)
            if self.rank == 0:
                if scores is not None or time.monotonic() - saved > SAVED:
                    self.save()
                    saved = time.monotonic()
                stage = "joint" if self.settings.joint(epoch) else "coarse"
                watch(Told(self.step, self.steps, epoch + 1, stage, figures, scores))
            if self.ended:
                break
        self.check_frozen()

    def check_frozen(self) -> None:
        """Raise RuntimeError where a byte of a backbone is not what it was."""
        for role, module in (("clip", self.model.clip.clip), ("sam", self.model.sam)):
            if module is not None and weights_hash(module) != getattr(self.backbones, f"{role}_sha256"):
                raise RuntimeError(f"The weights of {role.upper()} have changed in training.")

    def save(self) -> None:
        """Write the state; a kill while it is written leaves the one before."""
        temporary = self.out / f"{STATE}.tmp"
        state = {
            "learned": {name: p.detach() for name, p in self.model.learned().items()},
            "optimizer": self.optimizer.state_dict(),
            "arguments": self._arguments(),
            **{name: getattr(self, name) for name in ("step", "best", "since_best", "ended")},
        }
        torch.save(state, temporary)
        os.replace(temporary, self.out / STATE)

    def _load(self) -> None:
        path = self.out / STATE
        try:
            state = torch.load(path, map_location=self.device, weights_only=True)
            told = state["arguments"]
        except Exception as error:
            raise CheckpointError(f"{str(path)!r} cannot be read: {' '.join(str(error).split())[:160]}") from None
        own = self._arguments()
        if other := [name for name in own if told.get(name) != own[name]]:
            name = other[0]
            raise InputError(
                f"{str(self.out)!r} holds a run with another `{name}` ({told.get(name)!r}, not {own[name]!r}); "
                "name another folder, or begin anew."
            )
        with torch.no_grad():
            for name, p in self.model.learned().items():
                p.copy_(state["learned"][name])
        self.optimizer.load_state_dict(state["optimizer"])
        for name in ("step", "best", "since_best", "ended"):
            setattr(self, name, state[name])
        if self.rank == 0:
            for curve in self.curves:
                curve.cut(self.step)

    def _arguments(self) -> dict[str, Any]:
        """What must be the same for a run to go on: all that its numbers depend on, but for how they are shared out."""
        told = {**asdict(self.settings), **self.model.settings.to_dict(), **asdict(self.backbones)}
        return {name: value for name, value in told.items() if name not in ("at_once", "patience")} | {
            "pictures": self.pictures,
            "dtype": str(self.dtype).removeprefix("torch."),
        }

    def _batches(self) -> Iterator[list[Batch]]:
        """The steps that are left, each a list of batches to accumulate."""
        left = range(self.step * self.parts, self.steps * self.parts)
        loader = DataLoader(
            self.data,
            batch_size=None,
            sampler=left,
            num_workers=self.workers,
            prefetch_factor=2 * self.parts if self.workers else None,
        )
        parts: list[Batch] = []
        batches = iter(() if self.ended else loader)
        while batch := one_line(batches):
            parts.append(batch)
            if len(parts) == self.parts:
                yield parts
                parts = []

    def _learn(self, parts: list[Batch], epoch: int) -> dict[str, float]:
        """One step; returns the terms of the loss."""
        joint = self.settings.joint(epoch)
        runner = self._wrapped(joint)
        for group in self.optimizer.param_groups:
            group["lr"] = self.rate(self.step)
        self.optimizer.zero_grad()
        sums: dict[str, float] = {}
        for number, batch in enumerate(parts):
            last = number + 1 == len(parts)
            if isinstance(runner, DistributedDataParallel):
                runner.require_backward_grad_sync = last
            terms = self._losses(runner, batch.to(self.device), joint, number)
            weighted = torch.stack([self._weight(name) * value for name, value in terms.items()]).sum()
            (weighted / len(parts)).backward()
            for name, value in terms.items():
                sums[name] = sums.get(name, 0.0) + float(value.detach()) / len(parts)
        means = self._mean(sums)
        loss = sum(self._weight(name) * value for name, value in means.items())
        if not math.isfinite(loss):
            raise CarError(f"The loss of step {self.step + 1} is {loss}; a lower `rate` may help, in a new folder.")
        self.optimizer.step()
        self.step += 1
        return {"loss": loss, **means}

    def _mean(self, figures: dict[str, float]) -> dict[str, float]:
        """Figures of this process's share of a step as those of the whole step."""
        if self.world == 1:
            return figures
        values = torch.tensor(list(figures.values()), device=self.device)
        dist.all_reduce(values)
        return dict(zip(figures, (values / self.world).tolist(), strict=True))

    def _weight(self, name: str) -> float:
        return self.settings.contrast if name.endswith("contrast") else 1.0

    def _wrapped(self, joint: bool) -> nn.Module:
        """The model as it is run: under torchrun, with gradients shared of what the stage trains."""
        if self.world == 1:
            return self.model
        if self._runner is self.model or self._runner_joint != joint:
            for p in self.model.of_sam():
                p.requires_grad_(joint)
            ids = [self.device.index] if self.device.type == "cuda" else None
            self._runner, self._runner_joint = DistributedDataParallel(self.model, device_ids=ids), joint
        return self._runner

    def _losses(self, runner: nn.Module, batch: Batch, joint: bool, number: int) -> dict[str, Tensor]:
        """The terms of the loss of one batch."""
        owner = torch.arange(len(batch.tokens), device=self.device) // self.settings.sentences
        kept = noise = features = None
        with torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32):
            if joint:
                kept, noise = (x.to(self.device) for x in self._drawn(number))
                features = self.model.look(batch.sam)
            views = normalise(batch.clip.cpu().numpy()).to(self.device)
            found: Answer = runner(views, batch.tokens, owner, features, kept=kept, noise=noise)
        true = batch.masks[:, None].float()
        small = F.avg_pool2d(true, true.shape[-1] // found.coarse.shape[-1])[:, 0]
        terms = self._terms("coarse", found.coarse, small)
        return terms if found.final is None else terms | self._terms("final", found.final, true[:, 0])

    def _terms(self, name: str, logits: Tensor, true: Tensor) -> dict[str, Tensor]:
        groups = (len(logits) // self.settings.sentences, self.settings.sentences)
        terms = {name: mask_loss(logits, true)}
        if self.settings.contrast:
            contrast = instance_contrast(logits.unflatten(0, groups), true.unflatten(0, groups))
            terms[f"{name}_contrast"] = contrast
        return terms

    def _drawn(self, number: int) -> tuple[Tensor, Tensor]:
        """Which prompts a batch's pairs keep, and the noise of their points; drawn picture by picture, so that it
        is the same however a step is shared out."""
        sentences, side = self.settings.sentences, self.model.coarse_side
        first = self.step * self.settings.images + (self.rank * self.parts + number) * self.at_once
        kept, noise = [], []
        for place in range(first, first + self.at_once):
            generator = torch.Generator().manual_seed(self.settings.seed * 2**40 + place)
            kept.append(torch.rand(sentences, len(SAM_PROMPTS), generator=generator) >= self.settings.drop)
            noise.append(gumbel(sentences, side, side, generator=generator))
        return torch.cat(kept), torch.cat(noise)

    def _judge(self, epoch: int) -> dict[str, float]:
        """Validate; keep the best model of a stage, and end one whose best is long ago."""
        joint, last = self.settings.joint(epoch), not self.settings.joint_epochs
        scores = validate(self.model, self.validation, dtype=self.dtype, coarse=not joint)
        if epoch in (0, self.settings.coarse_epochs) or scores["oIoU"] > self.best:
            self.best, self.since_best = scores["oIoU"], 0
            if self.rank == 0:
                facts = {"epoch": epoch + 1, "step": self.step, "training": asdict(self.settings), "validation": scores}
                save_model(self.out / BEST, self.model, self.backbones, **facts)
        else:
            self.since_best += 1
        self._tell(self.curves[1], epoch, scores)
        self.ended = (joint or last) and 0 < self.settings.patience <= self.since_best
        return scores

    def _tell(self, curve: Curve, epoch: int, figures: Mapping[str, float]) -> None:
        if self.rank == 0:
            curve.add({"step": self.step, "epoch": epoch + 1, **figures})


class Parts(Dataset[Batch]):
    """The batches of several sets in turn: number i is batch i // n of set i % n."""

    def __init__(self, sets: Iterable[TrainingSet]) -> None:
        self.sets = list(sets)

    def __len__(self) -> int:
        return sum(map(len, self.sets))

    def __getitem__(self, number: int) -> Batch:
        step, part = divmod(number, len(self.sets))
        return self.sets[part][step]


def one_line(batches: Iterator[Batch]) -> Batch | None:
    """The next batch; an InputError in a process of its own comes with a traceback, of which the last line is kept."""
    try:
        return next(batches, None)
    except InputError as error:
        last = str(error).strip().splitlines()[-1]
        raise InputError(last.removeprefix(f"{InputError.__module__}.{InputError.__name__}: ")) from None
