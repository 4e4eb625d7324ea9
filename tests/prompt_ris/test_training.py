"""Training: a stopped run is the same run, a shared one too, and the backbones stay what they were."""

import csv
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch

from car.data import ReferringTruth
from car.errors import CarError, CheckpointError, InputError
from car.prompt_ris.checkpoint import Backbones, read
from car.prompt_ris.curves import Curve
from car.prompt_ris.model import PromptRIS
from car.prompt_ris.pictures import ScenePictures
from car.prompt_ris.training import BEST, EPOCHS, STATE, STEPS, Told, Trainer
from car.prompt_ris.training_settings import TrainingSettings
from car.vlm.fingerprint import weights_hash
from tests.prompt_ris.models import needs_sam, small_model

pytestmark = pytest.mark.usefixtures("one_thread")
CPU = torch.device("cpu")
PICTURES = ScenePictures(seed=0, count=10, sides=(48, 64), objects=((2, 3),), shares=(1.0,))
VALIDATION = ScenePictures(seed=0, count=2, split="val", sides=(48, 64), objects=((1, 2),), shares=(1.0,))
BOTH = {"coarse_epochs": 1, "joint_epochs": 1, "images": 4, "rate": 1e-3}


class Killed(Exception):
    pass


def trainer_of(out: Path, model: PromptRIS | None = None, **settings: float) -> Trainer:
    out.mkdir(exist_ok=True)
    model = model or small_model()
    sam = model.sam
    backbones = Backbones(
        "custom", weights_hash(model.clip.clip), sam and "custom", None if sam is None else weights_hash(sam)
    )
    return Trainer(model, backbones, PICTURES, VALIDATION, out, TrainingSettings(**{**BOTH, **settings}), device=CPU)


def losses(out: Path) -> list[dict[str, float]]:
    return [{k: v for k, v in row.items() if k != "seconds"} for row in Curve(out / STEPS).rows()]


def weights(trainer: Trainer) -> dict[str, torch.Tensor]:
    return {name: p.detach().clone() for name, p in trainer.model.learned().items()}


def same(a: Mapping[str, torch.Tensor], b: Mapping[str, torch.Tensor], tolerance: float = 0) -> bool:
    return a.keys() == b.keys() and all(torch.allclose(a[k], b[k], rtol=tolerance, atol=tolerance) for k in a)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, torch.Tensor], list[Told]]:
    """A run of both stages, three steps each."""
    torch.set_num_threads(1)
    out, told = tmp_path_factory.mktemp("whole"), []
    trainer = trainer_of(out)
    trainer.train(told.append)
    return out, weights(trainer), told


