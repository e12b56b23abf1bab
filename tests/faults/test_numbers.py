"""Numbers that are too large, too small or all the same."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from fovea.probes.collapse import _spread_of
from fovea.probes.run import numeric, run
from fovea.probes.spread import lidar
from fovea.results import read_result


def test_constant_features_fill_no_space() -> None:
    """Fault 6: a constant and its rounding have a rank of about 1, or none."""
    constant = torch.full((64, 96), 0.3).double()
    assert lidar(constant, views=2) == 1.0
    assert lidar(constant + 1e-9 * torch.randn(64, 96), views=2) == 1.0
    rows = dict(_spread_of({"pong": torch.full((64, 96), 0.3)}, {"pong": torch.arange(63)}, True))
    ranks = torch.tensor(rows["pong"][1:6])
    assert not (ranks > 1.001).any()


@pytest.mark.slow
def test_an_encoder_that_breaks_one_probe_leaves_the_others(
    small_encoder: Path, short: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fault 21."""
    from fovea.probes import sparsity

    def unsolvable(*_: object, **__: object) -> None:
        raise torch.linalg.LinAlgError("the algorithm failed to converge")

    monkeypatch.setattr(sparsity, "probe", unsolvable)
    lacking = run([f"mine={small_encoder}"], [str(short)], tmp_path, only=["sparsity", "collapse"],
                  samples=60)  # fmt: skip
    assert any("sparsity of mine" in line for line in lacking)
    result = read_result(tmp_path / "probes" / "collapse.json")
    assert "mine" in result.encoders
    left_out = read_result(tmp_path / "probes" / "sparsity.json").left_out
    assert left_out["mine"] == numeric(RuntimeError("the algorithm failed to converge"))
