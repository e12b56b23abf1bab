"""What of an encoder's features heads are given, and what of them is held."""

from __future__ import annotations

import pytest
import torch

from fovea.agents.adaptation.base import FineTuned, Frozen
from fovea.agents.networks.feature_extractor import PICKS, Eyes
from fovea.pretrain.encoders.cnn import build_cnn
from fovea.pretrain.encoders.encoder import Encoder
from fovea.pretrain.encoders.vit import Shape, build

ENCODERS = {"vit": lambda: build(Shape(patch=42)), "cnn": lambda: build_cnn("nature_cnn")}


def screens(count: int = 3) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (count, 4, 84, 84), generator=generator).to(torch.uint8)


@pytest.fixture(params=ENCODERS)
def inner(request: pytest.FixtureRequest) -> Encoder:
    return ENCODERS[request.param]().eval()


def test_eyes_pick_what_the_heads_are_given(inner: Encoder) -> None:
    summary, tokens = inner(screens())
    wanted = {
        "summary": summary,
        "tokens_mean": tokens.mean(dim=1),
        "summary_and_mean": torch.cat([summary, tokens.mean(dim=1)], dim=1),
        "flat": tokens.flatten(1),
    }
    assert wanted.keys() == PICKS.keys() - {"tokens"}
    for pick, features in wanted.items():
        frozen, tuned = Eyes(Frozen(inner), pick), Eyes(FineTuned(inner), pick)
        assert frozen.width == tuned.width == features.shape[1]
        held = frozen.observe(screens())
        assert torch.equal(frozen(held), features.to(held.dtype).float())
        assert held.dtype == (torch.float16 if pick == "flat" else torch.float32)
        assert torch.equal(tuned.observe(screens()), screens())
        assert torch.equal(tuned(screens()), features)


def test_tokens_are_shrunk_alike_by_a_layer_that_learns_also_on_held_features(
    inner: Encoder,
) -> None:
    tokens = inner(screens()).tokens
    frozen = Eyes(Frozen(inner), "tokens", token_width=5, seed=1)
    held = frozen.observe(screens())
    assert held.shape == tokens.shape
    assert held.dtype == torch.float16
    layer = frozen.shrink[0]
    one_by_one = torch.cat([layer(token) for token in held.float().unbind(1)], dim=1)
    assert frozen.width == one_by_one.shape[1] == 5 * tokens.shape[1]
    torch.testing.assert_close(frozen(held), one_by_one)
    frozen(held).sum().backward()
    assert layer.weight.grad.abs().sum() > 0
    again, other = (Eyes(Frozen(inner), "tokens", 5, seed) for seed in (1, 2))
    assert torch.equal(again.shrink[0].weight, layer.weight)
    assert not torch.equal(other.shrink[0].weight, layer.weight)
    tuned = Eyes(FineTuned(inner), "tokens", token_width=5, seed=1)
    torch.testing.assert_close(tuned(screens()), frozen(held), rtol=1e-2, atol=1e-2)


def test_heads_get_features_on_the_scale_of_the_screens_that_were_shown(inner: Encoder) -> None:
    for pick in PICKS:
        eyes = Eyes(FineTuned(inner), pick)
        eyes.train()
        raw = eyes.features(screens(40))
        eyes.measure(screens(40).split(8), 40)
        assert eyes.standard.screens == 40
        assert eyes.encoder.training
        held = Eyes(Frozen(inner), pick)
        held.standard.load_state_dict(eyes.standard.state_dict())
        shown = held.observe(screens(40)).float()
        std = raw.std(dim=0)
        moves = std > std.mean() / 10
        assert moves.sum() > 0
        assert shown.mean(dim=0).abs().max() < 0.01
        torch.testing.assert_close(
            shown.std(dim=0)[moves], torch.ones(int(moves.sum())), atol=0.01, rtol=0
        )
        assert shown.std(dim=0).max() < 1.01  # what hardly moves is not blown up
        torch.testing.assert_close(eyes.features(screens(40)), shown, atol=0.01, rtol=0.001)
