"""Ray without its noise: imported, started or joined, and left."""

import logging
import os
import re
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from car.errors import InputError, MissingError

OBJECT_STORE = 256 * 2**20
"""Bytes of a Ray of our own: keys and label maps on their way, no pictures."""

SETTINGS = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_BACKEND_LOG_LEVEL": "fatal",  # its C++ code says ordinary things as errors
    "RAY_DEDUP_LOGS_SKIP_REGEX": ".",  # drops what its daemons have printed on our standard output
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # else it warns of what will be so one day
    "RAY_DISABLE_FAILURE_SIGNAL_HANDLER": "1",  # SIGTERM is to end a run, not to dump it
    "RAY_ENABLE_AUTO_CONNECT": "0",  # a late call is not to start another cluster
}
"""Environment variables, which Ray reads when it is imported."""


def import_ray() -> Any:
    """The module `ray`, with `ray.data`; settings of the user's own environment stay.

    Raises:
        MissingError: it is not installed.
    """
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)
    try:
        with uninterrupted():
            import ray
            import ray.data
    except ImportError:
        raise MissingError("Ray Data is not installed; run: pip install 'car-segmentation[scale]'") from None
    return ray


@contextmanager
def connected(ray: Any, address: str | None, cores: int | None) -> Iterator[None]:
    """In a cluster: the one that this process is in already, the one at the address, or one of our own, which ends.

    Args:
        address: as `ray.init` takes it; None for one of our own.
        cores: of one of our own; by default what the machine has.

    Raises:
        InputError: there is an address, but this process is in a cluster already; or it is one of Ray's client ("ray://").
        MissingError: there is no such cluster, or Ray does not start.
    """
    if ray.is_initialized():
        if address is not None:
            raise InputError("This process is in a Ray cluster already, and cannot join another one.")
        yield
        return
    own = {"num_cpus": cores, "include_dashboard": False, "object_store_memory": OBJECT_STORE}
    in_main_thread = threading.current_thread() is threading.main_thread()
    handler = signal.getsignal(signal.SIGTERM)
    try:
        enter(ray, address or "local", {} if address else own)
        yield
    finally:
        with uninterrupted():
            settle()
            ray.shutdown()
        if in_main_thread:
            signal.signal(signal.SIGTERM, handler)


def enter(ray: Any, address: str, own: dict[str, Any]) -> None:
    """Start or join a cluster."""
    resolved = os.environ.get("RAY_ADDRESS", address) if address == "auto" else address
    if resolved.startswith("ray://"):
        raise InputError(
            f"Ray Data does not work from outside of a cluster ({resolved!r}); start on one of its nodes, "
            "with the address 'auto'."
        )
    try:
        with uninterrupted(), muted():
            knock(resolved)
            ray.init(address, log_to_driver=False, logging_level=logging.CRITICAL, **own)
    except (OSError, ValueError, RuntimeError, ImportError) as error:
        what = "Ray does not start here" if address == "local" else f"There is no joining a Ray cluster at {address!r}"
        raise MissingError(f"{what}: {one_line(error)}") from None


def knock(address: str) -> None:
    """Fail at once where nothing listens; Ray would try for minutes.

    Raises:
        OSError: nothing listens at this HOST:PORT. Addresses of other forms are not tried.
    """
    if found := re.fullmatch(r"([^/:]+):(\d+)", address):
        socket.create_connection((found[1], int(found[2])), timeout=10).close()


def settle() -> None:
    """Wait for those threads of Ray Data that talk to the cluster: if it goes first, Ray can end this process."""
    for thread in threading.enumerate():
        if thread.name.startswith(("StreamingExecutor", "iter_threaded", "ray-data")):
            thread.join(timeout=30)


@contextmanager
def silent(ray: Any) -> Iterator[None]:
    """Without Ray's progress bars and messages."""
    context = ray.data.DataContext.get_current()
    loggers = [logging.getLogger(name) for name in ("ray", "ray.data")]
    bars, levels = context.enable_progress_bars, [each.level for each in loggers]
    try:
        context.enable_progress_bars = False
        for each in loggers:
            each.setLevel(logging.CRITICAL)
        yield
    finally:
        context.enable_progress_bars = bars
        for each, level in zip(loggers, levels, strict=True):
            each.setLevel(level)


@contextmanager
def muted() -> Iterator[None]:
    """With standard error closed to the C++ code that announces its log level there, whatever the level."""
    sys.stderr.flush()
    kept, null = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(null, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(null)


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Ctrl-C counts at the end, or when it is pressed again: Ray can lose one that comes while it starts, and with it a
    lock that it waits for later.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    pressed: list[bool] = []

    def note(*_: object) -> None:
        if pressed:
            raise KeyboardInterrupt
        pressed.append(True)

    handler = signal.signal(signal.SIGINT, note)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)
    if pressed:
        raise KeyboardInterrupt


def one_line(error: Exception) -> str:
    """What an error says, within a line: of a traceback the end, else the beginning."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    return (lines[-1] if re.match(r"[\w.]+(Error|Exception|Exit)\b", lines[-1]) else lines[0])[:200]
