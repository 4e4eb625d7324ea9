import os

# Threads that wait for work without spinning: the suite also runs on machines with other work to do. Before torch.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from hypothesis import settings

settings.register_profile("car", derandomize=True, deadline=None, max_examples=40)
settings.load_profile("car")
