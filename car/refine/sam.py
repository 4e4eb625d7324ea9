"""Where mask proposals for IoM merging come from: segment-anything, regions of the image, or a file."""

import difflib
import logging
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from car.errors import InputError

log = logging.getLogger(__name__)

_WEIGHTS_SUFFIXES = (".pth", ".pt", ".safetensors")
_COUNTS = {
    "points_per_side": 1,
    "points_per_batch": 1,
    "crop_n_layers": 0,
    "crop_n_points_downscale_factor": 1,
    "min_mask_region_area": 0,
}
"""The settings that are whole numbers, and the least value of each."""


class MaskProposer(Protocol):
    """Anything that finds masks in an image without being told what to look for."""

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """Mask proposals, (M, H, W) bool, for an image (H, W, 3) uint8 RGB; M may be 0."""
        ...


@dataclass(frozen=True)
class SamSettings:
    """Automatic mask generation of segment-anything; the defaults are those of CaR.

    points_per_side: points asked along each side of the image.
    points_per_batch: points asked at once; fewer need less memory. Lowered by itself for images over a megapixel, and
        on a CPU, which is faster with few.
    pred_iou_thresh: least quality the model predicts of a mask, in [0, 1].
    stability_score_thresh: least IoU of the masks that a lower and a higher cutoff give, in [0, 1].
    stability_score_offset: how far those two cutoffs are from the mask's own.
    box_nms_thresh: of two masks whose boxes have a higher IoU, the better stays.
    crop_n_layers: layers of crops asked besides the whole image.
    crop_nms_thresh: as box_nms_thresh, between crops.
    crop_overlap_ratio: overlap of the crops of the first layer, as a share of the image.
    crop_n_points_downscale_factor: points per side are divided by this in each layer.
    min_mask_region_area: parts and holes smaller than this many pixels are removed.
    """

    points_per_side: int = 64
    points_per_batch: int = 64
    pred_iou_thresh: float = 0.88
    stability_score_thresh: float = 0.95
    stability_score_offset: float = 1.0
    box_nms_thresh: float = 0.7
    crop_n_layers: int = 0
    crop_nms_thresh: float = 0.7
    crop_overlap_ratio: float = 512 / 1500
    crop_n_points_downscale_factor: int = 1
    min_mask_region_area: int = 0

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if name in _COUNTS:
                least = _COUNTS[name]
                if not isinstance(value, int) or isinstance(value, bool) or value < least:
                    raise InputError(f"Expected argument `{name}` to be a whole number from {least}, but got {value}.")
            elif not 0 <= value <= (most := 100 if name == "stability_score_offset" else 1):
                raise InputError(f"Expected argument `{name}` to be in [0, {most}], but got {value}.")


CAR_SETTINGS = SamSettings()
"""What CaR asks of segment-anything."""
MINI_SETTINGS = SamSettings(points_per_side=14, pred_iou_thresh=0.1, stability_score_thresh=0.1, box_nms_thresh=0.8)
"""What is asked of the small SAM, which finds more and is less sure of it; chosen on tuning scenes."""
_CPU_POINTS = 4
"""A CPU is asked this many points at once at most: its caches hold no more, and many take up to twice the time."""
_BATCHED_PIXELS = 2**20
"""Larger images are asked fewer points at once, for the masks of a batch are held at the size of the image."""


