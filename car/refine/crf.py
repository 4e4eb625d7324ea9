"""Dense CRF: soft masks pulled onto the edges of the image (Kraehenbuehl and Koltun 2011), with CaR's constants.

Mean field with Potts compatibility and two kernels over all pairs of pixels, one of position alone and one of position
and colour: Q <- softmax(-U + sum_k w_k n_k K_k(n_k Q)), n_k = 1 / sqrt(K_k 1). The kernels are applied on a
permutohedral lattice, which depends on the image alone: it is built once for all label sets, iterations, expressions.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from math import isfinite
from typing import Any

import numpy as np
import torch
from torch import Tensor

from car.errors import InputError, MissingError
from car.refine import native
from car.refine.lattice import CHANNELS, Lattice

TOLERANCE = 1e-3
"""How far rounding (half precision, interpolation) may take a probability out of [0, 1]."""

FEW_LABELS = 16
"""Below this many, torch's softmax over a last dimension leaves most of a vector register empty."""

Array = np.ndarray | Tensor


def make_crf(engine: str, image: np.ndarray, **params: Any) -> "CRF":
    """The dense CRF of an image.

    Args:
        engine: "lattice" (our own, CPU and GPU) or "pydensecrf" (the published one, extra `[crf]`).
        image: (H, W, 3) uint8 RGB.
        params: as of `CRF`.

    Raises:
        InputError: an unknown engine, or what `CRF` raises.
        MissingError: pydensecrf is not installed.
    """
    engines = {"lattice": DenseCRF, "pydensecrf": PydenseCRF}
    if engine not in engines:
        raise InputError(f"Expected argument `engine` to be one of {', '.join(engines)}, but got {engine!r}.")
    return engines[engine](image, **params)


def unary_from_probabilities(probabilities: Array) -> Tensor:
    """-log(clip(p, 1e-5, 1)), float32, of any shape."""
    return -_tensor(probabilities).clamp(1e-5, 1).log()


def with_background(proposals: Array, factor: float = 1.0) -> Tensor:
    """Proposals (N, H, W) in [0, 1] behind their background (1 - max_c y_c)^factor: (N + 1, H, W) float32.

    Raises:
        InputError: another shape, values outside [0, 1], NaN, or a factor below 0.

    >>> with_background(torch.tensor([[[0.25]], [[0.5]]])).flatten().tolist()
    [0.5, 0.25, 0.5]
    """
    _check_number("factor", factor)
    y = _tensor(proposals)
    if y.ndim != 3:
        raise InputError(f"Expected proposals to be (N, H, W), but got {tuple(y.shape)}.")
    _check_range("proposals", y)
    background = torch.cat([torch.zeros_like(y[:1]), y]) if len(y) else y.new_zeros(1, *y.shape[1:])
    return torch.cat([(1 - background.amax(0, keepdim=True)).clamp_(min=0) ** factor, y])


