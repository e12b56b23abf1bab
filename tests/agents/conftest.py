"""What tests of agents share: small encoders, a command line, and an emulator that fails."""

from __future__ import annotations

import sys
from collections.abc import Callable
from itertools import count
from pathlib import Path

import pytest
from ale_py.vector_env import AtariVectorEnv

from fovea.agents.__main__ import run
from fovea.command import main
from fovea.pretrain.encoders.folder import export_encoder
from fovea.pretrain.encoders.vit import Shape, build


@pytest.fixture(scope="session")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an encoder of four patches."""
    return export_encoder(build(Shape(patch=42)), tmp_path_factory.mktemp("small") / "encoder", {})


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
    """Let the emulator itself fail: raise `fault` in those of its steps, counted from 1."""

    def fail(fault: BaseException, *steps: int) -> None:
        step, numbers = AtariVectorEnv.step, count(1)

        def failing_step(games: AtariVectorEnv, actions: object) -> tuple:
            if next(numbers) in steps:
                raise fault
            return step(games, actions)

        monkeypatch.setattr(AtariVectorEnv, "step", failing_step)

    return fail
