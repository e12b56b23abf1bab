"""What heads may be given of an encoder, judged by the state."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from fovea.pretrain.encoders.encoder import Encoder, Features
from fovea.pretrain.encoders.vit import ViT
from fovea.probes import state, tokens
from fovea.probes.features import Drawn, NotMeasured, Splits, encode
from fovea.probes.references import Blind


class Patches(Encoder):
    """A token a patch of 12 x 12, its mean brightness; its summary sees nothing."""

    dim, grid, stack, screen = 1, (7, 7), 2, (84, 84)

    def __init__(self):
        super().__init__()
        self.nothing = torch.nn.Parameter(torch.zeros(1), requires_grad=False)

    def encode(self, pixels: torch.Tensor) -> Features:
        means = F.avg_pool2d(pixels[:, -1:], 12).flatten(2).transpose(1, 2)
        return Features(self.nothing.expand(len(pixels), 1), means)


def test_tokens_know_what_summary_and_mean_do_not(drawn: dict[str, list[Drawn]]) -> None:
    encoder = Patches()
    seen = encode(encoder, drawn)
    (table,) = tokens.probe(encoder, seen).tables
    assert table.columns == ["game", "features", "r2"]
    assert [row[0] for row in table.rows] == [game for game in seen for _ in range(4)]
    of_pong = {features: r2 for game, features, r2 in table.rows if game == "pong"}
    summary, mean, both, every = of_pong.values()
    assert list(of_pong) == ["cls", "mean", "cls_and_mean", "tokens"]
    assert summary <= 0
    assert mean == pytest.approx(both)
    assert every > both + 0.1


def test_a_reading_is_scored_as_the_state_is(encoder: ViT, seen: dict[str, Splits]) -> None:
    asked = state.scored_variables("pong", seen["pong"])
    of_bytes = [variable.byte for variable in asked]
    given = tokens.choices(encoder, seen["pong"], seed=0)
    ours = tokens.measure(seen["pong"], given["cls_and_mean"], of_bytes)
    theirs = state.measure(seen["pong"], asked, patience=1, seed=0)
    assert [row[0] for row in ours] == pytest.approx([row[0] for row in theirs], nan_ok=True)


def test_tokens_are_those_of_each_stack(encoder: ViT, seen: dict[str, Splits]) -> None:
    split = seen["pong"].test
    every = tokens.tokens(encoder, split).unflatten(1, (9, 12))
    torch.testing.assert_close(every.mean(dim=1), split.mean_token)


def test_an_encoder_without_tokens_is_left_out(drawn: dict[str, list[Drawn]]) -> None:
    blind = Blind(2, (84, 84))
    with pytest.raises(NotMeasured, match="no tokens"):
        tokens.probe(blind, encode(blind, drawn))
