"""Which of an encoder's features heads are given, and how they are stored."""

from __future__ import annotations

import pytest
import torch

from fovea.agents.adaptation.base import FineTuned, Frozen
from fovea.agents.networks.feature_extractor import SELECTIONS, FeatureExtractor
from fovea.pretrain.encoders.cnn import build_cnn
from fovea.pretrain.encoders.encoder import Encoder
from fovea.pretrain.encoders.multi_query import ReadOut
from fovea.pretrain.encoders.vit import Shape, build

ENCODERS = {
    "vit": lambda: build(Shape(patch=42)),
    "read_out": lambda: build(Shape(patch=42, read_out=ReadOut(queries=3, outputs=5))),
    "cnn": lambda: build_cnn("nature_cnn"),
}


def screens(count: int = 3) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (count, 4, 84, 84), generator=generator).to(torch.uint8)


@pytest.fixture(params=ENCODERS)
def inner(request: pytest.FixtureRequest) -> Encoder:
    return ENCODERS[request.param]().eval()


def test_heads_are_given_the_selected_features(inner: Encoder) -> None:
    summary, tokens = inner(screens())
    expected = {
        "cls": summary,
        "mean": tokens.mean(dim=1),
        "cls_and_mean": torch.cat([summary, tokens.mean(dim=1)], dim=1),
        "tokens": tokens.flatten(1),
    }
    assert expected.keys() == SELECTIONS.keys() - {"projected_tokens"}
    for kind, features in expected.items():
        frozen, tuned = (
            FeatureExtractor(Frozen(inner), kind),
            FeatureExtractor(FineTuned(inner), kind),
        )
        assert frozen.width == tuned.width == features.shape[1]
        held = frozen.observe(screens())
        assert torch.equal(frozen(held), features.to(held.dtype).float())
        assert held.dtype == (torch.float16 if kind == "tokens" else torch.float32)
        assert torch.equal(tuned.observe(screens()), screens())
        assert torch.equal(tuned(screens()), features)


def test_one_learnt_layer_projects_all_tokens_also_stored_ones(
    inner: Encoder,
) -> None:
    tokens = inner(screens()).tokens
    frozen = FeatureExtractor(Frozen(inner), "projected_tokens", token_projection_dim=5, seed=1)
    held = frozen.observe(screens())
    assert held.shape == tokens.shape
    assert held.dtype == torch.float16
    layer = frozen.projection[0]
    one_by_one = torch.cat([layer(token) for token in held.float().unbind(1)], dim=1)
    assert frozen.width == one_by_one.shape[1] == 5 * tokens.shape[1]
    torch.testing.assert_close(frozen(held), one_by_one)
    frozen(held).sum().backward()
    assert layer.weight.grad.abs().sum() > 0
    again, other = (FeatureExtractor(Frozen(inner), "projected_tokens", 5, seed) for seed in (1, 2))
    assert torch.equal(again.projection[0].weight, layer.weight)
    assert not torch.equal(other.projection[0].weight, layer.weight)
    tuned = FeatureExtractor(FineTuned(inner), "projected_tokens", token_projection_dim=5, seed=1)
    torch.testing.assert_close(tuned(screens()), frozen(held), rtol=1e-2, atol=1e-2)


@pytest.mark.slow
def test_features_are_normalised_by_the_screens_that_were_measured(inner: Encoder) -> None:
    for kind in SELECTIONS:
        extractor = FeatureExtractor(FineTuned(inner), kind)
        extractor.train()
        raw = extractor.features(screens(40))
        extractor.fit_norm(screens(40).split(8), 40)
        assert extractor.norm.screens == 40
        assert extractor.encoder.training
        held = FeatureExtractor(Frozen(inner), kind)
        held.norm.load_state_dict(extractor.norm.state_dict())
        shown = held.observe(screens(40)).float()
        std = raw.std(dim=0)
        moves = std > std.mean() / 10
        assert moves.sum() > 0
        assert shown.mean(dim=0).abs().max() < 0.01
        torch.testing.assert_close(
            shown.std(dim=0)[moves], torch.ones(int(moves.sum())), atol=0.01, rtol=0
        )
        assert shown.std(dim=0).max() < 1.01  # what hardly moves is not blown up
        torch.testing.assert_close(extractor.features(screens(40)), shown, atol=0.01, rtol=0.001)