class SamProposer:
    """Automatic masks of segment-anything, or of HQ-SAM.

    Args:
        source: "mini" (the small one that comes with the package), "sam_vit_b", "sam_vit_l", "sam_vit_h",
            "sam_hq_vit_b", ...; a checkpoint file; or a model made with one of the two packages, which stays on the
            device it is on.
        device: where a model from a checkpoint runs; "auto" takes CUDA where it is.
        weights_dir: where named checkpoints are kept; default $CAR_CACHE, else ~/.cache/clip.
        settings: which masks are asked for and which are good enough; by default what suits the source, see
            `default_settings`.

    Raises:
        InputError: neither of these.
        MissingError: weights or a package are absent.
        CheckpointError: a file that cannot be read.
    """

    def __init__(
        self,
        source: Any,
        *,
        device: Any = "auto",
        weights_dir: str | Path | None = None,
        settings: SamSettings | None = None,
    ) -> None:
        from car.device import choose_device
        from car.refine.sam_checkpoint import import_package, load_sam

        if isinstance(source, str | Path):
            model = load_sam(source, weights_dir).to(choose_device(device))
        elif hasattr(source, "mask_decoder"):
            model = source.eval()
        else:
            raise InputError(f"Expected a SAM model, a name or a path, but got {type(source).__name__}.")
        package = import_package(
            "segment_anything_hq" if hasattr(model.mask_decoder, "hf_token") else "segment_anything"
        )
        self.settings = default_settings(source) if settings is None else settings
        self._generator = package.SamAutomaticMaskGenerator(model, **asdict(self.settings))

    @property
    def model(self) -> Any:
        """The network that is asked."""
        return self._generator.predictor.model

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """Mask proposals (M, H, W) bool for an image (H, W, 3) uint8 RGB, the best first."""
        height, width = image.shape[:2]
        side = self.model.image_encoder.img_size
        if min(height, width) * side / max(height, width) < 0.5:
            log.warning("SAM finds no masks in an image as narrow as %d x %d pixels.", width, height)
            return np.zeros((0, height, width), bool)
        self._generator.points_per_batch = self._points_at_once(height * width)
        found = self._generator.generate(image)
        masks = np.zeros((len(found), height, width), bool)
        for mask, record in zip(masks, found, strict=True):
            mask[:] = record["segmentation"]
        return masks

    def _points_at_once(self, pixels: int) -> int:
        """How many, for an image of so many pixels."""
        most = int(self.settings.points_per_batch / max(1.0, pixels / _BATCHED_PIXELS))
        return max(1, min(most, _CPU_POINTS) if self._generator.predictor.device.type == "cpu" else most)


def default_settings(source: Any) -> SamSettings:
    """What is asked of a model by default: `MINI_SETTINGS` of "mini", `CAR_SETTINGS` of every other."""
    from car.refine.sam_checkpoint import MINI

    return MINI_SETTINGS if isinstance(source, str | Path) and str(source) == MINI else CAR_SETTINGS


def load_mask_proposer(
    spec: Any,
    device: Any = "auto",
    *,
    weights_dir: str | Path | None = None,
    settings: SamSettings | None = None,
) -> MaskProposer:
    """The mask proposer that is meant.

    Args:
        spec: "regions"; "mini"; a name or file of SAM weights (.pth, .pt, .safetensors), or a SAM model; a file of
            run-length masks (.json); or any callable, which is returned as it is.
        device, weights_dir, settings: see `SamProposer`.

    Raises:
        InputError: none of these.
        MissingError: weights, a file or a package are absent.
        CheckpointError: a weights file that cannot be read.
    """
    if hasattr(spec, "mask_decoder"):
        return SamProposer(spec, device=device, settings=settings)
    if callable(spec):
        return spec
    if not isinstance(spec, str | Path):
        raise InputError(f"Expected a mask proposer's name, a path or a callable, but got {type(spec).__name__}.")
    if str(spec) == "regions":
        from car.refine.regions import RegionProposer

        return RegionProposer()
    suffix = Path(spec).suffix.lower()
    if suffix == ".json":
        from car.refine.mask_files import FileProposer

        return FileProposer(spec)
    from car.refine.sam_checkpoint import MINI, WEIGHTS

    if str(spec) in (MINI, *WEIGHTS) or suffix in _WEIGHTS_SUFFIXES:
        return SamProposer(spec, device=device, weights_dir=weights_dir, settings=settings)
    close = difflib.get_close_matches(str(spec).lower(), ["regions", MINI, *WEIGHTS], n=1)
    hint = f" Did you mean {close[0]!r}?" if close else ""
    raise InputError(
        f"Unknown mask proposer {str(spec)!r}.{hint} Available: regions, {', '.join([MINI, *WEIGHTS])}, "
        "a file of SAM weights (.pth, .pt, .safetensors) or of run-length masks (.json)."
    )
