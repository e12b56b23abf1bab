"""What tests of every room share: short recordings of real games."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from atari.collect import collect

torch.set_num_threads(2)


@pytest.fixture(scope="session")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a few whole episodes of Breakout and Pong."""
    folder = tmp_path_factory.mktemp("recordings")
    collect(["breakout"], folder, steps=1500, shard_steps=750)
    collect(["pong"], folder, steps=3000, shard_steps=1000)
    return folder
