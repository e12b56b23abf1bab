"""What `fovea pretrain speed` says of a config."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fovea.pretrain.training.speed import speed


@pytest.mark.slow
def test_fit_and_the_bare_step_are_measured_and_nothing_else_is_left(
    recordings: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    speed(["-c", "vicreg", "--data.recordings", f"[{recordings}]", "--data.batch_size", "4",
           "--data.held_out", "1", "--model.init_args.encoder.patch", "42",
           "--model.init_args.expander", "8", "--seconds", "0.2", "--bare", "true",
           "--out", str(tmp_path / "speed.json")])  # fmt: skip
    found = json.loads((tmp_path / "speed.json").read_text())
    assert set(found["samples_per_second"]) == {"fit", "bare step"}
    assert min(found["samples_per_second"].values()) > 0
    assert found["measured"] >= 0.4
    assert [path.name for path in tmp_path.iterdir()] == ["speed.json"]
    assert "bare step: " in capsys.readouterr().out
