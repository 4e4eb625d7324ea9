import os
import signal
import tempfile
from collections.abc import Iterator

# Threads that wait for work without spinning: the suite also runs on machines with other work to do. Before torch.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
# What the suite caches is not the user's.
os.environ["CAR_CACHE"] = tempfile.mkdtemp(prefix="car-cache-")

import pytest
from hypothesis import settings

# A suite started in the background is handed an ignored SIGINT, and would hand it down to the commands it interrupts.
signal.signal(signal.SIGINT, signal.default_int_handler)
settings.register_profile("car", derandomize=True, deadline=None, max_examples=40)
settings.load_profile("car")


@pytest.fixture
def one_thread() -> Iterator[None]:
    """For steps so small that several threads would only wait for each other; rounding depends on their number, too."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
