"""Scale-out: pictures streamed by Ray Data through a pool of workers that hold the models, on one machine or many.

Keys travel to the workers one or a few at a time, outcomes come back as they are done. A worker holds one picture at a
time, and Ray Data hands out no more keys while results fill its part of the object store, so that memory does not grow
with the number of pictures.

Ray replaces workers that die or whose node is lost, and gives what they had to their successors, for ever. Therefore a
picture that was begun `ATTEMPTS` times and never finished gets a record that says so, and a few such pictures one after
the other end the run.
"""

import logging
import os
import pickle
import socket
from collections import Counter
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from car import __version__
from car.errors import CarError, CheckpointError, InputError, MissingError
from car.evaluate.kinds import AnyJob, AnyPlan, evaluator_of, failed_record
from car.evaluate.plan import differences
from car.evaluate.ray_cluster import connected, import_ray, one_line, silent

if TYPE_CHECKING:
    from car.evaluate.evaluator import Evaluator, Outcome
    from car.evaluate.referring_evaluator import ReferringEvaluator
    from car.evaluate.video_evaluator import VideoEvaluator

ATTEMPTS = 3
MOST_GIVEN_UP = 3
GPU_BATCH = 4
"""Pictures at a time for a worker on a GPU, which is done with one in less time than Ray needs to hand it out."""

log = logging.getLogger(__name__)


def outcomes(
    job: AnyJob, plan: AnyPlan, keys: Sequence[str], *, workers: int | None = None, address: str | None = None
) -> "Iterator[Outcome]":
    """Evaluate pictures on Ray workers.

    A worker has one GPU where the plan's device is "cuda", else as many cores as the plan has threads. It gives what an
    `Evaluator` in this process would give: a worker that comes to another plan refuses to work.

    Args:
        job: what to evaluate with what. On other machines its paths must lead to the same files, relative ones from a
            working folder of the same name.
        plan: what the job comes to here.
        keys: the pictures.
        workers: how many; as many as the cluster has room for by default.
        address: "auto" or "HOST:PORT" of a running cluster to join, of which this machine is a node. All its nodes need
            this package installed, in the same version, and the same versions of Ray and Python. By default the
            cluster that this process is in already; else one on this machine alone, which is shut down in the end.

    Yields:
        The outcome of every picture, once, in any order.

    Raises:
        InputError: a worker comes to another plan; there is no room for one; a certain GPU was asked for; or an address
            of Ray's client ("ray://"), which Ray Data does not work with.
        MissingError: Ray is not installed or not at that address; data or weights are missing on a worker's node.
        CarError: workers die on one picture after the other, or Ray itself fails.
    """
    ray = import_ray()
    if plan.device == "cuda" and job.device not in ("auto", "cuda"):
        raise InputError(
            f"Ray gives every worker a GPU of its own, so that {job.device!r} cannot be had; "
            "say `--device cuda`, and which GPUs there are by CUDA_VISIBLE_DEVICES."
        )
    if not keys:
        return
    cores = None if workers is None else workers * plan.threads
    with silent(ray), connected(ray, address, cores):
        try:
            with closing(answers(ray, job, plan, keys, room(ray, job, plan, workers))) as said:
                yield from counted(said, keys, plan.unit)
        except ray.exceptions.RayTaskError:
            raise
        except ray.exceptions.RayError as error:
            raise CarError(f"Ray failed: {one_line(error)}") from None


@dataclass(frozen=True)
class Answer:
    """What a worker has to say of a picture.

    result: its outcome, or why the worker does not work.
    begun: how many times the picture was begun, this time included.
    """

    result: "Outcome | CarError"
    begun: int


class Ledger:
    """Knows which pictures were begun and not finished: an actor, for a worker that dies cannot tell."""

    def __init__(self) -> None:
        self.begun: Counter[str] = Counter()

    def begin(self, key: str) -> int:
        """A worker begins a picture; how many times it has been begun since it was last finished."""
        self.begun[key] += 1
        return self.begun[key]

    def finish(self, key: str) -> None:
        """A worker has finished a picture."""
        self.begun.pop(key, None)