@needs_sam
def test_what_a_run_writes_and_tells(whole: tuple[Path, dict[str, torch.Tensor], list[Told]]) -> None:
    out, _, told = whole
    assert [(t.step, t.epoch, t.stage) for t in told] == [
        (i + 1, i // 3 + 1, ("coarse", "joint")[i // 3]) for i in range(6)
    ]
    assert [t.scores is not None for t in told] == [False, False, True] * 2
    assert set(told[0].figures) == {"loss", "coarse", "coarse_contrast", "seconds"}
    assert set(told[3].figures) == {"loss", "coarse", "coarse_contrast", "final", "final_contrast", "seconds"}
    assert set(told[5].scores) == {"oIoU", "mIoU", "P@0.5", "P@0.7", "P@0.9", "coarse oIoU", "coarse mIoU"}
    for name, rows in ((STEPS, 6), (EPOCHS, 2)):
        with (out / name).open(newline="") as file:
            table = list(csv.DictReader(file))
        assert [int(row["step"]) for row in table] == ([1, 2, 3, 4, 5, 6] if rows == 6 else [3, 6])
    assert read(out / BEST)[1].clip_sha256


@needs_sam
@pytest.mark.parametrize("stopped", [1, 3, 5])
def test_a_stopped_run_goes_on_as_if_it_had_not_been(
    stopped: int,
    whole: tuple[Path, dict[str, torch.Tensor], list[Told]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("car.prompt_ris.training.SAVED", 0.0)

    def kill(told: Told) -> None:
        # After the state of this step is on disk; the curves already have the next.
        if told.step == stopped + 1:
            raise Killed

    first = trainer_of(tmp_path / "run")
    monkeypatch.setattr(first, "save", lambda save=first.save: save() if first.step <= stopped else None)
    with pytest.raises(Killed):
        first.train(kill)
    second = trainer_of(tmp_path / "run")
    assert second.step == stopped
    second.train()
    assert same(weights(second), whole[1])
    assert losses(tmp_path / "run") == losses(whole[0])
    for name in (EPOCHS, BEST):
        assert (tmp_path / "run" / name).read_bytes() == (whole[0] / name).read_bytes()


@needs_sam
@pytest.mark.parametrize("at_once", [1, 2])
def test_accumulated_gradients_are_those_of_the_whole_step(
    at_once: int, whole: tuple[Path, dict[str, torch.Tensor], list[Told]], tmp_path: Path
) -> None:
    trainer_of(tmp_path, at_once=at_once).train()
    for row, expected in zip(losses(tmp_path), losses(whole[0]), strict=True):
        assert row == pytest.approx(expected, rel=2e-3, abs=2e-5)


@needs_sam
def test_two_processes_train_as_one(whole: tuple[Path, dict[str, torch.Tensor], list[Told]], tmp_path: Path) -> None:
    """Slow (torch starts twice): gradients are accumulated, and shared by DistributedDataParallel, in both stages."""
    script = (
        "import sys, torch\nfrom pathlib import Path\nfrom car.prompt_ris.processes import Processes\n"
        "from tests.prompt_ris.test_training import trainer_of\ntorch.set_num_threads(1)\n"
        "with Processes('cpu', 'fp32') as here:\n    trainer_of(Path(sys.argv[1]), at_once=1).train()\n"
    )
    root = Path(__file__).parents[2]
    env = {**os.environ, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(20000 + os.getpid() % 20000)}
    env |= {"WORLD_SIZE": "2", "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"}
    running = [
        subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], env={**env, "RANK": r, "LOCAL_RANK": r})
        for r in ("0", "1")
    ]
    assert [process.wait(timeout=300) for process in running] == [0, 0]
    for row, expected in zip(losses(tmp_path), losses(whole[0]), strict=True):
        assert row == pytest.approx(expected, rel=2e-3, abs=2e-5)
    alone, shared = (torch.load(out / STATE, weights_only=True)["learned"] for out in (whole[0], tmp_path))
    assert same(shared, alone, tolerance=2e-3)
    epochs = [Curve(out / EPOCHS).rows() for out in (tmp_path, whole[0])]
    for row, expected in zip(*epochs, strict=True):
        assert row == pytest.approx(expected, abs=0.02)


def test_it_learns(tmp_path: Path) -> None:
    """On ten pictures seen again and again, the coarse masks come to fit."""
    trainer = trainer_of(tmp_path, small_model(sam_prompts=()), coarse_epochs=20, joint_epochs=0, images=5, rate=3e-3)
    trainer.train()
    found = [row["coarse"] for row in losses(tmp_path)]
    assert sum(found[-4:]) < 0.9 * sum(found[:4])


def test_a_loss_that_is_not_finite_ends_it(tmp_path: Path) -> None:
    trainer = trainer_of(tmp_path, small_model(sam_prompts=()), joint_epochs=0)
    trainer.model.decoder.places.weight.data.fill_(float("nan"))
    with pytest.raises(CarError, match=r"The loss of step 1 is nan; a lower `rate` may help"):
        trainer.train()
    assert not (tmp_path / STATE).exists()


@needs_sam
def test_a_changed_backbone_does_not_pass_unnoticed(tmp_path: Path) -> None:
    trainer = trainer_of(tmp_path)
    trainer.check_frozen()
    trainer.model.sam.mask_decoder.iou_token.weight.data[0, 0] += 1e-3
    with pytest.raises(RuntimeError, match="weights of SAM have changed"):
        trainer.check_frozen()


def test_only_what_is_learned_is_in_the_optimizer(tmp_path: Path) -> None:
    trainer = trainer_of(tmp_path, small_model(sam_prompts=()), joint_epochs=0)
    (group,) = trainer.optimizer.param_groups
    assert {id(p) for p in group["params"]} == {id(p) for p in trainer.model.learned().values()}
    assert all(p.requires_grad for p in group["params"])


def test_the_rate_falls_by_a_power(tmp_path: Path) -> None:
    trainer = trainer_of(tmp_path, small_model(sam_prompts=()), coarse_epochs=4, joint_epochs=0, rate=1e-4)
    assert trainer.steps == 12
    assert trainer.rate(0) == 1e-4
    assert trainer.rate(6) == pytest.approx(1e-4 * 0.5**0.9)
    assert 0 < trainer.rate(11) < 1.1e-5


def test_patience_ends_the_last_stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scores = iter([0.2, 0.4, 0.3, 0.4, 0.9])
    monkeypatch.setattr("car.prompt_ris.training.validate", lambda *a, **k: {"oIoU": next(scores)})
    settings = {"coarse_epochs": 9, "joint_epochs": 0, "images": 10, "patience": 2}
    trainer = trainer_of(tmp_path, small_model(sam_prompts=()), **settings)
    trainer.train()
    assert (trainer.step, trainer.best, trainer.ended) == (4, 0.4, True)
    again = trainer_of(tmp_path, small_model(sam_prompts=()), **settings)
    again.train(lambda told: pytest.fail("it had ended"))


def test_another_run_is_not_gone_on_with(tmp_path: Path) -> None:
    def run(**settings: float) -> Trainer:
        return trainer_of(tmp_path, small_model(sam_prompts=()), joint_epochs=0, **settings)

    run().train()
    with pytest.raises(InputError, match=r"holds a run with another `rate` \(0.001, not 0.002\)"):
        run(rate=2e-3)
    run(at_once=2)
    (tmp_path / STATE).write_bytes(b"no state")
    with pytest.raises(CheckpointError, match="cannot be read"):
        run()


def test_what_cannot_be_shared_out_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="4 images to be shared out evenly among 1 process"):
        trainer_of(tmp_path, small_model(sam_prompts=()), joint_epochs=0, at_once=3)
    with pytest.raises(InputError, match="Stage 2 asks SAM"):
        trainer_of(tmp_path, small_model(sam_prompts=()))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"images": 0}, "`images` to be a whole number from 1, but got 0"),
        ({"drop": 1.0}, r"`drop` to be in \[0, 1\), but got 1.0"),
        ({"rate": float("nan")}, "`rate` to be a number from 0, but got nan"),
        ({"coarse_epochs": 0, "joint_epochs": 0}, "at least one epoch"),
    ],
)
def test_settings_out_of_range(wrong: dict[str, float], message: str) -> None:
    with pytest.raises(InputError, match=message):
        TrainingSettings(**wrong)


class Damaged:
    """Pictures none of which can be read."""

    def __len__(self) -> int:
        return 40

    def read(self, index: int) -> ReferringTruth:
        raise InputError(f"picture {index} is damaged")


@pytest.mark.parametrize("workers", [0, 1])
def test_nothing_to_train_on_is_one_line(workers: int, tmp_path: Path) -> None:
    model = small_model(sam_prompts=())
    settings = TrainingSettings(coarse_epochs=1, joint_epochs=0)
    trainer = Trainer(
        model,
        Backbones("custom", weights_hash(model.clip.clip)),
        Damaged(),
        VALIDATION,
        tmp_path,
        settings,
        device=CPU,
        workers=workers,
    )
    with pytest.raises(
        InputError, match=r"^32 training pictures in a row are damaged; the last: picture \d+ is damaged$"
    ):
        trainer.train()
