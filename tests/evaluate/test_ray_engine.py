"""The engine on Ray. Slow, for it runs on real clusters of real processes: Ray takes seconds to start, and so does
every worker, which imports torch and loads the models."""

import logging
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from car import __version__
from car.errors import CarError, InputError, MissingError
from car.evaluate import Evaluator, Job, Outcome, Plan, Record, ReferringJob, RunDirectory, run
from car.evaluate.ray_cluster import import_ray, muted
from car.evaluate.ray_engine import ATTEMPTS, MOST_GIVEN_UP, Answer, Worker, counted, outcomes
from car.evaluate.referring_evaluator import ReferringEvaluator
from tests.evaluate.pictures import SETTINGS, write_pictures
from tests.evaluate.referring_pictures import write_refcoco

try:
    ray = import_ray()
except MissingError:
    pytest.skip("Ray Data, the extra [scale], is not installed", allow_module_level=True)

PROC = Path("/proc")
needs_proc = pytest.mark.skipif(not PROC.is_dir(), reason="processes are found in /proc")
BAD = "005"
NO_NICENESS = {"RAY_worker_niceness": "0"}
"""Ray's workers would let everything else on the machine go first."""


@dataclass(frozen=True)
class Local:
    """What the engine has to reproduce."""

    job: Job
    plan: Plan
    keys: tuple[str, ...]
    outcomes: dict[str, Outcome]

    def check(self, given: list[Outcome]) -> None:
        """Every picture is there once, with the record and the labels of the local engine."""
        assert sorted(outcome.record.key for outcome in given) == list(self.keys)
        for outcome in given:
            own = self.outcomes[outcome.record.key]
            assert replace(outcome.record, seconds={}) == replace(own.record, seconds={})
            assert outcome.record.seconds.keys() == own.record.seconds.keys()
            assert (outcome.labels is None) is (own.labels is None)
            assert outcome.labels is None or np.array_equal(outcome.labels, own.labels)


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Local:
    """Eleven pictures and one that is broken."""
    root = write_pictures(tmp_path_factory.mktemp("data") / "scenes", 12)
    (root / f"images/{BAD}.png").write_bytes(b"")
    job = Job(benchmark="folder", data_root=root, threads=1, options=SETTINGS)
    evaluator = Evaluator(job)
    made = {key: evaluator(key) for key in evaluator.keys}
    assert [key for key, outcome in made.items() if outcome.record.error] == [BAD]
    return Local(job, evaluator.plan, tuple(evaluator.keys), made)


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """A running cluster with two cores, and something that it takes for a GPU."""
    from ray.cluster_utils import Cluster

    with muted():
        cluster = Cluster(
            initialize_head=True,
            head_node_args={
                "num_cpus": 2,
                "num_gpus": 1,
                "object_store_memory": 100 * 2**20,
                "include_dashboard": False,
                "env_vars": NO_NICENESS,
            },
        )
    yield cluster.address
    cluster.shutdown()


def processes(wanted: Callable[[int], bool]) -> list[int]:
    """Those processes that are as wanted, and have not ended meanwhile."""
    found = []
    for process in (int(path.name) for path in PROC.glob("[0-9]*")):
        with suppress(OSError):
            if wanted(process):
                found.append(process)
    return found


def stat(process: int) -> list[str]:
    """What the kernel says of a process: its state, its parent, its group, its session, ..."""
    return (PROC / f"{process}/stat").read_text().rpartition(")")[2].split()


def pool() -> list[int]:
    """Workers that this process has started, through Ray's daemons."""

    def descends(process: int) -> bool:
        return process == os.getpid() or (process > 1 and descends(int(stat(process)[1])))

    return processes(lambda each: (PROC / f"{each}/cmdline").read_bytes().startswith(b"ray::Map") and descends(each))


def session(leader: int) -> list[int]:
    """What runs in a session."""
    return processes(lambda each: stat(each)[3] == str(leader) and stat(each)[0] != "Z")


def until(condition: Callable[[], object], seconds: float = 300) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_a_referring_job_gives_what_the_local_engine_gives(tmp_path: Path, address: str) -> None:
    root = write_refcoco(tmp_path / "refer", 3)
    job = ReferringJob(
        benchmark="refcoco",
        data_root=root,
        threads=1,
        method="global-local",
        parser="built-in",
        proposals="regions",
    )
    evaluator = ReferringEvaluator(job)
    own = {key: evaluator(key).record for key in evaluator.keys}
    given = {each.record.key: each.record for each in outcomes(job, evaluator.plan, evaluator.keys, address=address)}
    assert given.keys() == own.keys()
    for key, record in given.items():
        assert replace(record, seconds={}) == replace(own[key], seconds={})