class CRF(ABC):
    """What the engines share: the constants, and the checks of what comes in.

    Args:
        image: (H, W, 3) uint8 RGB.
        sxy_gaussian: standard deviation of the position kernel, in pixels.
        compat_gaussian: its weight.
        sxy_bilateral: standard deviation of the bilateral kernel over positions, in pixels.
        srgb: standard deviation of the bilateral kernel over colours, in grey levels.
        compat_bilateral: its weight.
        device: where results live, and where `DenseCRF` computes.

    Raises:
        InputError: an image of another shape or dtype; a deviation that is not above 0, a weight below 0.
    """

    def __init__(
        self,
        image: np.ndarray,
        *,
        sxy_gaussian: float = 1,
        compat_gaussian: float = 3,
        sxy_bilateral: float = 67,
        srgb: float = 3,
        compat_bilateral: float = 4,
        device: str | torch.device = "cpu",
    ) -> None:
        _check_image(image)
        for name, value in [("sxy_gaussian", sxy_gaussian), ("sxy_bilateral", sxy_bilateral), ("srgb", srgb)]:
            _check_number(name, value, positive=True)
        for name, value in [("compat_gaussian", compat_gaussian), ("compat_bilateral", compat_bilateral)]:
            _check_number(name, value)
        self.image = image
        self.size: tuple[int, int] = image.shape[:2]
        self.sxy_gaussian, self.compat_gaussian = float(sxy_gaussian), float(compat_gaussian)
        self.sxy_bilateral, self.srgb = float(sxy_bilateral), float(srgb)
        self.compat_bilateral = float(compat_bilateral)
        self.device = torch.device(device)

    def infer(self, probabilities: Array, iterations: int = 10, *, unary: bool = False) -> Tensor:
        """Q of one set of labels.

        Args:
            probabilities: (L, H, W) in [0, 1]; they need not sum to one.
            iterations: of mean field; 0 only normalises.
            unary: `probabilities` holds energies U, such as -log p, instead.

        Returns:
            (L, H, W) float32, summing to one over the labels.

        Raises:
            InputError: another shape, NaN or infinity, probabilities outside [0, 1], iterations below 0.
        """
        p = _tensor(probabilities)
        if p.ndim != 3:
            raise InputError(f"Expected probabilities to be (L, H, W), but got {tuple(p.shape)}.")
        return self.infer_many(p[None], iterations, unary=unary)[0]

    def infer_many(self, probabilities: Array, iterations: int = 10, *, unary: bool = False) -> Tensor:
        """Q of E independent sets of labels, (E, L, H, W); see `infer`."""
        p = _tensor(probabilities).detach().to(self.device)
        if p.ndim != 4 or p.shape[2:] != self.size or 0 in p.shape:
            expected = "(E, L, {}, {})".format(*self.size)
            raise InputError(f"Expected probabilities to be {expected}, but got {tuple(p.shape)}.")
        if isinstance(iterations, bool) or not isinstance(iterations, int) or iterations < 0:
            raise InputError(f"Expected argument `iterations` to be an integer >= 0, but got {iterations!r}.")
        if not unary:
            _check_range("probabilities", p)
            p = unary_from_probabilities(p)
        elif not p.isfinite().all():
            raise InputError("Expected unary energies to be finite, but got NaN or infinity.")
        return self._mean_field(p, iterations)

    @abstractmethod
    def _mean_field(self, unary: Tensor, iterations: int) -> Tensor:
        """Q (E, L, H, W) of energies (E, L, H, W)."""


class DenseCRF(CRF):
    """Dense CRF on our own lattice; see `CRF` for the arguments.

    >>> crf = DenseCRF(np.zeros((2, 3, 3), np.uint8))
    >>> crf.infer(np.full((2, 2, 3), 0.5)).flatten(1).sum(1).tolist()
    [3.0, 3.0]
    """

    def __init__(self, image: np.ndarray, **params: Any) -> None:
        super().__init__(image, **params)
        position, colour = _features(image)
        bilateral = np.concatenate([position / self.sxy_bilateral, colour / self.srgb], 1)
        pairs = [(position / self.sxy_gaussian, self.compat_gaussian), (bilateral, self.compat_bilateral)]
        # A kernel of weight 0 takes no part.
        terms = [(torch.from_numpy(features).to(self.device), weight) for features, weight in pairs if weight > 0]
        compiled = native.AVAILABLE and self.device.type == "cpu"
        self._field = native.NativeField(terms) if compiled else _TorchField(terms)

    def _mean_field(self, unary: Tensor, iterations: int) -> Tensor:
        return self._field(unary.flatten(2), iterations).view(unary.shape)


