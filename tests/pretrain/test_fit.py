"""`fovea pretrain fit`: real runs on real recordings, killed, resumed, refused, stopped."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import yaml
from jsonargparse import ArgumentParser
from safetensors.torch import load_file

from fovea.command import UserError
from fovea.pretrain.encoders.folder import load_encoder
from fovea.pretrain.training.checkpoint import newest
from fovea.pretrain.training.fit import fit
from fovea.pretrain.training.growth import changes
from fovea.runs import read_run

ROOT = Path(__file__).parents[2]
CONFIGS = sorted((ROOT / "pretrain" / "configs").glob("*.yaml"))
TINY = ["--model.init_args.encoder.patch", "42", "--model.init_args.expander", "16",
        "--data.batch_size", "8"]  # fmt: skip


def arguments(config: str, recordings: Path, run: Path, *more: str) -> list[str]:
    path = ROOT / "pretrain" / "configs" / f"{config}.yaml"
    return [
        "-c",
        str(path),
        "--data.recordings",
        f"[{recordings}]",
        "--run",
        str(run),
        *TINY,
        *more,
    ]


def weights(run: Path) -> dict[str, torch.Tensor]:
    return load_file(run / "encoder" / "model.safetensors")


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


def rows(run: Path) -> dict[tuple[str, str], str]:
    """metrics.csv as its readers take it: the last value of a (step, name) counts."""
    lines = (run / "metrics.csv").read_text().splitlines()[1:]
    cells = [line.split(",") for line in lines]
    return {(step, name): value for step, name, value in cells if not name.endswith("_per_second")}


@pytest.mark.slow
@pytest.mark.parametrize(
    "config",
    [
        # The paper's encoder takes a minute of ten for its two steps.
        pytest.param(
            path,
            marks=pytest.mark.evidence if path.stem == "tov_vicreg_paper" else (),
            id=path.stem,
        )
        for path in CONFIGS
    ],
)
def test_every_config_trains_two_steps_and_exports(
    config: Path, recordings: Path, tmp_path: Path
) -> None:
    run = tmp_path / config.stem
    fit(["-c", str(config), "--data.recordings", f"[{recordings}]", "--run", str(run),
         "--data.batch_size", "4", "--trainer.max_steps", "2"])  # fmt: skip
    record = read_run(run)
    assert (record.state, record.step) == ("done", 2)
    assert set(record.data) == {"breakout", "pong"}
    shape = yaml.safe_load(config.read_text())["model"]["init_args"]["encoder"]
    assert load_encoder(run).stack == shape["stack"]
    assert len(config.read_text().splitlines()) < 40


@pytest.mark.slow
def test_what_was_learned_is_measured_on_held_out_episodes(
    recordings: Path, tmp_path: Path
) -> None:
    """In eval mode, on the validation episodes, without a trace in what is trained."""
    length = ("--trainer.max_steps", "4")
    fit(arguments("tov_vicreg", recordings, tmp_path / "often", *length,
                  "--trainer.val_check_interval", "2", "--data.held_out", "3"))  # fmt: skip
    fit(arguments("tov_vicreg", recordings, tmp_path / "once", *length))
    said = {name: step for step, name in rows(tmp_path / "often") if name.startswith("held_out/")}
    assert {"held_out/loss/order", "held_out/loss/variance", "held_out/order_accuracy"} <= set(said)
    assert same(weights(tmp_path / "often"), weights(tmp_path / "once"))


@pytest.mark.slow
def test_a_killed_run_ends_as_the_run_that_was_never_killed(
    recordings: Path, tmp_path: Path
) -> None:
    """SIGKILL in the middle of a pass over the data, between two checkpoints."""
    length = ("--trainer.max_steps", "24", "--checkpoint_every", "5")
    fit(arguments("tov_vicreg", recordings, tmp_path / "whole", *length))
    command = [sys.executable, "-m", "fovea", "pretrain", "fit"]
    command += arguments("tov_vicreg", recordings, tmp_path / "killed", *length)
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL)
    while process.poll() is None and not newest(tmp_path / "killed" / "checkpoints"):
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert not (tmp_path / "killed" / "encoder").exists()
    fit(arguments("tov_vicreg", recordings, tmp_path / "killed", *length))
    assert same(weights(tmp_path / "whole"), weights(tmp_path / "killed"))
    whole, killed = rows(tmp_path / "whole"), rows(tmp_path / "killed")
    assert whole == killed


@pytest.mark.slow
def test_a_damaged_checkpoint_falls_back_to_the_one_before(
    recordings: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    length = ("--trainer.max_steps", "6", "--checkpoint_every", "2")
    run = tmp_path / "mine"
    fit(arguments("vicreg", recordings, run, *length))
    first = weights(run)
    os.truncate(newest(run / "checkpoints"), 1000)
    record = (run / "run.json").read_text().replace('"done"', '"running"')
    (run / "run.json").write_text(record)
    fit(arguments("vicreg", recordings, run, *length))
    assert "going on from step-000000004.ckpt" in capsys.readouterr().out
    assert same(first, weights(run))


@pytest.mark.slow
def test_a_finished_run_says_so_and_is_left_alone(
    recordings: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    for _ in range(2):
        fit(arguments("vicreg", recordings, tmp_path, "--trainer.max_steps", "2"))
    assert f"{tmp_path}: already done (2 steps)" in capsys.readouterr().out


@pytest.mark.slow
def test_an_interrupt_is_one_and_the_run_goes_on(
    recordings: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_, **__) -> None:
        raise KeyboardInterrupt

    settings = arguments("vicreg", recordings, tmp_path, "--trainer.max_steps", "2")
    handler = signal.getsignal(signal.SIGINT)  # Lightning turns it off for the shutdown
    with monkeypatch.context() as patch:
        patch.setattr("torch.optim.AdamW.step", interrupted)
        with pytest.raises(KeyboardInterrupt):
            fit(settings)
    signal.signal(signal.SIGINT, handler)
    assert read_run(tmp_path).reason == "KeyboardInterrupt"
    fit(settings)
    assert read_run(tmp_path).state == "done"


@pytest.mark.slow
def test_other_settings_in_the_same_folder_are_refused(recordings: Path, tmp_path: Path) -> None:
    fit(arguments("vicreg", recordings, tmp_path, "--trainer.max_steps", "2"))
    with pytest.raises(UserError, match=r"holds a run with seed_everything = 0, not 1: give anoth"):
        fit(arguments("vicreg", recordings, tmp_path, "--trainer.max_steps", "3",
                      "--seed_everything", "1"))  # fmt: skip


def test_a_run_of_another_kind_is_refused_by_what_differs(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("stacks: 4\n")
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--steps", type=int)
    with pytest.raises(UserError, match=r"holds a run with stacks = 4, not None"):
        changes(tmp_path, "steps: 1", parser)


def test_the_monitor_stops_a_run_that_diverges_and_keeps_the_last_good_checkpoint(
    recordings: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    blown_up = ("--model.init_args.optimisation.lr", "1e18", "--checkpoint_every", "1",
                "--model.init_args.optimisation.warmup", "1")  # fmt: skip
    with pytest.raises(SystemExit) as stopped:
        fit(arguments("vicreg", recordings, tmp_path, *blown_up, "--trainer.max_steps", "60"))
    assert stopped.value.code == 1
    assert "not finite" in capsys.readouterr().err
    record = read_run(tmp_path)
    assert record.state == "failed"
    assert " step " in record.reason
    assert not (tmp_path / "encoder").exists()
    checkpoint = newest(tmp_path / "checkpoints")
    if checkpoint:
        state = torch.load(checkpoint, weights_only=True)["state_dict"]
        assert all(torch.isfinite(weight).all() for weight in state.values())


@pytest.mark.slow
def test_the_monitor_stops_a_run_that_collapses(
    recordings: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    """Nothing holds the features apart, and the decay pulls all weights to zero."""
    alone = ("--model.init_args.variance", "0", "--model.init_args.covariance", "0",
             "--model.init_args.optimisation.lr", "0.01",
             "--model.init_args.optimisation.weight_decay", "30")  # fmt: skip
    with pytest.raises(SystemExit):
        fit(arguments("vicreg", recordings, tmp_path, *alone, "--trainer.max_steps", "300"))
    assert "collapsed at step" in capsys.readouterr().err
    assert "collapsed at step" in read_run(tmp_path).reason


MISTAKES = {
    "an unknown setting": (
        ["--model.init_args.expandr", "3"],
        "unknown setting 'expandr' of fovea.pretrain.VICReg: did you mean 'expander'",
    ),
    "an unknown trainer setting": (["--trainer.max_stps", "3"], "max_stps"),
    "a wrong type": (["--data.batch_size", "many"], "data.batch_size"),
    "a wrong patch": (["--model.init_args.encoder.patch", "8"], "crop: 80"),
    "an unknown augmentation": (
        ["--model.init_args.augment_first", "[{name: shft}]"],
        "unknown augmentation 'shft': did you mean 'shift'",
    ),
    "no recordings": (["--data.recordings", "[nowhere]"], "no recordings in nowhere"),
    "an unknown class": (["--model", "fovea.pretrain.objectives.vicreg.VICRegg"], "VICRegg"),
    "no config": (["-c", "nowhere.yaml"], "nowhere.yaml"),
}


@pytest.mark.slow
@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_gets_one_line_and_leaves_nothing_behind(
    mistake: str, recordings: Path, tmp_path: Path
) -> None:
    more, message = MISTAKES[mistake]
    with pytest.raises(UserError) as refused:
        fit(arguments("vicreg", recordings, tmp_path / "mine", *more))
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)
    assert not (tmp_path / "mine").exists()


def test_a_run_needs_a_folder(recordings: Path) -> None:
    with pytest.raises(UserError, match="no run folder: say where to with --run"):
        fit(["-c", str(CONFIGS[-1]), "--data.recordings", f"[{recordings}]"])


@pytest.mark.evidence
@pytest.mark.slow
def test_a_full_disk_keeps_what_was_whole(recordings: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "fovea", "pretrain", "fit"]
    command += arguments("vicreg", recordings, tmp_path / "mine", "--trainer.max_steps", "4",
                         "--checkpoint_every", "2")  # fmt: skip

    def small_files() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, resource.RLIM_INFINITY))

    full = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, preexec_fn=small_files, check=False
    )
    assert full.returncode == 1
    assert "the disk is full" in full.stderr.splitlines()[-1]
    assert not list((tmp_path / "mine" / "checkpoints").iterdir())
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert load_encoder(tmp_path / "mine").dim == 96
