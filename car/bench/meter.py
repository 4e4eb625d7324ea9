"""Seconds and peak memory of stages."""

import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import torch

from car.bench.figures import largest
from car.prepared import Clock

PATIENCE = 5.0
"""What takes longer than so many seconds in all is not repeated further, where only its floor is asked for."""


class Meter(Clock):
    """A clock that waits for the device around each stage, and notes how much memory was in use at most.

    Attributes:
        seconds: as of `Clock`.
        peaks: bytes by stage: what torch had allocated on a GPU; on the CPU the resident memory of the whole process,
            with the weights and what earlier stages left. None where the system does not tell.
        resident: bytes that the process had in memory at most since the meter was made, between the stages, too, on
            whatever device they ran. None where the system does not tell.
    """

    def __init__(self, device: torch.device) -> None:
        super().__init__()
        self.device = device
        self.peaks: dict[str, int | None] = {}
        self.resident: int | None = None
        reset_peak(device)

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        self.resident = largest(self.resident, resident_peak())
        reset_peak(self.device)
        synchronise(self.device)
        with super().__call__(stage):
            yield
            synchronise(self.device)
        self.peaks[stage] = largest(self.peaks.get(stage), peak(self.device))
        self.resident = largest(self.resident, resident_peak())


def synchronise(device: torch.device) -> None:
    """Wait until the device has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def reset_peak(device: torch.device) -> None:
    """Have peaks speak of what comes from now on, where the system can."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    if sys.platform == "linux":
        # A container may forbid it; the peak is then that of the process so far.
        with suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5")


def peak(device: torch.device) -> int | None:
    """Most memory in use since `reset_peak`, in bytes: what torch had allocated on a GPU, else `resident_peak`."""
    return torch.cuda.max_memory_allocated(device) if device.type == "cuda" else resident_peak()


def resident_peak() -> int | None:
    """Most memory that the process had since `reset_peak`, in bytes; elsewhere than on Linux, since it began."""
    if sys.platform == "linux":
        status = Path("/proc/self/status").read_text()
        return next((int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM")), None)
    try:
        import resource
    except ImportError:
        return None
    # macOS counts bytes here, all others KiB.
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def repeated(work: Callable[[], Any], repeats: int, device: torch.device) -> list[float]:
    """Seconds of each of several runs after a first one that does not count, fewer where PATIENCE ends before."""
    begin, found = time.perf_counter(), []
    for turn in range(repeats + 1):
        synchronise(device)
        start = time.perf_counter()
        work()
        synchronise(device)
        if turn:
            found.append(time.perf_counter() - start)
        if found and time.perf_counter() - begin > PATIENCE:
            break
    return found


def median_seconds(work: Callable[[], Any], repeats: int, device: torch.device) -> float:
    """The median of `repeated`."""
    return statistics.median(repeated(work, repeats, device))


def least_seconds(work: Callable[[], Any], repeats: int, device: torch.device) -> float:
    """The least of `repeated`."""
    return min(repeated(work, repeats, device))