class _TorchField:
    """`car.refine.native.NativeField` in torch, on any device."""

    def __init__(self, terms: Sequence[tuple[Tensor, float]]) -> None:
        self._kernels = [_Kernel(features, weight) for features, weight in terms]

    def __call__(self, unary: Tensor, iterations: int) -> Tensor:
        # Sets are independent: as many at a time as the lattice filters at a time bound the memory.
        groups = unary.split(max(1, CHANNELS // unary.shape[1]))
        return torch.cat([self._joint(group, iterations) for group in groups])

    def _joint(self, unary: Tensor, iterations: int) -> Tensor:
        # Pixels first: the labels of a pixel are gathered and normalised together.
        energy = -unary.permute(2, 0, 1).contiguous()
        q = _softmax(energy)
        for _ in range(iterations):
            total = energy.flatten(1).clone()
            for kernel in self._kernels:
                kernel.add_message(total, q.flatten(1))
            q = _softmax(total.view_as(energy))
        return q.permute(1, 2, 0).contiguous()


class _Kernel:
    """One symmetrically normalised pairwise kernel with its Potts weight."""

    def __init__(self, features: Tensor, weight: float) -> None:
        self.lattice = Lattice(features)
        ones = features.new_ones(len(features), 1)
        self.norm = (self.lattice.filter_points(ones) + 1e-20).rsqrt()
        self.weighted_norm = weight * self.norm

    def add_message(self, total: Tensor, q: Tensor) -> None:
        """Add w n K(n q) to `total`, both (P, L)."""
        total.addcmul_(self.lattice.filter_points(q * self.norm), self.weighted_norm)


def _softmax(energy: Tensor) -> Tensor:
    """Softmax of (P, E, L) over the labels; over few of them it is much faster with the pixels last."""
    if energy.shape[2] >= FEW_LABELS:
        return energy.softmax(2)
    return energy.permute(1, 2, 0).contiguous().softmax(1).permute(2, 0, 1).contiguous()


class PydenseCRF(CRF):
    """The same CRF by the package `pydensecrf`, on the CPU; see `CRF` for the arguments.

    Its lattices are rebuilt whenever the number of labels changes.

    Raises:
        MissingError: the package is not installed.
    """

    def __init__(self, image: np.ndarray, **params: Any) -> None:
        super().__init__(image, **params)
        try:
            from pydensecrf.densecrf import DenseCRF2D
        except ImportError:
            raise MissingError(
                "The CRF engine `pydensecrf` is not installed: pip install 'car-segmentation[crf]', or use `lattice`."
            ) from None
        self._package = DenseCRF2D
        self._built: tuple[int, Any] = (0, None)

    def _crf(self, labels: int) -> Any:
        if self._built[0] != labels:
            height, width = self.size
            crf = self._package(width, height, labels)
            crf.addPairwiseGaussian(sxy=self.sxy_gaussian, compat=self.compat_gaussian)
            # The package asks for memory it may write to.
            rgb = np.array(self.image, order="C")
            crf.addPairwiseBilateral(sxy=self.sxy_bilateral, srgb=self.srgb, rgbim=rgb, compat=self.compat_bilateral)
            self._built = (labels, crf)
        return self._built[1]

    def _mean_field(self, unary: Tensor, iterations: int) -> Tensor:
        crf = self._crf(unary.shape[1])
        found = []
        for energies in unary.flatten(2).cpu().numpy():
            crf.setUnaryEnergy(np.array(energies, order="C"))
            found.append(torch.from_numpy(np.array(crf.inference(iterations))))
        return torch.stack(found).view(unary.shape).to(self.device)


def _features(image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Positions (P, 2), x before y, and colours (P, 3) of an image's pixels in rows, float32."""
    height, width = image.shape[:2]
    position = np.empty((height, width, 2), np.float32)
    position[..., 0], position[..., 1] = np.arange(width), np.arange(height)[:, None]
    return position.reshape(-1, 2), image.astype(np.float32).reshape(-1, 3)


def _tensor(values: Array) -> Tensor:
    """Values as a float32 tensor; arrays are copied, whatever their strides and flags."""
    return values.float() if isinstance(values, Tensor) else torch.from_numpy(np.array(values, np.float32, order="C"))


def _check_image(image: np.ndarray) -> None:
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8:
        kind = getattr(image, "dtype", type(image).__name__)
        raise InputError(f"Expected argument `image` to be a uint8 array, but got {kind}.")
    if image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
        raise InputError(f"Expected argument `image` to be (H, W, 3), but got {image.shape}.")


def _check_number(name: str, value: float, *, positive: bool = False) -> None:
    if not isfinite(value) or value < 0 or (positive and value == 0):
        bound = "finite and above 0" if positive else "finite and >= 0"
        raise InputError(f"Expected argument `{name}` to be {bound}, but got {value}.")


def _check_range(name: str, values: Tensor) -> None:
    """Values in [0, 1]; NaN fails every comparison, so it fails this one."""
    if values.numel() == 0:
        return
    low, high = (float(end) for end in values.aminmax())
    if not (low >= -TOLERANCE and high <= 1 + TOLERANCE):
        raise InputError(f"Expected {name} to be in [0, 1], but got values from {low:.4g} to {high:.4g}.")