class Worker:
    """What every process of the pool runs; it loads the models when the first picture comes.

    Args:
        job, plan: as of `outcomes`.
        ledger: handle of the `Ledger`.
        folder: where relative paths start.
        node: id of the node that needs no naming in errors.
    """

    def __init__(self, job: AnyJob, plan: AnyPlan, ledger: Any, folder: str, node: str) -> None:
        self.job, self.plan, self.ledger, self.node = job, plan, ledger, node
        with suppress(OSError):
            os.chdir(folder)

    def __call__(self, batch: Any) -> Any:
        """Keys in, answers out; both are tables of pyarrow with one column of bytes."""
        import pyarrow

        said = [self.answer(key.decode(errors="surrogatepass")) for key in batch["item"].to_pylist()]
        return pyarrow.table({"answer": [pickle.dumps(each) for each in said]})

    def answer(self, key: str) -> Answer:
        """Evaluate one picture, unless it has been begun too often."""
        import ray

        begun = ray.get(self.ledger.begin.remote(key))
        from car.evaluate.evaluator import Outcome  # takes seconds, and may be what a worker dies of

        if begun > ATTEMPTS:
            reason = f"Its worker died, {ATTEMPTS} times. If it is short of memory, fewer workers have more each."
            return Answer(Outcome(failed_record(self.plan, key, reason)), begun)
        result = self.refusal or self.evaluator(key)
        self.ledger.finish.remote(key)
        return Answer(result, begun)

    @cached_property
    def refusal(self) -> CarError | None:
        """Why this worker cannot do what is planned."""
        import ray

        name = f"{socket.gethostname()} ({ray.util.get_node_ip_address()})"
        try:
            if differ := self.differences():
                return InputError(f"The worker on node {name} would compute something else: {'; '.join(differ)}.")
        except CarError as error:
            if ray.get_runtime_context().get_node_id() == self.node:
                return error
            return kind_of(error)(f"On node {name}: {error}")
        return None

    def differences(self) -> list[str]:
        """What the plan differs in here, as texts; another version of this package may not even have these fields."""
        if (planned := self.plan.versions["car"]) != __version__:
            return [f"versions.car is {__version__!r} there, {planned!r} here"]
        return differences(self.evaluator.plan, self.plan)

    @cached_property
    def evaluator(self) -> "Evaluator | ReferringEvaluator | VideoEvaluator":
        """The models, on this worker's cores or GPU."""
        return evaluator_of(self.job)


def answers(ray: Any, job: AnyJob, plan: AnyPlan, keys: Sequence[str], workers: int) -> Generator[Answer, None, None]:
    """What workers say of the pictures, in any order."""
    node = ray.get_runtime_context().get_node_id()
    here = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(node, soft=False)
    ledger = ray.remote(num_cpus=0, scheduling_strategy=here)(Ledger).remote()
    size = max(1, min(GPU_BATCH, len(keys) // (4 * workers))) if plan.device == "cuda" else 1
    batches = -(-len(keys) // size)
    dataset = ray.data.from_items([key.encode(errors="surrogatepass") for key in keys], override_num_blocks=batches)
    dataset = dataset.map_batches(
        Worker,
        fn_constructor_args=(replace(job, device=plan.device, threads=plan.threads), plan, ledger, os.getcwd(), node),
        batch_size=size,
        batch_format="pyarrow",
        compute=ray.data.ActorPoolStrategy(size=min(workers, batches), max_tasks_in_flight_per_actor=2),
        **({"num_gpus": 1} if plan.device == "cuda" else {"num_cpus": plan.threads}),
    )
    # Nothing is fetched ahead, for Ray would keep each answer back until the next one is there. Closed by hand, workers
    # stop at once, and not when the last reference to the iterator happens to go.
    tables = iter(dataset.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0))
    with closing(tables):
        for table in tables:
            yield from map(pickle.loads, table["answer"].to_pylist())


def counted(answers: Iterable[Answer], keys: Sequence[str], unit: str) -> "Iterator[Outcome]":
    """The outcomes among the answers, of every key one; `unit` is what the keys are of, in the plural.

    Raises:
        CarError: a worker refused, too many keys in a row were given up, or some have no answer.
    """
    missing, given_up = set(keys), 0
    for answer in answers:
        if isinstance(answer.result, CarError):
            raise answer.result
        record = answer.result.record
        if record.key not in missing:
            continue
        missing.remove(record.key)
        given_up = given_up + 1 if answer.begun > ATTEMPTS else 0
        if given_up == MOST_GIVEN_UP:
            raise CarError(f"Workers die on all {unit}, the last was {record.key!r}. {record.error}")
        if 1 < answer.begun <= ATTEMPTS:
            log.warning("A worker died while it had %r, which was done again.", record.key)
        yield answer.result
    if missing:
        raise CarError(f"Ray gave no answer for {len(missing)} {unit}, such as {min(missing)!r}; run it again.")


def room(ray: Any, job: AnyJob, plan: AnyPlan, workers: int | None) -> int:
    """How many workers to have: those asked for, or as many as the nodes have room for."""
    unit, each = ("GPU", 1) if plan.device == "cuda" else ("CPU", plan.threads)
    has = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    fitting = sum(int(node.get(unit, 0) // each) for node in has)
    if plan.device == "cpu" and job.device == "auto" and any(node.get("GPU") for node in has):
        log.warning("This machine has no GPU, so those of the cluster are not used; start on a node that has one.")
    if workers is None and not fitting:
        needed = "a GPU" if unit == "GPU" else f"{each} cores, one per thread (`--threads`)"
        raise InputError(f"No node has room for a worker, which needs {needed}.")
    if workers is not None and workers > fitting:
        log.warning("There is room for %d workers of %d; the others wait for more nodes.", fitting, workers)
    return workers or fitting


def kind_of(error: CarError) -> type[CarError]:
    """The kind of an error among those of `car.errors`, which take a message alone."""
    return next(kind for kind in (InputError, MissingError, CheckpointError, CarError) if isinstance(error, kind))
