"""Numbers that are too large, too small or all the same."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from fovea.pretrain.encoders.folder import export_encoder
from fovea.pretrain.encoders.vit import Shape, build
from fovea.probes.collapse import spread_of
from fovea.probes.run import run
from fovea.probes.spread import lidar
from fovea.results import read_result


def test_constant_features_fill_no_space() -> None:
    """Fault 6: a constant and its rounding have a rank of about 1, or none."""
    constant = torch.full((64, 96), 0.3).double()
    assert lidar(constant, views=2) == 1.0
    assert lidar(constant + 1e-9 * torch.randn(64, 96), views=2) == 1.0
    rows = dict(spread_of({"pong": torch.full((64, 96), 0.3)}, {"pong": torch.arange(63)}, True))
    ranks = torch.tensor(rows["pong"][1:6])
    assert not (ranks > 1.001).any()


@pytest.mark.slow
def test_an_encoder_that_breaks_one_probe_leaves_the_others(short: Path, tmp_path: Path) -> None:
    """Fault 21: features as large as these have no eigenvalues."""
    encoder = build(Shape(patch=42))
    with torch.no_grad():
        encoder.vit.norm.weight.fill_(1e30)
    folder = export_encoder(encoder, tmp_path / "encoder", {})
    lacking = run([f"mine={folder}"], [str(short)], tmp_path, only=["sparsity", "collapse"],
                  samples=60)  # fmt: skip
    assert any("collapse of mine" in line and "no solution" in line for line in lacking)
    result = read_result(tmp_path / "probes" / "collapse.json")
    assert "random" in result.encoders
    assert "its features have no solution here" in result.left_out["mine"]
    assert "mine" in read_result(tmp_path / "probes" / "sparsity.json").encoders
