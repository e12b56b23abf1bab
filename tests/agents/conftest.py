"""What tests of agents share: small encoders, a command line, and an emulator that fails."""

from __future__ import annotations

import sys
from collections.abc import Callable
from itertools import count
from pathlib import Path

import numpy as np
import pytest

from fovea.agents.__main__ import run
from fovea.agents.fit import fit
from fovea.atari.env import Envs, Step
from fovea.command import main
from fovea.pretrain.encoders.folder import export_encoder
from fovea.pretrain.encoders.vit import Shape, build


@pytest.fixture(scope="session")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an encoder of four patches."""
    return export_encoder(build(Shape(patch=42)), tmp_path_factory.mktemp("small") / "encoder", {})


@pytest.fixture(scope="session")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run folder of a DQN on patches that has learnt next to nothing in Pong."""
    run = tmp_path_factory.mktemp("teacher") / "dqn"
    fit(["--model", "DQN", "--model.encoder", "Frozen", "--model.encoder.encoder",
         "random:patches42", "--model.hidden", "8", "--model.learning_starts", "32",
         "--model.batch_size", "8", "--model.buffer_size", "64", "--model.features.norm_samples",
         "16", "--data.game", "pong", "--data.num_envs", "2", "--data.total_steps", "40",
         "--data.sticky", "0.5", "--data.max_frames", "400", "--run", str(run)])  # fmt: skip
    return run


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """Run `fovea agents ARGUMENTS`; its exit code."""

    def call(*arguments: object) -> int:
        monkeypatch.setattr(sys, "argv", ["agents", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main(lambda: run([*map(str, arguments)]))
        return ended.value.code

    return call


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Let the emulators fail: raise `fault` in those steps of all environments, from 1 on."""

    def fail(fault: BaseException, *steps: int) -> None:
        step, numbers = Envs.step, count(1)

        def failing_step(envs: Envs, actions: np.ndarray) -> Step:
            if next(numbers) in steps:
                raise fault
            return step(envs, actions)

        monkeypatch.setattr(Envs, "step", failing_step)

    return fail
