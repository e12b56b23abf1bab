"""Sparsity of tokens and units, against hand-worked values."""

from __future__ import annotations

import math

import pytest
import torch

from fovea.pretrain.encoders.vit import ViT
from fovea.probes import sparsity
from fovea.probes.features import Splits


def test_hoyer_is_zero_for_even_and_one_for_a_single_number() -> None:
    even, single = sparsity.hoyer(torch.tensor([[2.0, -2.0, 2.0, 2.0], [0.0, 0.0, -7.0, 0.0]]))
    assert float(even) == pytest.approx(0)
    assert float(single) == pytest.approx(1)


def test_hoyer_by_hand() -> None:
    # l1 = 7, l2 = 5, D = 4: (2 - 7/5) / (2 - 1).
    assert float(sparsity.hoyer(torch.tensor([3.0, 0.0, -4.0, 0.0]))) == pytest.approx(0.6)


def test_gini_and_l1_over_l2_by_hand() -> None:
    z = torch.tensor([[2.0, -2.0, 2.0, 2.0], [0.0, 0.0, -7.0, 0.0]], dtype=torch.float64)
    assert sparsity.gini(z).tolist() == pytest.approx([0, 3 / 4])
    assert sparsity.l1_l2(z).tolist() == pytest.approx([1, 1 / 2])
    # Sizes 1 and 3: the mean absolute difference of all pairs, 1, over twice the mean, 4.
    assert float(sparsity.gini(torch.tensor([3.0, -1.0]))) == pytest.approx(1 / 4)


def test_soft_dormancy_is_of_the_effective_number_of_units() -> None:
    assert sparsity.soft_dormant(torch.ones(8)) == pytest.approx(0, abs=1e-6)
    assert sparsity.soft_dormant(torch.tensor([5.0, 5, 0, 0])) == pytest.approx(1 / 2)


def test_near_zero_is_relative_to_the_tokens_own_size() -> None:
    # Root mean square 10 / sqrt 4 = 5, so near zero is below 0.5, whatever the unit.
    token = torch.tensor([10.0, 0.4, -0.4, 0.6])
    assert float(sparsity.near_zero(token)) == pytest.approx(0.5)
    assert float(sparsity.near_zero(token * 1e-3)) == pytest.approx(0.5)


def test_dormant_units_are_small_beside_the_others() -> None:
    # Mean 1: at most 0.025 are the first and the second.
    sizes = torch.tensor([0.0, 0.025, 0.026, 3.949])
    assert sparsity.dormant(sizes) == 0.5


def test_units_that_are_cut_off_are_counted_in_their_block(
    encoder: ViT, seen: dict[str, Splits]
) -> None:
    split = seen["pong"].test
    before = sparsity.measure(encoder, split, 100)
    with torch.no_grad():
        mlp = encoder.vit.blocks[1].mlp
        mlp.fc1.weight[:12] = mlp.fc1.bias[:12] = 0
    after = sparsity.measure(encoder, split, 100)
    assert after[0] == before[0]
    dormant = list(sparsity.MEASURES).index("dormant")
    for kind in (sparsity.ALL, "cls", "patches"):
        assert after[1][kind][dormant] == pytest.approx(before[1][kind][dormant] + 12 / 48)


def test_measures_are_means_over_all_tokens(encoder: ViT, seen: dict[str, Splits]) -> None:
    split = seen["pong"].test
    of_block = sparsity.measure(encoder, split, 100)[0]
    assert list(of_block) == [sparsity.ALL, "cls", "patches"]
    hoyer, _, _, near_zero, *_ = of_block[sparsity.ALL]
    with torch.inference_mode():
        at = sparsity.evenly_spaced(split.at, 100)
        pixels = encoder.scale(split.frames.windows(at, encoder.stack)[:, 0])
        tokens = encoder.vit.blocks[0](encoder.embed(pixels))
    root = math.sqrt(tokens.shape[-1])
    by_hand = (root - tokens.abs().sum(-1) / tokens.square().sum(-1).sqrt()) / (root - 1)
    assert hoyer == pytest.approx(float(by_hand.mean()), rel=1e-5)
    assert of_block["cls"][0] == pytest.approx(float(by_hand[:, 0].mean()), rel=1e-5)
    assert of_block["patches"][0] == pytest.approx(float(by_hand[:, 1:].mean()), rel=1e-5)
    assert near_zero == pytest.approx(float(sparsity.near_zero(tokens.double()).mean()), abs=1e-4)
