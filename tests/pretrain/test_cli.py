"""What the command line takes: configs and classes by name, and what Lightning's users expect."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import yaml
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from fovea.command import UserError
from fovea.configs import locate, shipped
from fovea.pretrain.__main__ import run as command
from fovea.pretrain.training.checkpoint import newest
from fovea.pretrain.training.fit import fit
from fovea.runs import read_run

ROOT = Path(__file__).parents[2]
SMALL = ["--model.encoder.patch", "42", "--model.expander", "16", "--data.batch_size", "8"]


def arguments(recordings: Path, run: Path, *more: object) -> list[str]:
    where = ["--data.recordings", f"[{recordings}]", "--run", str(run)]
    return ["-c", "vicreg", *where, *SMALL, "--trainer.max_steps", "2", *map(str, more)]


def rows(run: Path) -> list[list[str]]:
    return [line.split(",") for line in (run / "metrics.csv").read_text().splitlines()[1:]]


@pytest.mark.slow
def test_a_logger_of_the_user_logs_beside_the_runs_own_and_goes_on(
    recordings: Path, tmp_path: Path
) -> None:
    asked = ("--trainer.logger", "TensorBoardLogger", "--trainer.log_every_n_steps", 1)
    for steps in (2, 4):
        fit(arguments(recordings, tmp_path, *asked, "--trainer.max_steps", steps))
    assert read_run(tmp_path).loggers == ["TensorBoardLogger"]
    assert [int(step) for step, name, _ in rows(tmp_path) if name == "loss"] == [0, 1, 2, 3]
    seen = []
    for folder in sorted((tmp_path / "lightning_logs").iterdir()):
        events = EventAccumulator(str(folder)).Reload()
        seen += [event.step for event in events.Scalars("loss")]
    assert seen == [0, 1, 2, 3]


@pytest.mark.slow
def test_several_loggers_and_a_save_dir_of_the_users(recordings: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    fit(arguments(recordings, tmp_path / "mine", "--trainer.log_every_n_steps", 1,
                  "--trainer.logger+=TensorBoardLogger", "--trainer.logger+=CSVLogger",
                  f"--trainer.logger.save_dir={elsewhere}"))  # fmt: skip
    assert read_run(tmp_path / "mine").loggers == ["TensorBoardLogger", "CSVLogger"]
    assert (tmp_path / "mine" / "lightning_logs").exists()
    assert list(elsewhere.rglob("metrics.csv"))


@pytest.mark.slow
@pytest.mark.parametrize("asked", ["true", "false", "null"])
def test_without_a_logger_of_the_users_the_run_has_its_own(
    asked: str, recordings: Path, tmp_path: Path
) -> None:
    fit(arguments(recordings, tmp_path, "--trainer.logger", asked,
                  "--trainer.log_every_n_steps", 1))  # fmt: skip
    assert read_run(tmp_path).loggers == []
    assert "loss" in {name for _, name, _ in rows(tmp_path)}


@pytest.mark.evidence
@pytest.mark.slow
def test_what_a_profiler_found_is_printed(recordings: Path, tmp_path: Path) -> None:
    words = arguments(recordings, tmp_path, "--trainer.profiler", "simple")
    call = [sys.executable, "-m", "fovea", "pretrain", "fit", *words]
    done = subprocess.run(call, capture_output=True, text=True, check=True)
    assert "VICReg.optimizer_step" in done.stdout + done.stderr


@pytest.mark.slow
def test_callbacks_and_plugins_of_the_user_are_beside_the_runs_own(
    recordings: Path, tmp_path: Path
) -> None:
    fit(arguments(recordings, tmp_path, "--trainer.log_every_n_steps", 1, "--checkpoint_every", 1,
                  "--trainer.callbacks+=LearningRateMonitor",
                  "--trainer.plugins+=LightningEnvironment"))  # fmt: skip
    names = {name for _, name, _ in rows(tmp_path)}
    assert {"lr-AdamW/pg1", "loss", "samples_per_second"} <= names
    assert newest(tmp_path / "checkpoints").name == "step-000000002.ckpt"


@pytest.mark.slow
def test_a_callback_of_the_user_takes_the_place_of_the_runs_own_of_that_class(
    recordings: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    with pytest.raises(SystemExit):
        fit(arguments(recordings, tmp_path, "--trainer.max_steps", 9,
                      "--trainer.callbacks+=CollapseMonitor", "--trainer.callbacks.least=100",
                      "--trainer.callbacks.every=1"))  # fmt: skip
    assert "collapsed at step 2 " in capsys.readouterr().err


@pytest.mark.slow
def test_another_way_to_write_checkpoints_is_refused(recordings: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="TorchCheckpointIO would write checkpoints that the run c"):
        fit(arguments(recordings, tmp_path / "mine",
                      "--trainer.plugins+=lightning.fabric.plugins.TorchCheckpointIO"))  # fmt: skip
    assert not (tmp_path / "mine").exists()


@pytest.mark.parametrize("name", ["optimizer", "lr_scheduler"])
def test_a_schedule_cannot_be_replaced_behind_the_objectives_back(
    name: str, recordings: Path, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=f"unknown setting '{name}'"):
        fit(arguments(recordings, tmp_path / "mine", f"--{name}", "Adam"))


def test_a_shipped_config_is_found_by_name_from_any_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        fit(["-c", "vicreg", "--print_config"])
    assert ended.value.code in (0, None)
    printed = yaml.safe_load(capsys.readouterr().out)
    assert printed["model"]["init_args"]["expander"] == 1024
    assert locate("vicreg", "fovea.pretrain").read_text().startswith("# VICReg")
    (tmp_path / "mine.yaml").write_text("data: {recordings: [mine]}\n")
    with pytest.raises(SystemExit):  # as Lightning: what comes later wins
        fit(["--print_config", "-c", "vicreg", "-c", "mine.yaml", "--data.held_out", "3"])
    printed = yaml.safe_load(capsys.readouterr().out)
    assert printed["data"]["recordings"] == ["mine"]
    assert printed["data"]["held_out"] == 3
    assert printed["model"]["init_args"]["expander"] == 1024


def test_a_wrong_name_of_a_config_lists_the_near_ones() -> None:
    with pytest.raises(UserError, match=r"no file vicregg, .*: did you mean 'vicreg' or 'tov_vicr"):
        fit(["-c", "vicregg"])


@pytest.mark.parametrize("room", ["pretrain", "agents"])
def test_configs_are_listed_each_with_a_line(room: str, capsys: pytest.CaptureFixture) -> None:
    listed = subprocess.run(
        [sys.executable, "-m", "fovea", room, "configs"], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    known = shipped(f"fovea.{room}")
    assert [line.split()[0] for line in listed] == list(known)
    for line, path in zip(listed, known.values(), strict=True):
        name, about = line.split(maxsplit=1)
        assert path.read_text().startswith(f"# {about}\n"), name
        assert about.endswith((".", "?")), name


@pytest.mark.evidence
@pytest.mark.slow
def test_a_class_is_found_by_its_short_name(recordings: Path, tmp_path: Path) -> None:
    """In a process that has imported no objective before."""
    asked = ["--model", "VICReg", "--model.expander", "8", "--data.recordings", "[x]"]
    printed = subprocess.run(
        [sys.executable, "-m", "fovea", "pretrain", "fit", *asked, "--print_config"],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    model = yaml.safe_load(printed)["model"]
    assert model["class_path"] == "fovea.pretrain.VICReg"
    assert model["init_args"]["expander"] == 8
    path = tmp_path / "short.yaml"
    path.write_text("model: {class_path: BYOL, init_args: {projector: 16}}\n")
    run = tmp_path / "mine"
    fit(["-c", str(path), "--data.recordings", f"[{recordings}]", "--run", str(run),
         "--model.encoder.patch", "42", "--data.batch_size", "4",
         "--trainer.max_steps", "1"])  # fmt: skip
    held = yaml.safe_load((run / "config.yaml").read_text())
    assert held["model"]["init_args"]["projector"] == 16


@pytest.mark.parametrize(("asked", "message"), [
    (["--model", "VICRegg"], r"unknown class 'VICRegg': did you mean 'VICReg'"),
    (["--model", "pretrain.vicreg.VICReg"], r"unknown class 'pretrain.vicreg.VICReg': did you"),
    (["--model", "fovea.pretrain.VICRegg"], r"fovea.pretrain has no class 'VICRegg': did you mean"),
    (["--model", "pathlib.Pth"], r"pathlib has no class 'Pth': did you mean 'Path'"),
    (["--model", "my_gaps.Gaps"], r"no module 'my_gaps' in this folder or on PYTHONPATH; run the"),
    (["--model.expandr", "3"], r"unknown setting 'expandr' of .*VICReg: did you mean 'expander'"),
    (["--data.expander", "3"], r"setting 'expander' does not belong there: --print_config"),
    (["--model.encoder.ptch", "3"], r"unknown setting 'ptch': did you mean 'patch'"),
    (["--model.encoder.siz", "vit_tiny"], r"unknown setting 'siz': did you mean 'size'"),
    (["--model.expander", "many"], r"setting expander: a whole number is expected, and not 'many'"),
    (["--data.memory", "many"], r"setting data.memory: a number is expected, and not 'many'"),
    (["--trainer.logger", "TensorBordLogger"], r"did you mean 'TensorBoardLogger'"),
    (["--trainer.callbacks+=LearningRateMonitr"], r"did you mean 'LearningRateMonitor'"),
    (["--trainer.max_epochs", "-5"], "max_epochs"),
    (["nonsense"], r"unknown setting 'nonsense'"),
])  # fmt: skip
def test_a_mistake_is_named_with_what_is_near(
    asked: list[str], message: str, recordings: Path, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=message) as refused:
        fit(arguments(recordings, tmp_path / "mine", *asked))
    assert "\n" not in str(refused.value)


def test_what_is_refused_before_its_first_step_can_be_given_again_with_other_settings(
    recordings: Path, tmp_path: Path
) -> None:
    run = tmp_path / "mine"
    with pytest.raises(UserError, match="no window of 4 screens at offsets"):
        fit(["-c", "temporal_order", "--data.recordings", f"[{recordings}]", "--run", str(run),
             "--model.init_args.gaps", "[9000]", "--trainer.max_steps", "1"])  # fmt: skip
    assert not run.exists()


MINE = """
from fovea.pretrain import VICReg

