"""What tests of faults share: runs that take a second."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from kinds_of_writing import CONTINUAL, STUDY
from machine import Machine

import report_samples as samples
from fovea.atari.__main__ import run as atari
from fovea.files import write_text
from fovea.pretrain.encoders.folder import export_encoder
from fovea.pretrain.encoders.vit import Shape, build
from fovea.pretrain.training.fit import fit as pretrain
from fovea.runs import read_run
from fovea.schema import RunRecord

Fit = Callable[..., RunRecord]


@pytest.fixture(scope="session")
def vicreg() -> Fit:
    """Pretrain with VICReg on recordings, into a run folder; its record."""

    def run(recordings: object, folder: Path, *more: object) -> RunRecord:
        asked = ["-c", "vicreg", "--run", folder, "--data.recordings", f"[{recordings}]",
                 "--model.init_args.encoder.patch", 42, "--model.init_args.expander", 16,
                 "--data.batch_size", 8, "--trainer.max_steps", 4, *more]  # fmt: skip
        pretrain([*map(str, asked)])
        return read_run(folder)

    return run


@pytest.fixture(scope="session")
def short(recordings: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Breakout alone, in a folder of its own."""
    folder = tmp_path_factory.mktemp("short")
    shutil.copytree(recordings / "breakout", folder / "breakout")
    return folder


@pytest.fixture(scope="session")
def small_encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an encoder of four patches."""
    folder = tmp_path_factory.mktemp("small") / "encoder"
    return export_encoder(build(Shape(patch=42)), folder, {})


@pytest.fixture(scope="session")
def dqn(small_encoder: Path) -> Fit:
    """Train a DQN on a frozen encoder, into a run folder; its record."""
    from fovea.agents.fit import fit

    def run(folder: Path, *more: object) -> RunRecord:
        asked = ["-c", "dqn_frozen", "--run", folder, "--model.encoder.encoder", small_encoder,
                 "--data.num_envs", 2, "--model.hidden", 16, "--model.batch_size", 8,
                 "--model.buffer_size", 200, "--model.learning_starts", 64,
                 "--model.train_freq", 2, "--model.features.norm_samples", 32,
                 "--data.total_steps", 84, "--data.max_frames", 40, *more]  # fmt: skip
        fit([*map(str, asked)])
        return read_run(folder)

    return run


@pytest.fixture(scope="session")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    machine = Machine(tmp_path_factory.mktemp("machine"))
    yield machine
    machine.end()


@pytest.fixture(scope="session")
def given(
    short: Path, small_encoder: Path, dqn: Fit, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """What the commands of `kinds_of_writing` take."""
    folder = tmp_path_factory.mktemp("given")
    shutil.copytree(short, folder / "recordings")
    shutil.copytree(small_encoder, folder / "encoder")
    samples.pretraining(folder / "runs" / "vicreg", "vicreg")
    dqn(folder / "agent")
    atari(["export", str(short), "--out", str(folder / "episodes")])
    write_text(folder / "continual.yaml", CONTINUAL.replace("ENCODER", str(folder / "encoder")))
    write_text(folder / "study.yaml", STUDY)
    return folder
