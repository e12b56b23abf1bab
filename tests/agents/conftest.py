"""What tests of agents share: small encoders, and a command line that runs in this process."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

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
