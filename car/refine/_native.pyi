import numpy as np
from numpy.typing import NDArray

class Lattice: ...

def build(
    features: tuple[tuple[NDArray[np.float32], int, tuple[int, ...], tuple[int, ...], int], ...],
    symmetric: bool,
    threads: int,
    /,
) -> tuple[Lattice, ...]: ...
def vertices(lattice: Lattice, /) -> int: ...
def filter(
    lattice: Lattice, values: NDArray[np.float32], filtered: NDArray[np.float32], channels: int, threads: int, /
) -> None: ...
def mean_field(
    terms: tuple[tuple[Lattice, float], ...],
    energies: NDArray[np.float32],
    q: NDArray[np.float32],
    sets: int,
    labels: int,
    iterations: int,
    threads: int,
    /,
) -> None: ...
def allow_avx2(allowed: bool, /) -> bool: ...
