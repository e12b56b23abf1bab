"""InfoNCE by hand."""

from __future__ import annotations

import math

import pytest
import torch

from fovea.pretrain.terms.info_nce import cosines, info_nce, products, top1


def test_info_nce_by_hand() -> None:
    scores = torch.tensor([[math.log(3), 0.0], [0.0, 0.0]])
    assert info_nce(scores) == pytest.approx((math.log(4 / 3) + math.log(2)) / 2)


def test_more_columns_than_rows_are_more_negatives() -> None:
    scores = torch.tensor([[0.0, 0.0, math.log(2)], [0.0, math.log(3), -torch.inf]])
    assert info_nce(scores) == pytest.approx((math.log(4) + math.log(4 / 3)) / 2)


def test_leading_dimensions_are_contrasts_of_their_own() -> None:
    scores = torch.randn(5, 3, 3)
    alone = torch.stack([info_nce(one) for one in scores]).mean()
    torch.testing.assert_close(info_nce(scores), alone)
    shares = torch.stack([top1(one) for one in scores]).mean()
    torch.testing.assert_close(top1(scores), shares)


def test_found_is_the_share_of_rows_that_score_their_own_highest() -> None:
    assert top1(torch.tensor([[2.0, 1.0], [1.0, 0.0]])) == 0.5


def test_scores_keep_their_bits_under_autocast() -> None:
    x, y = torch.randn(2, 8, 4)
    with torch.autocast("cpu", torch.bfloat16):
        inside = info_nce(cosines(x, y))
    assert torch.equal(inside, info_nce(cosines(x, y)))


def test_cosines_by_hand() -> None:
    x, y = torch.tensor([[2.0, 0.0], [1.0, 1.0]]), torch.tensor([[3.0, 0.0], [0.0, -1.0]])
    half = math.sqrt(0.5)
    torch.testing.assert_close(cosines(x, y), torch.tensor([[1.0, 0.0], [half, -half]]))


def test_products_by_hand() -> None:
    x = torch.tensor([[1.0, 2.0, 3.0, 4.0], [2.0, 0.0, 0.0, 0.0]])
    y = torch.tensor([[1.0, 1.0, 1.0, 1.0], [3.0, 0.0, 0.0, 0.0]])
    expected = torch.tensor([[5.0, 1.5], [1.0, 3.0]])  # over the root of four numbers
    assert torch.equal(products(x, y), expected)
    assert torch.equal(products(torch.stack([x, y]), torch.stack([y, y]))[0], expected)
