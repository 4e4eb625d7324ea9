"""Checkpoints by name: found in the cache, or downloaded into it and verified."""

import hashlib
import http.client
import logging
import os
import sys
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from car.errors import CheckpointError, MissingError

log = logging.getLogger(__name__)

CHUNK = 2**20
TIMEOUT = 20


@dataclass(frozen=True)
class Download:
    """A file on the web, named by its content.

    name: what users call it.
    url: where it is; its last part is the file's name in the cache.
    sha256: its content's hash, hexadecimal.
    megabytes: its size, about.
    """

    name: str
    url: str
    sha256: str
    megabytes: int

    @property
    def file_name(self) -> str:
        return self.url.rsplit("/", 1)[-1]


def weights_folder(weights_dir: str | Path | None = None) -> Path:
    """Where checkpoints are kept: the argument, else $CAR_CACHE, else ~/.cache/clip."""
    return Path(weights_dir or os.environ.get("CAR_CACHE") or Path.home() / ".cache" / "clip").expanduser()


def fetch(download: Download, weights_dir: str | Path | None = None) -> Path:
    """The file in the cache, downloaded if it is not there; its SHA-256 is checked either way.

    Raises:
        MissingError: it is not there and cannot be downloaded or written.
        CheckpointError: the file that is there has another hash.
    """
    path = weights_folder(weights_dir) / download.file_name
    if path.is_file():
        verify(path, download)
        return path
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        receive(download, path)
        remember(path, download)
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", None) or getattr(error, "strerror", None) or error
        raise MissingError(
            f"The weights of {download.name} are not here and cannot be downloaded ({reason}). Put {download.url} "
            f"into {path.parent} as {path.name}, or use `--model mini`, which needs no download."
        ) from None
    return path


def verify(path: Path, download: Download) -> None:
    """Compare a file's hash; one that was found right is not read again until it changes."""
    mark, seen = mark_of(path, download)
    if mark.is_file() and mark.read_bytes() == seen.encode():
        return
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != download.sha256:
        raise CheckpointError(
            f"{str(path)!r} is damaged: its SHA-256 begins with {found[:12]}, that of {download.name} with "
            f"{download.sha256[:12]}. Delete it and it will be downloaded again."
        )
    remember(path, download)


def mark_of(path: Path, download: Download) -> tuple[Path, str]:
    """Where it is noted that a file was verified, and the note: what the file was expected and found to be."""
    stat = path.stat()
    return path.with_name(f".{path.name}.verified"), f"{download.sha256} {stat.st_size} {stat.st_mtime_ns}"


def remember(path: Path, download: Download) -> None:
    """Note that a file was verified."""
    mark, seen = mark_of(path, download)
    try:
        mark.write_text(seen)
    except OSError:
        log.debug("The folder of %s cannot be written; it will be verified again next time.", path)


def receive(download: Download, path: Path) -> None:
    """Download to a temporary name, and rename once it is whole and right.

    Raises:
        OSError: it is not.
    """
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    digest = hashlib.sha256()
    received = 0
    try:
        # A new opener, as the one that `urlopen` keeps would not notice when the proxy of the environment changes.
        opener = urllib.request.build_opener()
        with temporary.open("xb") as file, opener.open(download.url, timeout=TIMEOUT) as response:
            total = int(response.headers.get("Content-Length") or 0)
            with bar(download.name, total) as advance:
                while chunk := response.read(CHUNK):
                    file.write(chunk)
                    digest.update(chunk)
                    received += len(chunk)
                    advance(len(chunk))
        if received < total:
            raise OSError(f"the connection broke off after {received / 1e6:.0f} of {total / 1e6:.0f} MB")
        if digest.hexdigest() != download.sha256:
            raise OSError(f"{download.url} sends another file: its SHA-256 is not the one expected")
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def bar(name: str, total: int) -> Iterator[Callable[[int], None]]:
    """A progress bar on stderr when that is a terminal; a line in the log otherwise."""
    if not sys.stderr.isatty():
        log.info("Downloading %s (%d MB).", name, total // 10**6)
        yield lambda count: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task(f"Downloading {name}", total=total or None)
        yield lambda count: progress.advance(task, count)
