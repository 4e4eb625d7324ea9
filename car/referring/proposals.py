"""Mask proposals of an image, from whatever finds them, computed once and kept on disk."""

import hashlib
import logging
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from car import rle
from car.device import choose_device
from car.errors import InputError, MissingError
from car.export import dumps, write_atomically
from car.io import ImageSource
from car.referring.defaults import REGIONS
from car.refine.mask_files import FileProposer
from car.refine.regions import RegionProposer
from car.refine.sam import MaskProposer, SamProposer, SamSettings, default_settings, load_mask_proposer
from car.refine.sam_checkpoint import MINI, WEIGHTS, find_weights

log = logging.getLogger(__name__)

VERSION = 1
"""Goes into every key; raised whenever the same proposer gives other masks of the same image."""
REFCOCO_SAM = SamSettings(points_per_side=8, pred_iou_thresh=0.7, stability_score_thresh=0.7, min_mask_region_area=800)
"""What HybridGL and TAS ask of segment-anything on the RefCOCO family."""
PHRASECUT_SAM = SamSettings(
    points_per_side=64,
    pred_iou_thresh=0.86,
    stability_score_thresh=0.92,
    crop_n_layers=1,
    crop_n_points_downscale_factor=2,
    min_mask_region_area=100,
)
"""What HybridGL asks of it on PhraseCut."""
_WEIGHTS_SUFFIXES = (".pth", ".pt", ".safetensors")


