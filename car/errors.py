"""The errors a user can cause. Each message is one line: what was wrong, and what to do."""


class CarError(Exception):
    """Base of every error `car` raises on purpose; `exit_code` is what the command line exits with."""

    exit_code = 1


class InputError(CarError, ValueError):
    """A bad argument, query, image, preset or file (exit status 2)."""

    exit_code = 2


class MissingError(CarError):
    """Weights, data or an optional package are absent (exit status 3)."""

    exit_code = 3


class CheckpointError(CarError):
    """A checkpoint is corrupt, or of an architecture that cannot be read (exit status 3)."""

    exit_code = 3
