"""Captioning models of transformers (extra [caption]): BLIP-2, GIT, and what answers to the same calls."""

import logging
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch

from car.device import choose_device, choose_dtype
from car.errors import CheckpointError, MissingError

log = logging.getLogger(__name__)

ABSENT = "Captioning models need the package transformers; run: pip install 'car-segmentation[caption]'"
BEAMS, MOST_TOKENS = 5, 30
"""As LAVIS, which TAS runs BLIP-2 with, does by default."""
LEFT_OUT = ("*.h5", "*.msgpack", "*.ot", "*.onnx", "*.pt", "*.pth", "*.gguf")
"""Of a repository, files that are not downloaded: its weights for other programs."""


class ModelCaptioner:
    """Captions by a model that is given nothing but the picture, by beam search.

    Pictures are brought to the model's size by Pillow, as TAS does. The model is loaded when it is first asked.

    Args:
        name: repository of the Hugging Face Hub, downloaded on first use, or a folder with a model and its processor.
        device, dtype: as of `choose_device` and `choose_dtype`.
        batch_size: pictures that are worked on at once.

    Raises:
        MissingError: transformers is not installed.
        InputError: the device or the dtype is not to be had.
    """

    def __init__(self, name: str, *, device: Any = "auto", dtype: Any = "auto", batch_size: int = 16) -> None:
        self.name, self.batch_size = name, batch_size
        self.device = choose_device(device)
        self.dtype = choose_dtype(dtype, self.device)
        if find_spec("transformers") is None:
            raise MissingError(ABSENT)

    @cached_property
    def folder(self) -> Path:
        """Where the model is on this machine; downloaded first if it is not.

        Raises:
            MissingError: it cannot be downloaded.
        """
        return Path(self.name) if Path(self.name).is_dir() else fetch(self.name)

    @cached_property
    def identity(self) -> Mapping[str, Any]:
        """What its captions depend on besides the picture; of the weights, names, sizes and times of their files."""
        files = sorted(path for path in self.folder.rglob("*") if path.is_file())
        stats = [(path.relative_to(self.folder).as_posix(), path.stat()) for path in files]
        return {
            "transformers": package().__version__,
            "model": [(name, stat.st_size, stat.st_mtime_ns) for name, stat in stats],
            "search": [BEAMS, MOST_TOKENS],
            "device": [self.device.type, str(self.dtype)],
        }

    def whole(self, image: np.ndarray) -> str:
        """As `Captioner.whole`."""
        return self.each([image])[0]

    def each(self, pictures: Sequence[np.ndarray]) -> list[str]:
        """As `Captioner.each`.

        Raises:
            MissingError: the model is not here and cannot be downloaded.
            CheckpointError: it is damaged, or captions no pictures.
        """
        found: list[str] = []
        for start in range(0, len(pictures), self.batch_size):
            found += self._captions(pictures[start : start + self.batch_size])
        return found

    @torch.inference_mode()
    def _captions(self, pictures: Sequence[np.ndarray]) -> list[str]:
        processor, model = self._loaded
        try:
            pixels = processor(images=list(pictures), return_tensors="pt")["pixel_values"]
            tokens = model.generate(
                pixel_values=pixels.to(self.device, self.dtype),
                num_beams=BEAMS,
                max_new_tokens=MOST_TOKENS,
                do_sample=False,
            )
        except (KeyError, TypeError, ValueError) as error:
            raise CheckpointError(
                f"{self.name!r} captions no pictures unasked, as BLIP-2 and GIT do: {brief(error)}"
            ) from error
        return [text.strip() for text in processor.batch_decode(tokens, skip_special_tokens=True)]

    @cached_property
    def _loaded(self) -> tuple[Any, Any]:
        """The processor and the model."""
        transformers, folder = package(), self.folder
        try:
            with quiet(transformers):
                processor = transformers.AutoProcessor.from_pretrained(folder, local_files_only=True, backend="pil")
                model, report = transformers.AutoModelForImageTextToText.from_pretrained(
                    folder, local_files_only=True, dtype=self.dtype, output_loading_info=True
                )
        except Exception as error:  # what transformers raises on files it does not understand is nearly anything
            raise CheckpointError(f"{self.name!r} is no captioning model that can be read: {brief(error)}") from error
        if absent := sorted(report["missing_keys"]):
            raise CheckpointError(
                f"{self.name!r} is damaged, or of another kind: {len(absent)} of its weights are missing, "
                f"{absent[0]} for one."
            )
        return processor, model.to(self.device).eval()


def package() -> ModuleType:
    """The package transformers, imported next to whatever torchvision there is.

    Raises:
        MissingError: it is not installed, or cannot be imported.
    """
    if find_spec("torchvision"):
        from car.refine.nms_shim import import_torchvision

        import_torchvision()
    try:
        import transformers
    except ImportError as error:
        raise MissingError(f"{ABSENT} ({brief(error)})") from None
    return transformers


def brief(error: Exception) -> str:
    """The first line of what an error says."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]


def fetch(name: str) -> Path:
    """The folder of a repository of the Hub, downloaded or completed where the Hub can be reached, else as it is here.

    Raises:
        MissingError: it is not here and cannot be downloaded.
    """
    import huggingface_hub as hub

    log.info("Looking for %s on the Hugging Face Hub.", name)
    try:
        with bars(hub):
            folder = Path(hub.snapshot_download(name, ignore_patterns=[*LEFT_OUT, "*.bin"]))
            if not any(folder.glob("*.safetensors")):
                folder = Path(hub.snapshot_download(name, ignore_patterns=list(LEFT_OUT)))
    except (OSError, ValueError, hub.errors.HfHubHTTPError) as error:
        raise MissingError(
            f"The captioning model {name!r} is not here and cannot be downloaded ({brief(error)}). Give the folder "
            "of a copy, or use the captions 'built-in' or a .json file, which need no download."
        ) from None
    return folder


@contextmanager
def bars(hub: ModuleType) -> Iterator[None]:
    """The Hub's progress bars on terminals alone."""
    quietened = not sys.stderr.isatty() and not hub.utils.are_progress_bars_disabled()
    if quietened:
        hub.utils.disable_progress_bars()
    try:
        yield
    finally:
        if quietened:
            hub.utils.enable_progress_bars()


@contextmanager
def quiet(transformers: ModuleType) -> Iterator[None]:
    """No progress bars and no advice of transformers; what is wrong is raised."""
    logging_of = transformers.utils.logging
    verbosity, shown = logging_of.get_verbosity(), logging_of.is_progress_bar_enabled()
    logging_of.set_verbosity_error()
    logging_of.disable_progress_bar()
    try:
        yield
    finally:
        logging_of.set_verbosity(verbosity)
        if shown:
            logging_of.enable_progress_bar()