@dataclass(frozen=True, eq=False)
class MaskProposals:
    """What an expression can mean in an image.

    masks: (M, H, W) bool, each with a pixel at least; M may be 0.
    source: where they come from.

    Raises:
        InputError: no such array, or a mask without a pixel.
    """

    masks: np.ndarray
    source: str = "given"

    def __post_init__(self) -> None:
        if self.masks.dtype != np.bool_ or self.masks.ndim != 3:
            raise InputError(f"Expected masks (M, H, W) of bool, but got {self.masks.dtype}, {self.masks.shape}.")
        if not self.areas.all():
            raise InputError(f"Mask proposal {int(np.argmin(self.areas)) + 1} of {len(self)} has no pixel.")

    def __len__(self) -> int:
        return len(self.masks)

    def check(self, image: np.ndarray) -> None:
        """Refuse proposals that are not of the size of an image (H, W, 3)."""
        if self.masks.shape[1:] != image.shape[:2]:
            raise InputError(
                f"The mask proposals ({self.source}) are {self.masks.shape[1:]}, but the image is {image.shape[:2]} "
                "(height, width)."
            )

    @cached_property
    def areas(self) -> np.ndarray:
        """Pixels of each, (M,) int64."""
        return np.count_nonzero(self.masks, axis=(1, 2)).astype(np.int64)

    @cached_property
    def sam_boxes(self) -> np.ndarray:
        """Boxes as segment-anything reports them: (M, 4) int64, x, y, width, height.

        Width and height are the differences of the outermost pixels: a cut by them loses the last column and row.
        """
        covered = [self._covered(mask) for mask in self.masks]
        boxes = [[x[0], y[0], x[-1] - x[0], y[-1] - y[0]] for x, y in covered]
        return np.array(boxes, np.int64).reshape(-1, 4)

    @cached_property
    def freesolo_boxes(self) -> np.ndarray:
        """Boxes as FreeSOLO reports them, cut to whole pixels: (M, 4) int64, x1, y1, x2, y2.

        The centre is the mean of the columns and rows that the mask covers, the size is their number. Such a box begins
        a pixel early and loses the last column and row; that of a mask in several parts is too small.
        """
        covered = [self._covered(mask) for mask in self.masks]
        starts = [[line.mean() - len(line) / 2 for line in lines] for lines in covered]
        ends = [[line.mean() + len(line) / 2 for line in lines] for lines in covered]
        return np.concatenate([np.reshape(starts, (-1, 2)), np.reshape(ends, (-1, 2))], axis=1).astype(np.int64)

    @staticmethod
    def _covered(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Columns and rows with a pixel of the mask."""
        return np.flatnonzero(mask.any(axis=0)), np.flatnonzero(mask.any(axis=1))


def window(x1: int, y1: int, x2: int, y2: int) -> tuple[slice, slice]:
    """Rows and columns of the cut [y1, y2) x [x1, x2); of a box without a pixel, those of its first."""
    return slice(y1, max(y2, y1 + 1)), slice(x1, max(x2, x1 + 1))


def proposals_folder() -> Path:
    """Where mask proposals are kept: $CAR_CACHE/proposals, else in the user's cache folder."""
    if root := os.environ.get("CAR_CACHE"):
        return Path(root).expanduser() / "proposals"
    from platformdirs import user_cache_path

    return user_cache_path("car") / "proposals"


def stem_of(image: ImageSource) -> str | None:
    """The name of an image's file without its suffix; None of an image in memory."""
    path = image if isinstance(image, str | Path) else getattr(image, "filename", None)
    return Path(path).stem if path else None


class ProposalSource:
    """Finds the mask proposals of images.

    Those of "regions" and of SAM weights are kept on disk as COCO run-length masks, under a hash of what they depend
    on: the pixels, the proposer with its settings, its weights and the kind of device. What is damaged there is found
    anew. SAM is loaded once an image comes that is not known yet.

    Args:
        spec: "regions"; "mini", "sam_vit_b", "sam_vit_l", "sam_vit_h", ... or a file of SAM weights; the run-length
            masks of one image (.json), or a folder of such files, each with the stem of its image; or a SAM model, or
            any callable that gives masks.
        device, weights_dir: see `car.refine.sam.SamProposer`.
        settings: what SAM is asked; by default `REFCOCO_SAM`, and of "mini" what suits it.
        keep: keep proposals on disk, in `proposals_folder()`.

    Raises:
        InputError: none of these.
        MissingError: weights, a file or a package are absent.
        CheckpointError: weights that are not those of that name.
    """

    def __init__(
        self,
        spec: Any = REGIONS,
        *,
        device: Any = "auto",
        weights_dir: str | Path | None = None,
        settings: SamSettings | None = None,
        keep: bool = True,
    ) -> None:
        named = isinstance(spec, str | Path)
        self.name = str(spec) if named else "custom"
        self.keep = keep
        self._proposer: MaskProposer | FolderOfMasks
        if settings is None:
            settings = default_settings(spec) if self.name == MINI else REFCOCO_SAM
        if named and (str(spec) in (MINI, *WEIGHTS) or Path(spec).suffix.lower() in _WEIGHTS_SUFFIXES):
            self._proposer = LazySam(spec, choose_device(device), weights_dir, settings)
        elif named and str(spec) != "regions" and Path(spec).is_dir():
            self._proposer = FolderOfMasks(Path(spec))
        else:
            self._proposer = load_mask_proposer(spec, device, settings=settings)

    def __call__(self, image: np.ndarray, *, stem: str | None = None) -> MaskProposals:
        """Mask proposals of an image; those without a pixel are left out, which is logged.

        Args:
            image: (H, W, 3) uint8 RGB.
            stem: of the image's file; a folder of masks needs it.

        Raises:
            InputError: masks that are not of the image's size, or no stem for a folder of masks.
            MissingError: the folder has no masks of the image.
            CheckpointError: weights that cannot be read.
        """
        masks = self._find(image, stem)
        if empty := [i for i, mask in enumerate(masks) if not mask.any()]:
            log.warning(
                "%d of %d mask proposals (%s) have no pixel and are left out.", len(empty), len(masks), self.name
            )
            masks = np.delete(masks, empty, axis=0)
        proposals = MaskProposals(masks, self.name)
        proposals.check(image)
        return proposals

    def _find(self, image: np.ndarray, stem: str | None) -> np.ndarray:
        if isinstance(self._proposer, FolderOfMasks):
            return self._proposer(image, stem)
        if not self.keep or self.identity is None:
            return self._proposer(image)
        path = proposals_folder() / f"{content_key(image, self.identity)}.json"
        masks = read(path, image)
        if masks is None:
            masks = self._proposer(image)
            write(path, masks)
        return masks

    @cached_property
    def identity(self) -> Mapping[str, Any] | None:
        """What the proposer's masks depend on besides the image; None where that is not known."""
        if isinstance(self._proposer, LazySam):
            return self._proposer.identity()
        if isinstance(self._proposer, RegionProposer):
            return {"regions": vars(self._proposer), "skimage": version("scikit-image"), "cv2": cv2.__version__}
        return None


class LazySam:
    """Segment-anything, loaded when it is first asked; arguments and errors as of `SamProposer`."""

    def __init__(
        self, source: str | Path, device: torch.device, weights_dir: str | Path | None, settings: SamSettings
    ) -> None:
        self.device, self.settings = device, settings
        self._published = WEIGHTS.get(str(source))
        self.path = find_weights(source, weights_dir)
        if not self.path.is_file():
            raise InputError(f"There is no file {str(self.path)!r} to take SAM's weights from.")

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """Mask proposals (M, H, W) bool of an image (H, W, 3) uint8 RGB."""
        return self._loaded(image)

    @cached_property
    def _loaded(self) -> SamProposer:
        return SamProposer(self.path, device=self.device, settings=self.settings)

    def identity(self) -> Mapping[str, Any]:
        """What its masks depend on besides the image."""
        weights = self._published.sha256 if self._published else ""
        if not weights:
            with self.path.open("rb") as file:
                weights = hashlib.file_digest(file, "sha256").hexdigest()
        return {"sam": weights, "device": self.device.type, **asdict(self.settings)}


class FolderOfMasks:
    """Run-length masks in one file per image, as `FileProposer` reads them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(self, image: np.ndarray, stem: str | None) -> np.ndarray:
        """The masks (M, H, W) bool of the image (H, W, 3) that is called `stem`."""
        if stem is None:
            raise InputError(
                f"The masks in {str(self.folder)!r} belong to images by name; give the image as a path, not as pixels."
            )
        return FileProposer(self.folder / f"{stem}.json")(image)


def content_key(image: np.ndarray, identity: Mapping[str, Any]) -> str:
    """What identifies the proposals of an image (H, W, 3) uint8 by a proposer: 40 hexadecimal digits."""
    digest = hashlib.blake2b(dumps([VERSION, *image.shape, identity], indent=None).encode(), digest_size=20)
    digest.update(np.ascontiguousarray(image).data)
    return digest.hexdigest()


def read(path: Path, image: np.ndarray) -> np.ndarray | None:
    """Masks (M, H, W) bool that were kept; None where they were not, or the file is damaged, which is logged."""
    try:
        return FileProposer(path)(image)
    except MissingError:
        return None
    except InputError as error:
        log.warning("Kept mask proposals are found anew. %s", error)
        return None


def write(path: Path, masks: np.ndarray) -> None:
    """Keep masks (M, H, W) bool; where that cannot be, it is logged and costs time later, nothing else."""
    entries = [{"segmentation": rle.encode(mask)} for mask in masks]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, dumps({"annotations": entries}, indent=None).encode())
    except OSError as error:
        log.info("Mask proposals are not kept in %s: %s", path.parent, error)
