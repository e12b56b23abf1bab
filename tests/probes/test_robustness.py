"""Corruptions by hand, and what is left of the read-out under them."""

from __future__ import annotations

import math

import pytest
import torch

from fovea.pretrain.corruptions import CORRUPTIONS, corrupted
from fovea.pretrain.encoders.vit import ViT
from fovea.probes import robustness
from fovea.probes.features import Splits

GREY = torch.full((2, 2, 6, 6), 100, dtype=torch.uint8)


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_a_corruption_is_a_function_of_its_screens_and_grows(name: str) -> None:
    generator = torch.Generator().manual_seed(0)
    screens = torch.randint(256, (3, 2, 84, 84), generator=generator).to(torch.uint8)
    once, same, more = (corrupted(screens, name, severity) for severity in (1, 1, 2))
    assert torch.equal(once, same)
    assert (once.dtype, once.shape) == (torch.uint8, screens.shape)
    off = [float((of.float() - screens.float()).abs().mean()) for of in (once, more)]
    assert 0 < off[0] < off[1]


def test_corruptions_by_hand() -> None:
    assert corrupted(GREY, "brightness", 2).unique().tolist() == [80]
    # Six levels are 51 apart, and 102 is the nearest.
    assert corrupted(GREY, "quantise", 2).unique().tolist() == [102]
    assert torch.equal(corrupted(GREY, "blur", 2), GREY)
    cut = corrupted(GREY, "cut_out", 2)
    assert (cut == 0).sum((1, 2, 3)).tolist() == [8, 8]  # 2 by 2 pixels of both screens
    assert torch.equal(cut[:, 0], cut[:, 1])
    stripes = GREY.clone()
    stripes[..., 1::2] = 200
    assert corrupted(stripes, "downscale", 1).unique().tolist() == [150]


def test_a_shift_leaves_the_correlation() -> None:
    truth = torch.tensor([1, 2, 3, 6])
    assert robustness.correlation(truth, 3 * truth + 100.0) == pytest.approx(1)
    assert robustness.correlation(truth, -truth.double()) == pytest.approx(-1)
    # From their means: -2, -1, 0, 3 and -1, 1, 1, -1: 2 - 1 + 0 - 3 over the root of 14 * 4.
    told = torch.tensor([0.0, 2.0, 2.0, 0.0])
    assert robustness.correlation(truth, told) == pytest.approx(-2 / 56**0.5)
    assert robustness.correlation(truth, torch.ones(4)) == 0
    assert math.isnan(robustness.correlation(torch.ones(4), told))


def test_the_drop_is_from_clean_screens(encoder: ViT, seen: dict[str, Splits]) -> None:
    table = robustness.probe(encoder, {"pong": seen["pong"]}, stacks_measured=40).tables[0]
    assert len(table.rows) == 2 * (1 + len(CORRUPTIONS) + 2)
    rows = {(row["corruption"], row["severity"]): row for row in table.records()}
    for (name, severity), row in rows.items():
        for measure in ("r2", "correlation"):
            clean = rows["clean", severity][measure]
            assert row[f"{measure}_drop"] == pytest.approx(clean - row[measure])
            assert 0 <= row[measure] <= 1
            if name == "clean":
                assert row[f"{measure}_drop"] == 0
    unseen = [rows[name, "2"]["r2"] for name in ("noise", "quantise", "downscale")]
    assert rows["mean of unseen", "2"]["r2"] == pytest.approx(sum(unseen) / 3)
