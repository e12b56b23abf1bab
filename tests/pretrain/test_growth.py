"""A run can grow, be watched otherwise, and begin with old weights; what it is stays."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file

from fovea.command import UserError
from fovea.pretrain.encoders.folder import load_encoder
from fovea.pretrain.encoders.vit import Shape
from fovea.pretrain.hub import read_config
from fovea.pretrain.objectives.dino import DINO
from fovea.pretrain.training.checkpoint import newest
from fovea.pretrain.training.fit import begin_with, fit
from fovea.pretrain.training.validate import validate
from fovea.runs import read_run

SMALL = ["--model.encoder.patch", "42", "--model.expander", "16", "--data.batch_size", "8"]


def arguments(recordings: Path, run: Path, steps: int, *more: object) -> list[str]:
    where = ["--data.recordings", f"[{recordings}]", "--run", str(run)]
    return ["-c", "vicreg", *where, *SMALL, "--trainer.max_steps", str(steps), *map(str, more)]


@pytest.fixture(scope="module")
def finished(recordings: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two steps, which has ended."""
    run = tmp_path_factory.mktemp("finished") / "run"
    fit(arguments(recordings, run, 2))
    return run


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    """A copy of that run."""
    return Path(shutil.copytree(finished, tmp_path / "run"))


def weights(run: Path) -> dict[str, torch.Tensor]:
    return load_file(run / "encoder" / "model.safetensors")


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


