"""What `fovea agents speed` says of an encoder."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fovea.agents.speed import speed


@pytest.mark.slow
def test_updates_are_measured_frozen_and_fine_tuned(tmp_path: Path) -> None:
    speed(["--encoder", "random:nature_cnn", "--seconds", "0.2", "--accelerator", "cpu",
           "--out", str(tmp_path / "speed.json")])  # fmt: skip
    found = json.loads((tmp_path / "speed.json").read_text())["updates_per_second"]
    assert set(found) == {"frozen", "fine-tuned"}
    assert min(found.values()) > 0
