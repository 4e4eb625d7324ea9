"""The label maps of one film, put aside so that they can be gone through more than once."""

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryFile, gettempdir
from typing import Self

import cv2
import numpy as np

from car.export import reported

_LENGTH_BYTES = 8


class LabelMaps:
    """Label maps in a temporary file, one in memory at a time. A context manager: with its block, the file is gone.

    Raises:
        CarError: the temporary folder cannot be written to.

    >>> with LabelMaps() as maps:
    ...     maps.append(np.array([[1, 2]], np.uint8))
    ...     [each.tolist() for each in maps], [each.tolist() for each in maps]
    ([[[1, 2]]], [[[1, 2]]])
    """

    def __init__(self) -> None:
        with reported(Path(gettempdir())):
            self._file = TemporaryFile()  # noqa: SIM115 - closed by __exit__

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def append(self, labels: np.ndarray) -> None:
        """Add the next one, (H, W) uint8.

        Raises:
            CarError: writing failed.
        """
        content = cv2.imencode(".png", labels)[1].tobytes()
        with reported(Path(gettempdir())):
            self._file.write(len(content).to_bytes(_LENGTH_BYTES) + content)
            self._file.flush()

    def __iter__(self) -> Iterator[np.ndarray]:
        """All of them in order, from the first; before the last is there, none may be added."""
        self._file.seek(0)
        while length := self._file.read(_LENGTH_BYTES):
            content = np.frombuffer(self._file.read(int.from_bytes(length)), np.uint8)
            yield np.asarray(cv2.imdecode(content, cv2.IMREAD_UNCHANGED), np.uint8)
