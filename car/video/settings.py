"""How a film is segmented."""

from dataclasses import dataclass

from car.errors import InputError

MODES = ("carried", "per-frame")


@dataclass(frozen=True, kw_only=True)
class VideoSettings:
    """How to go from frame to frame; docs/video.md has what the defaults were chosen by.

    mode: "carried", or "per-frame": CaR on every frame alone, as published.
    check_every: at most so many frames from one full check to the next, at least 1; "carried" only.
    carry: share of the carried mask in a proposal, in [0, 1].
    warp: whether masks are carried along the optical flow, or stay where they were.
    together: whether queries compete for their proposals, and share no pixel. Apart, as expressions do, each has the
        background queries alone as rivals for a mask of its own, and masks may overlap.

    Raises:
        InputError: any of these is not as described.

    >>> VideoSettings(mode="both")
    Traceback (most recent call last):
    car.errors.InputError: Expected argument `mode` to be one of carried, per-frame, but got 'both'.
    """

    mode: str = "carried"
    check_every: int = 8
    carry: float = 0.3
    warp: bool = True
    together: bool = True

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise InputError(f"Expected argument `mode` to be one of {', '.join(MODES)}, but got {self.mode!r}.")
        if self.check_every < 1:
            raise InputError(f"Expected argument `check_every` to be at least 1, but got {self.check_every}.")
        if not 0 <= self.carry <= 1:
            raise InputError(f"Expected argument `carry` to be in [0, 1], but got {self.carry}.")
