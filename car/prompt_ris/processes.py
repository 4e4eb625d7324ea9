"""The process a training runs in: alone, or one of several that torchrun started."""

import os
from datetime import timedelta
from types import TracebackType
from typing import Self

import torch
import torch.distributed as dist

from car.device import choose_device, choose_dtype
from car.errors import InputError


class Processes:
    """Joins the processes of a torchrun while it is open; alone, it has nothing to join.

    Args:
        device: as of `choose_device`; under torchrun, "auto" and "cuda" are the process's own CUDA device.
        dtype: as of `choose_dtype`.

    Attributes:
        device, dtype: of this process.
        first: whether this is the one that writes and talks.

    Raises:
        InputError: a device or dtype that is not here.
    """

    def __init__(self, device: str = "auto", dtype: str = "auto") -> None:
        rank = int(os.environ.get("LOCAL_RANK", 0))
        self.spread = "RANK" in os.environ
        chosen = choose_device(device)
        if self.spread and chosen.type == "cuda":
            if chosen.index is not None:
                raise InputError(f"Under torchrun each process has a device of its own; leave out `--device {device}`.")
            chosen = choose_device(f"cuda:{rank}")
        self.device, self.dtype = chosen, choose_dtype(dtype, chosen)
        self.first = int(os.environ.get("RANK", 0)) == 0

    def __enter__(self) -> Self:
        if self.spread:
            dist.init_process_group("nccl" if self.device.type == "cuda" else "gloo", timeout=timedelta(hours=2))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.spread:
            dist.destroy_process_group()

    @property
    def told(self) -> str:
        """What it runs on, in words."""
        many = f"{dist.get_world_size()} processes on " if self.spread else ""
        return f"{many}{self.device.type}, {str(self.dtype).removeprefix('torch.')}"

    def wait(self) -> None:
        """Wait for the others."""
        if self.spread:
            dist.barrier()

    @staticmethod
    def seed(seed: int) -> None:
        """Make what is drawn for new weights the same in all processes and all runs."""
        torch.manual_seed(seed)
