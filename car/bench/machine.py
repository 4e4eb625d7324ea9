"""The machine a benchmark ran on, and what its memory can do."""

import os
import platform
import sys
from pathlib import Path
from typing import Any

import torch

from car.bench.meter import least_seconds

BUFFER = 2**28
"""Bytes that are copied to measure the bandwidth: more than any cache holds."""


def describe(device: torch.device) -> dict[str, Any]:
    """What the figures depend on besides the code: processor, cores, threads, versions, and the GPU, if one is used."""
    from car import __version__

    found = {
        "cpu": processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "torch": torch.__version__,
        "car": __version__,
        "device": str(device),
        "copy GB/s": round(bandwidth(torch.device("cpu")) / 1e9, 1),
    }
    if device.type == "cuda":
        found["gpu"] = torch.cuda.get_device_name(device)
        found["gpu copy GB/s"] = round(bandwidth(device) / 1e9, 1)
    return found


def processor() -> str:
    """The processor's name; its architecture where the system does not tell."""
    if sys.platform == "linux":
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def bandwidth(device: torch.device) -> float:
    """Bytes per second, read and written together, of the fastest of several copies of a large buffer."""
    source = torch.ones(BUFFER, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    return 2 * BUFFER / least_seconds(lambda: target.copy_(source), 5, device)