@pytest.mark.slow
def test_a_finished_run_goes_on_to_a_new_length_and_remembers_what_was_asked(
    recordings: Path, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    before = weights(run)
    fit(arguments(recordings, run, 5, "--checkpoint_every", 2))
    said = capsys.readouterr().out
    assert f"{run}: trainer.max_steps was 2 and is 5 now" in said
    # A warm-up of 20 steps: the third of them, whatever the length, had not the last one held.
    assert "goes on with learning rate 0.00015, not 0.0001 (--keep_schedule true keeps" in said
    assert "going on from step-000000002.ckpt" in said
    record = read_run(run)
    assert (record.state, record.step, record.steps) == ("done", 5, 5)
    first, second = record.history
    assert (first["step"], first["changed"]) == (0, {})
    assert second["step"] == 2
    assert second["command"] == record.command
    assert second["changed"] == {"checkpoint_every": [100, 2], "trainer.max_steps": [2, 5]}
    assert yaml.safe_load((run / "config.yaml").read_text())["trainer"]["max_steps"] == 5
    assert not same(before, weights(run))
    fit(arguments(recordings, tmp_path / "straight", 5))  # in the warm-up no length matters
    assert same(weights(tmp_path / "straight"), weights(run))
    assert read_config(run / "encoder")["fovea"]["steps"] == 5
    assert newest(run / "checkpoints").name == "step-000000005.ckpt"
    fit(arguments(recordings, run, 5, "--checkpoint_every", 2))
    assert f"{run}: already done (5 steps)" in capsys.readouterr().out
    assert len(read_run(run).history) == 2


@pytest.mark.slow
def test_a_run_that_was_killed_while_it_grew_ends_as_one_that_was_not(
    recordings: Path, run: Path
) -> None:
    asked = arguments(recordings, run, 5, "--checkpoint_every", 1)
    fit(asked)
    whole = weights(run)
    newest(run / "checkpoints").unlink()  # as if it had been killed after the step before
    record = (run / "run.json").read_text().replace('"done"', '"running"')
    (run / "run.json").write_text(record)
    fit(asked)
    assert same(whole, weights(run))


@pytest.mark.slow
def test_the_schedule_is_kept_where_that_is_asked_for(
    recordings: Path, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    """However often the run grows, its rate is then that of the last step of the first length."""
    other = Path(shutil.copytree(run, tmp_path / "other"))
    kept = ("--keep_schedule", "true", "--trainer.log_every_n_steps", 1)
    watched = ("--trainer.callbacks+=LearningRateMonitor",)
    fit(arguments(recordings, run, 5, *kept, *watched))
    said = capsys.readouterr().out
    assert "its schedules stay those of 2 steps, and their last values hold after: it goes" in said
    for steps in (3, 5):
        fit(arguments(recordings, other, steps, *kept, *watched))
    assert same(weights(run), weights(other))
    lines = [line.split(",") for line in (run / "metrics.csv").read_text().splitlines()]
    rates = {float(value) for _, name, value in lines if name == "lr-AdamW/pg1"}
    assert rates == {1e-3 * 2 / 20}


@pytest.mark.slow
def test_other_intervals_alone_do_not_wake_a_finished_run(
    recordings: Path, run: Path, capsys: pytest.CaptureFixture
) -> None:
    fit(arguments(recordings, run, 2, "--trainer.log_every_n_steps", 1))
    assert "already done (2 steps)" in capsys.readouterr().out


REFUSED = {
    "less than is done": (1, [], r"trainer.max_steps 1: .* has done 2 steps already; give as many"),
    "another batch": (
        4,
        ["--data.batch_size", "4"],
        r"data.batch_size = 8, not 4: give another --run",
    ),
    "another objective": (4, ["--model", "BYOL"], "holds a run with model.class_path = "),
    "another setting": (4, ["--model.variance", "3"], r"variance = 25.0, not 3.0"),
    "other precision": (4, ["--trainer.precision", "bf16-mixed"], "trainer.precision = None, not"),
    "old weights": (4, ["--init_from", "x"], "init_from = None, not x"),
}


@pytest.mark.slow
@pytest.mark.parametrize("case", REFUSED)
def test_what_a_run_is_cannot_change(case: str, recordings: Path, run: Path) -> None:
    steps, more, message = REFUSED[case]
    before = (run / "config.yaml").read_text()
    with pytest.raises(UserError, match=message):
        fit(arguments(recordings, run, steps, *more))
    assert (run / "config.yaml").read_text() == before
    assert read_run(run).state == "done"


@pytest.mark.slow
def test_a_run_without_checkpoints_cannot_grow(recordings: Path, run: Path) -> None:
    shutil.rmtree(run / "checkpoints")
    with pytest.raises(UserError, match=r"holds no checkpoint to go on from, .*--init_from"):
        fit(arguments(recordings, run, 4))


@pytest.mark.slow
def test_a_new_run_begins_with_the_encoder_of_another(
    recordings: Path, finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    """With a rate of 0 its encoder is, in the end, still that of the other."""
    still = ("--init_from", finished, "--model.optimisation.lr", 0)
    fit(arguments(recordings, tmp_path / "mine", 1, *still))
    assert f" weights of {finished}; the rest of the model is new" in capsys.readouterr().out
    assert same(weights(finished), weights(tmp_path / "mine"))
    assert read_run(tmp_path / "mine").init_from == str(finished)
    assert read_config(tmp_path / "mine" / "encoder")["fovea"]["init_from"] == str(finished)
    assert f"| init from | {finished} |" in (tmp_path / "mine/encoder/README.md").read_text()


def test_a_teacher_begins_with_the_old_weights_too(finished: Path) -> None:
    old = load_encoder(finished)
    model = DINO(encoder=Shape(patch=42), local_crops=0, seed=5)
    begin_with(model, str(finished))
    assert same(old.state_dict(), model.encoder.state_dict())
    assert same(old.state_dict(), model.teacher.state_dict())


@pytest.mark.slow
def test_an_encoder_of_another_shape_is_refused(
    recordings: Path, finished: Path, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=r"init_from .*: weight .* there and .* in this encod"):
        fit(arguments(recordings, tmp_path / "mine", 1, "--init_from", finished,
                      "--model.encoder.patch", 28))  # fmt: skip
    assert not (tmp_path / "mine").exists()


@pytest.mark.slow
def test_a_checkpoint_of_another_run_is_gone_on_from(
    recordings: Path, run: Path, tmp_path: Path
) -> None:
    """It ends as the run that it comes from does."""
    given = tmp_path / "origin" / "checkpoints" / newest(run / "checkpoints").name
    shutil.copytree(run, tmp_path / "origin")
    fit(arguments(recordings, run, 4))
    fit(arguments(recordings, tmp_path / "mine", 4, "--ckpt_path", given))
    assert same(weights(run), weights(tmp_path / "mine"))
    with pytest.raises(
        UserError, match=r"a run with data.batch_size = 8, not 4: give the settings"
    ):
        fit(
            arguments(recordings, tmp_path / "new", 4, "--ckpt_path", given, "--data.batch_size", 4)
        )
    with open(given, "ab") as file:
        file.write(b"x")
    with pytest.raises(UserError, match=r"does not match .*\.sha256: take another checkpoint"):
        fit(arguments(recordings, tmp_path / "new", 4, "--ckpt_path", given))
    with pytest.raises(UserError, match=r"ckpt_path nowhere: there is no such file"):
        fit(arguments(recordings, tmp_path / "new", 4, "--ckpt_path", "nowhere"))


@pytest.mark.slow
def test_an_older_checkpoint_of_the_same_run_is_refused(recordings: Path, run: Path) -> None:
    older = newest(run / "checkpoints")
    fit(arguments(recordings, run, 3))
    with pytest.raises(UserError, match=r"goes on from its newest checkpoint, step-000000003.ckpt"):
        fit(arguments(recordings, run, 4, "--ckpt_path", older))


@pytest.mark.slow
@pytest.mark.parametrize("objective", ["vicreg", "dino"])
def test_validate_prints_the_held_out_numbers_of_a_run(
    objective: str, recordings: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    """DINO's depend on how far the run is."""
    run = tmp_path / "run"
    fit(["-c", objective, "--data.recordings", f"[{recordings}]", "--run", str(run),
         "--data.batch_size", "8", "--data.held_out", "2", "--trainer.max_steps", "3",
         "--trainer.val_check_interval", "3"])  # fmt: skip
    before = sorted(path for path in run.rglob("*"))
    capsys.readouterr()
    validate(["--run", str(run)])
    head, *lines = capsys.readouterr().out.splitlines()
    assert head.endswith("step-000000003.ckpt, step 3")
    printed = {name: float(value) for name, value in map(str.split, lines)}
    rows = [line.split(",") for line in (run / "metrics.csv").read_text().splitlines()]
    held_out = {name: float(value) for _, name, value in rows if name.startswith("held_out/")}
    assert printed == pytest.approx(held_out, rel=1e-4)
    assert sorted(path for path in run.rglob("*")) == before


def test_validate_needs_a_run_and_a_checkpoint(run: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds no run: train one with fovea pretrain fit"):
        validate(["--run", str(tmp_path / "nowhere")])
    shutil.rmtree(run / "checkpoints")
    with pytest.raises(UserError, match="holds no checkpoint to validate"):
        validate(["--run", str(run)])
