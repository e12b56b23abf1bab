"""The multi-query read-out by hand: what its queries attend to, and how their means are reduced."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention

from fovea.pretrain.encoders.multi_query import MultiQueryReadOut


@torch.no_grad()
def test_by_hand() -> None:
    read_out = MultiQueryReadOut(dim=4, queries=2, outputs=1)
    # The first query tells nothing apart. The second gives the second token, whose product with it
    # is 2 ln 3, three times the weight of the first, after division by the root of 4.
    read_out.queries.copy_(torch.tensor([[0.0] * 4, [2 * math.log(3), 0, 0, 0]]))
    read_out.weight.copy_(torch.tensor([[[1.0, 0, 0, 0]], [[0, 10.0, 0, 0]]]))
    read_out.bias.copy_(torch.tensor([[0.0], [100.0]]))
    tokens = torch.tensor([[[0.0, 4, 0, 0], [1, 8, 0, 0]]])
    assert read_out.attention(tokens)[0].tolist() == [
        pytest.approx([0.5, 0.5]),
        pytest.approx([0.25, 0.75]),
    ]
    # Means 0.5 of the first number, and 4 / 4 + 8 * 3 / 4 = 7 of the second.
    assert read_out(tokens)[0].tolist() == pytest.approx([0.5, 10 * 7 + 100])


@torch.no_grad()
def test_it_is_an_attention_and_linear_layers() -> None:
    read_out, tokens = MultiQueryReadOut(dim=6, queries=3, outputs=5), torch.randn(2, 7, 6)
    means = scaled_dot_product_attention(read_out.queries.expand(2, -1, -1), tokens, tokens)
    layers = zip(means.unbind(1), read_out.weight, read_out.bias, strict=True)
    expected = torch.cat([torch.nn.functional.linear(*layer) for layer in layers], dim=1)
    torch.testing.assert_close(read_out(tokens), expected)
    assert read_out(tokens).shape == (2, read_out.outputs) == (2, 15)


def test_queries_read_differently_from_the_start() -> None:
    tokens = torch.nn.functional.layer_norm(torch.randn(1, 36, 96), (96,))
    attention = MultiQueryReadOut(dim=96).attention(tokens)[0]
    assert attention.sum(1).tolist() == pytest.approx([1.0] * 8)
    assert attention.std(0).mean() > 0.005  # uniform weights are 0.028


def test_order_of_tokens_means_nothing() -> None:
    read_out, tokens = MultiQueryReadOut(dim=96), torch.randn(2, 36, 96)
    torch.testing.assert_close(read_out(tokens), read_out(tokens.flip(1)))
