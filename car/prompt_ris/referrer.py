"""A trained Prompt-RIS as a way of referring."""

from collections.abc import Sequence
from time import perf_counter

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from car.io import ImageSource, read_image
from car.prompt_ris.data import squashed
from car.prompt_ris.model import Answer, PromptRIS
from car.referring.referral import Ranked, Referral
from car.referring.texts import tidy
from car.vlm.preprocess import normalise
from car.vlm.tokenizer import tokenize

METHOD = "prompt-ris"
TEXTS_AT_ONCE = 8


class PromptRISReferrer:
    """Refer with a trained model; it always answers, except where no pixel is likelier than not.

    Args:
        model: from `load_prompt_ris`.
        name: what results call it.
        dtype: of the computation.
    """

    method = METHOD

    def __init__(self, model: PromptRIS, name: str = "custom", dtype: torch.dtype = torch.float32) -> None:
        self.model, self.name, self.dtype = model, name, dtype

    def prepare(self, image: ImageSource, *, coarse: bool = False) -> "PreparedPromptRIS":
        """As `Referrer.prepare`: CLIP's view of the image, and unless the coarse masks are all that is wanted, SAM's
        features of it."""
        return PreparedPromptRIS(self, read_image(image), coarse)

    def refer(self, image: ImageSource, expression: str) -> Referral:
        """As `Referrer.refer`."""
        return self.prepare(image).refer(expression)


class PreparedPromptRIS:
    """One image, ready for any number of expressions."""

    def __init__(self, referrer: PromptRISReferrer, image: np.ndarray, coarse: bool = False) -> None:
        start = perf_counter()
        self.referrer, self.image = referrer, image
        model = referrer.model
        self.view = normalise(squashed(image, model.settings.clip_side)[None]).to(model.clip.clip.device)
        self.features: Tensor | None = None
        if model.sam_side is not None and not coarse:
            with self._precision():
                self.features = model.look(squashed(image, model.sam_side)[None])
        self.seconds = {"image": perf_counter() - start}

    def refer(self, expression: str) -> Referral:
        """What one expression means.

        Raises:
            InputError: it is blank or too long for the text encoder.
        """
        return self._refer([expression], {})

    def refer_object(self, expressions: Sequence[str]) -> Referral:
        """What several expressions mean that mean one object: where the mean of their probabilities is above one half;
        errors as of `refer`."""
        return self._refer(expressions, {"merged": list(expressions)})

    def masks(self, expressions: Sequence[str]) -> dict[str, np.ndarray]:
        """Masks bool (N, H, W) of N expressions: "coarse", and where SAM was asked, "final"; errors as of `refer`."""
        found = self.answer(expressions)
        kinds = {"coarse": found.coarse, "final": found.final}
        return {kind: (self._fitted(x) > 0).numpy() for kind, x in kinds.items() if x is not None}

    @torch.inference_mode()
    def answer(self, expressions: Sequence[str]) -> Answer:
        """What the model answers, on the CPU; errors as of `refer`."""
        model, device = self.referrer.model, self.view.device
        texts = tokenize([tidy(each) for each in expressions], context_length=model.clip.clip.context_length)
        parts = []
        for part in texts.split(TEXTS_AT_ONCE):
            owner = torch.zeros(len(part), dtype=torch.int64, device=device)
            with self._precision():
                parts.append(model(self.view, part.to(device), owner, self.features))
        final = None if self.features is None else torch.cat([part.final.cpu() for part in parts])
        return Answer(torch.cat([part.coarse.cpu() for part in parts]), final)

    def _fitted(self, logits: Tensor) -> Tensor:
        """Logits (N, h, w) at the size of the image, (N, H, W)."""
        return F.interpolate(logits[:, None], self.image.shape[:2], mode="bilinear", align_corners=False)[:, 0]

    def _precision(self) -> torch.autocast:
        device, dtype = self.view.device.type, self.referrer.dtype
        return torch.autocast(device, dtype, enabled=dtype != torch.float32)

    def _refer(self, expressions: Sequence[str], why: dict[str, object]) -> Referral:
        start = perf_counter()
        likely = self._fitted(self.answer(expressions).best).sigmoid().mean(dim=0).numpy()
        mask = likely > 0.5
        score = float(likely[mask].mean()) if mask.any() else float("nan")
        return Referral(
            image=self.image,
            expression=" / ".join(tidy(each) for each in expressions),
            method=METHOD,
            mask=mask,
            score=score,
            ranking=(Ranked(0, score, mask),) if mask.any() else (),
            why={"model": self.referrer.name, **why},
            seconds={**self.seconds, "answer": perf_counter() - start},
        )