@needs_proc
def test_a_killed_worker_is_replaced_and_nothing_is_lost(
    local: Local,
    address: str,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """In a cluster that was started in another folder than the relative path begins in."""
    root = Path(local.job.data_root)
    monkeypatch.chdir(root.parent)
    handler = signal.getsignal(signal.SIGTERM)
    given = []
    for outcome in outcomes(replace(local.job, data_root=root.name), local.plan, local.keys, address=address):
        if not given:
            killed = pool()[0]
            os.kill(killed, signal.SIGKILL)
        given.append(outcome)
    local.check(given)
    assert not (PROC / str(killed)).exists()
    assert not ray.is_initialized()
    assert signal.getsignal(signal.SIGTERM) is handler
    assert capfd.readouterr() == ("", "")
    assert "the cluster are not used" in caplog.text
    assert {record.levelno for record in caplog.records} == {logging.WARNING}


@needs_proc
def test_a_picture_that_kills_its_workers_is_given_up(local: Local, address: str) -> None:
    """Every worker dies while it loads the models for the picture, which only those do that have begun one."""
    until(lambda: not pool())
    killed: set[int] = set()

    def loading(process: int) -> bool:
        return process not in killed and "libtorch_cpu" in (PROC / f"{process}/maps").read_text()

    def kill() -> None:
        while len(killed) < ATTEMPTS:
            for process in set(pool()) & set(processes(loading)):
                os.kill(process, signal.SIGKILL)
                killed.add(process)
            time.sleep(0.02)

    killer = threading.Thread(target=kill, daemon=True)
    killer.start()
    (outcome,) = outcomes(local.job, local.plan, local.keys[:1], workers=1, address=address)
    killer.join()
    assert outcome.labels is None
    assert outcome.record == Record(local.keys[0], error=outcome.record.error)
    assert outcome.record.error.startswith("Its worker died, 3 times.")


def test_many_such_pictures_in_a_row_end_the_run() -> None:
    keys = [str(number) for number in range(10)]
    fine, bad = (Outcome(Record(keys[0], error=error)) for error in (None, "Its worker died."))

    def answers(results: list[Outcome]) -> list[Answer]:
        return [
            Answer(replace(result, record=replace(result.record, key=key)), 1 if result is fine else ATTEMPTS + 1)
            for key, result in zip(keys, results, strict=False)
        ]

    row = [bad] * (MOST_GIVEN_UP - 1)
    assert len(list(counted(answers([*row, fine, *row]), keys[:5], "images"))) == 5
    given = counted(answers([fine, *row, bad, fine]), keys, "images")
    assert [next(given).record.key for _ in range(3)] == keys[:3]
    with pytest.raises(CarError, match=r"Workers die on all images, the last was '3'. Its worker died."):
        next(given)


def test_no_picture_is_counted_twice_or_forgotten() -> None:
    said = [Answer(Outcome(Record(key)), 1) for key in "abab"]
    assert [outcome.record.key for outcome in counted(said, ["a", "b"], "images")] == ["a", "b"]
    with pytest.raises(CarError, match="no answer for 2 sequences, such as 'c'"):
        list(counted(said, ["d", "a", "c", "b"], "sequences"))


def test_a_worker_that_would_compute_something_else_is_refused(local: Local, address: str) -> None:
    plan = replace(local.plan, weights={**local.plan.weights, "proposer": "another"})
    said = "^The worker on node .* would compute something else: weights.proposer is .* there, 'another' here"
    with pytest.raises(InputError, match=said) as error:
        list(outcomes(local.job, plan, local.keys, workers=1, address=address))
    assert "\n" not in str(error.value)
    assert not ray.is_initialized()


def test_a_worker_of_another_version_does_not_even_load_models(local: Local) -> None:
    plan = replace(local.plan, versions={**local.plan.versions, "car": "0"})
    worker = Worker(local.job, plan, None, os.getcwd(), "")
    assert worker.differences() == [f"versions.car is '{__version__}' there, '0' here"]
    assert "evaluator" not in vars(worker)


def test_what_is_missing_where_the_workers_are_is_said_as_here(local: Local, address: str, tmp_path: Path) -> None:
    shutil.copytree(local.job.data_root, tmp_path / "data")
    job = replace(local.job, data_root=tmp_path / "data")
    plan = Evaluator(job).plan
    shutil.rmtree(tmp_path / "data/labels")
    with pytest.raises(MissingError) as here:
        Evaluator(job)
    with pytest.raises(MissingError) as there:
        list(outcomes(job, plan, local.keys, workers=1, address=address))
    assert str(there.value) == str(here.value)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_plan_for_gpus_goes_to_them(local: Local, address: str) -> None:
    """The cluster's is none, as the worker that has it finds out."""
    with pytest.raises(InputError, match="Device 'cuda' is not available here"):
        list(outcomes(local.job, replace(local.plan, device="cuda"), local.keys, address=address))


def test_workers_that_fit_nowhere_are_refused(local: Local, address: str) -> None:
    with pytest.raises(InputError, match=r"No node has room for a worker, which needs 3 cores, one per thread"):
        list(outcomes(local.job, replace(local.plan, threads=3), local.keys, address=address))


def test_a_process_stays_in_its_cluster(local: Local, address: str) -> None:
    with muted():
        ray.init(address=address, log_to_driver=False, logging_level=logging.CRITICAL)
    try:
        with pytest.raises(InputError, match="in a Ray cluster already"):
            list(outcomes(local.job, local.plan, local.keys, address=address))
        given = outcomes(local.job, local.plan, local.keys, workers=1)
        assert next(given).record.key in local.keys
        given.close()
        assert ray.is_initialized()
        if PROC.is_dir():
            until(lambda: not pool())
    finally:
        ray.shutdown()


def test_a_certain_gpu_cannot_be_had(local: Local) -> None:
    with pytest.raises(InputError, match=r"'cuda:1' cannot be had; say `--device cuda`"):
        list(outcomes(replace(local.job, device="cuda:1"), replace(local.plan, device="cuda"), local.keys))


@pytest.mark.parametrize("where", ["127.0.0.1:1", "nowhere"])
def test_where_no_cluster_is_none_is_joined(local: Local, where: str) -> None:
    with pytest.raises(MissingError, match=f"^There is no joining a Ray cluster at '{where}': ") as error:
        list(outcomes(local.job, local.plan, local.keys, address=where))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("address", ["auto", "ray://elsewhere:10001"])
def test_ray_data_has_no_client(local: Local, monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "ray://elsewhere:10001")
    with pytest.raises(InputError, match=r"\('ray://elsewhere:10001'\); start on one of its nodes"):
        list(outcomes(local.job, local.plan, local.keys, address=address))


def test_ray_is_an_extra(local: Local, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray.data", None)
    with pytest.raises(MissingError, match=r"run: pip install 'car-segmentation\[scale\]'"):
        list(outcomes(local.job, local.plan, local.keys))


def test_nothing_to_do_starts_nothing(local: Local, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray, "init", None)
    assert list(outcomes(local.job, local.plan, [])) == []


@needs_proc
def test_a_run_that_was_interrupted_ends_in_the_local_report(local: Local, address: str, tmp_path: Path) -> None:
    """Ctrl-C reaches every process of the terminal; of those of a Ray that the run has started, none is left."""
    records = tmp_path / "ray/records.jsonl"
    options = ["--engine", "ray", "--workers", "2", "--threads", "1", "--out", records.parent]
    options += [part for key, value in SETTINGS.items() for part in ("--set", f"{key}={value}")]
    command = [sys.executable, "-m", "car.cli.main", "eval", "folder", "--data-root", local.job.data_root, *options]
    process = subprocess.Popen(
        command, stdout=-1, stderr=-1, text=True, start_new_session=True, env=os.environ | NO_NICENESS
    )
    until(lambda: process.poll() is not None or (records.is_file() and records.read_bytes().count(b"\n") > 1))
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=300)
    assert (process.returncode, out) == (130, ""), err
    assert err.splitlines()[-1].startswith("Interrupted.")
    assert "Traceback" not in err
    assert 1 < len(RunDirectory(records.parent)) < len(local.keys)
    until(lambda: not session(process.pid))

    run(local.job, records.parent, engine="ray", address=address)
    run(local.job, tmp_path / "local")
    for name in ("report.md", "report.json", "classes.csv"):
        assert (records.parent / name).read_bytes() == (tmp_path / "local" / name).read_bytes()
