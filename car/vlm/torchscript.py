"""The weights of a TorchScript archive, read without loading its code.

OpenAI distributes its models in this format, which torch is about to drop. An archive is a zip file: `data.pkl` pickles
the tree of modules, its tensors point to the raw files in `data/`, and `code/` holds programs that are not needed here
and, in a file from a stranger, not wanted: only tensors are built, whatever else the pickle names is refused.
"""

import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from car.errors import CheckpointError

STORAGES = {
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "FloatStorage": torch.float32,
    "DoubleStorage": torch.float64,
    "ByteStorage": torch.uint8,
    "CharStorage": torch.int8,
    "ShortStorage": torch.int16,
    "IntStorage": torch.int32,
    "LongStorage": torch.int64,
    "BoolStorage": torch.bool,
}


class Module:
    """Stands for any module of the tree; unpickling fills its `__dict__` with tensors, modules and plain values."""


def is_torchscript(path: Path) -> bool:
    """Whether a file is an archive that holds programs besides tensors."""
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(name.endswith("/constants.pkl") for name in archive.namelist())


def read_torchscript(path: Path) -> dict[str, Tensor]:
    """Parameters and buffers of an archive, on the CPU, by dotted name.

    Raises:
        CheckpointError: it holds other things than modules, tensors and plain values.
    """
    with zipfile.ZipFile(path) as archive:
        pickled = next(name for name in archive.namelist() if name.endswith("/data.pkl"))
        root = pickled.removesuffix("/data.pkl")
        with archive.open(pickled) as file:
            tree = ModuleUnpickler(file, archive, root).load()
    return dict(tensors(tree, ""))


def tensors(module: Module, prefix: str) -> Iterator[tuple[str, Tensor]]:
    """All tensors below a module."""
    for name, value in vars(module).items():
        if isinstance(value, Tensor):
            yield prefix + name, value
        elif isinstance(value, Module):
            yield from tensors(value, f"{prefix}{name}.")


class ModuleUnpickler(pickle.Unpickler):
    """Builds the tree of modules and its tensors, and nothing else."""

    def __init__(self, file: Any, archive: zipfile.ZipFile, root: str) -> None:
        super().__init__(file)
        self.archive, self.root = archive, root
        self.storages: dict[str, Tensor] = {}

    def find_class(self, module: str, name: str) -> Any:
        """The few globals an archive needs; every class of its own programs becomes a `Module`."""
        known: dict[tuple[str, str], Callable] = {
            ("torch._utils", "_rebuild_tensor_v2"): rebuild,
            ("collections", "OrderedDict"): OrderedDict,
        }
        if module.startswith("__torch__"):
            return Module
        if module == "torch" and name in STORAGES:
            return STORAGES[name]
        if module == "torch.jit._pickle":
            return plain
        if (module, name) in known:
            return known[module, name]
        raise CheckpointError(f"The archive names {module}.{name}, which no model's weights need.")

    def persistent_load(self, pid: Any) -> Tensor:
        """The storage that `pid` = ("storage", type, key, device, length) points to, as a flat tensor."""
        _, dtype, key, *_ = pid
        if key not in self.storages:
            entry = self.archive.getinfo(f"{self.root}/data/{key}")
            if entry.compress_type != zipfile.ZIP_STORED:
                # Tensors are never compressed; a small file that swells to gigabytes is no checkpoint.
                raise CheckpointError("The archive's tensors are compressed.")
            raw = bytearray(self.archive.read(entry))
            self.storages[key] = torch.frombuffer(raw, dtype=dtype) if raw else torch.empty(0, dtype=dtype)
        return self.storages[key]


def rebuild(storage: Tensor, offset: int, size: tuple, stride: tuple, *_: Any) -> Tensor:
    """A tensor as a view of its storage; torch refuses one that reaches beyond it."""
    return storage.as_strided(size, stride, offset)


def plain(value: Any, *_: Any) -> Any:
    """Lists of numbers, which archives tag with their type."""
    return value