class Mine(VICReg):
    \"""VICReg once more.\"""
"""


@pytest.mark.slow
def test_a_class_of_the_current_folder_is_found_by_every_command(
    recordings: Path, tmp_path: Path
) -> None:
    """Wherever its config lies: a config is read with its own folder as the current one."""
    (tmp_path / "my_objective.py").write_text(MINE)
    (tmp_path / "configs").mkdir()
    text = locate("vicreg", "fovea.pretrain").read_text()
    text = text.replace("fovea.pretrain.VICReg", "my_objective.Mine")
    (tmp_path / "configs" / "mine.yaml").write_text(text)
    fovea = [sys.executable, "-P", "-c", "from fovea.__main__ import main; main()", "pretrain"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    words = arguments(recordings, tmp_path / "run")
    words[1] = "configs/mine.yaml"
    for command_of in (["fit", *words], ["validate", "--run", "run"]):
        subprocess.run([*fovea, *command_of], cwd=tmp_path, env=environment, check=True)


def test_a_module_that_a_class_of_ones_own_lacks_is_named(
    recordings: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "needs_another.py").write_text("import no_such_module\n" + MINE)
    monkeypatch.syspath_prepend(tmp_path)
    asked = ["--model", "needs_another.Mine"]
    with pytest.raises(UserError, match=r"there is no module 'no_such_module': install it, or"):
        fit(arguments(recordings, tmp_path / "mine", *asked))


@pytest.mark.skipif(bool(find_spec("wandb")), reason="wandb is installed")
def test_a_logger_that_is_not_installed_is_named(recordings: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"Requirement 'wandb.*not met"):
        fit(arguments(recordings, tmp_path / "mine", "--trainer.logger", "WandbLogger"))


def test_the_help_names_every_objective(capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit):
        command(["fit", "--help"])
    said = capsys.readouterr().out
    for path in shipped("fovea.pretrain").values():
        name = yaml.safe_load(path.read_text())["model"]["class_path"].rpartition(".")[2]
        assert name in said
    assert said.startswith("usage: fovea pretrain fit ")


def test_the_help_of_an_objective_says_its_settings(capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit):
        command(["fit", "--model.help", "VICReg"])
    assert "--model.expander" in capsys.readouterr().out
