"""Which of an encoder's features heads are given, and how they are stored."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch

from fovea.agents.adaptation.base import FineTuned, Frozen
from fovea.agents.adaptation.l2m import L2M
from fovea.agents.adaptation.lora import LoRA
from fovea.agents.adaptation.prompts import Prompts
from fovea.agents.networks.feature_extractor import FeatureExtractor
from fovea.command import UserError
from fovea.pretrain.encoders.build import build_encoder
from fovea.pretrain.encoders.cnn import build_cnn
from fovea.pretrain.encoders.encoder import Encoder
from fovea.pretrain.encoders.folder import load_encoder
from fovea.pretrain.encoders.multi_query import MultiQueryShape
from fovea.pretrain.encoders.read_out import LEARNT, SELECTIONS, ReadOut
from fovea.pretrain.encoders.vit import Shape, ViT, build

ENCODERS = {
    "vit": lambda: build(Shape(patch=42)),
    "read_out": lambda: build_encoder(
        Shape(patch=42, read_out=MultiQueryShape(queries=3, outputs=5))
    ),
    "cnn": lambda: build_cnn("nature_cnn"),
}
LEARNING = pytest.mark.parametrize("kind", LEARNT)


def screens(count: int = 3) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (count, 4, 84, 84), generator=generator).to(torch.uint8)


@pytest.fixture(params=ENCODERS)
def inner(request: pytest.FixtureRequest) -> Encoder:
    return ENCODERS[request.param]().eval()


@pytest.fixture
def vit() -> ViT:
    return build(Shape(patch=28)).eval()


@pytest.mark.slow
def test_heads_are_given_the_selected_features(inner: Encoder) -> None:
    summary, tokens = inner(screens())
    expected = {
        "cls": summary,
        "mean": tokens.mean(dim=1),
        "cls_and_mean": torch.cat([summary, tokens.mean(dim=1)], dim=1),
        "tokens": tokens.flatten(1),
    }
    assert expected.keys() == SELECTIONS.keys() - LEARNT.keys()
    for kind, features in expected.items():
        frozen = FeatureExtractor(Frozen(inner), ReadOut(kind))
        tuned = FeatureExtractor(FineTuned(inner), ReadOut(kind))
        assert frozen.width == tuned.width == features.shape[1]
        held = frozen.observe(screens())
        assert torch.equal(frozen(held), features.to(held.dtype).float())
        assert held.dtype == (torch.float16 if kind == "tokens" else torch.float32)
        assert torch.equal(tuned.observe(screens()), screens())
        assert torch.equal(tuned(screens()), features)


@LEARNING
def test_what_is_learnt_of_tokens_is_learnt_of_stored_ones_too(kind: str, inner: Encoder) -> None:
    tokens, how = inner(screens()).tokens, ReadOut(kind, projection_dim=5, queries=3)
    frozen = FeatureExtractor(Frozen(inner), how, seed=1)
    held = frozen.observe(screens())
    assert held.shape == tokens.shape
    assert held.dtype == torch.float16
    assert frozen.width == 5 * (3 if kind == "attention" else tokens.shape[1])
    frozen(held).square().sum().backward()
    learnt = dict(frozen.projection.named_parameters())
    assert learnt
    assert all(weights.grad.abs().sum() > 0 for weights in learnt.values())
    again, other = (FeatureExtractor(Frozen(inner), how, seed) for seed in (1, 2))
    for name, weights in learnt.items():
        assert torch.equal(again.projection.get_parameter(name), weights)
        assert not torch.equal(other.projection.get_parameter(name), weights)
    tuned = FeatureExtractor(FineTuned(inner), how, seed=1)
    torch.testing.assert_close(tuned(screens()), frozen(held), rtol=1e-2, atol=1e-2)


def test_one_layer_projects_all_tokens_or_each_place_has_its_own(vit: ViT) -> None:
    tokens = vit(screens()).tokens
    shared = FeatureExtractor(Frozen(vit), ReadOut("projected_tokens", projection_dim=5))
    layer = shared.projection[0]
    one_by_one = torch.cat([layer(token) for token in tokens.unbind(1)], dim=1)
    torch.testing.assert_close(shared.projection(tokens), one_by_one)
    local = FeatureExtractor(Frozen(vit), ReadOut("locally_connected", projection_dim=5))
    own = local.projection
    one_by_one = torch.cat(
        [tokens[:, at] @ own.weight[at] + own.bias[at] for at in range(tokens.shape[1])], dim=1
    )
    torch.testing.assert_close(own(tokens), one_by_one)
    assert own.weight.abs().max() <= 96**-0.5


@pytest.mark.slow
def test_features_are_normalised_by_the_screens_that_were_measured(inner: Encoder) -> None:
    for kind in SELECTIONS:
        how = ReadOut(kind, norm="standard")
        extractor = FeatureExtractor(FineTuned(inner), how)
        extractor.train()
        raw = extractor.features(screens(40))
        extractor.fit_norm(screens(40).split(8), 40)
        assert extractor.norm.screens == 40
        assert extractor.encoder.training
        held = FeatureExtractor(Frozen(inner), how)
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


@pytest.mark.parametrize("kind", SELECTIONS)
def test_blocks_widen_what_heads_are_given(kind: str, vit: ViT) -> None:
    usual, last, both = (
        FeatureExtractor(Frozen(vit), ReadOut(kind, blocks=blocks))
        for blocks in (None, [4], [4, 2])
    )
    held = usual.observe(screens())
    assert torch.equal(last.observe(screens()), held)
    more = both.observe(screens())
    assert more.shape[-1] == 2 * held.shape[-1]
    if kind == "cls":
        assert torch.equal(more[:, :96], held)
        assert torch.equal(more[:, 96:], vit(screens(), [2]).summary)
    assert both(more).shape == (3, both.width)


@pytest.mark.parametrize("way", [LoRA, Prompts, lambda vit: L2M(vit, size=3)])
def test_blocks_of_an_adapted_encoder_are_those_it_adapts(way, vit: ViT) -> None:
    adapted = way(vit)
    extractor = FeatureExtractor(adapted, ReadOut("projected_tokens", blocks=[4, 1]))
    usual = adapted(screens())
    found = adapted(screens(), [4, 1])
    assert found.tokens.shape == (3, 9, 2 * 96)
    torch.testing.assert_close(found.summary[:, :96], usual.summary)
    torch.testing.assert_close(found.tokens[..., :96], usual.tokens)
    extractor(screens()).sum().backward()
    learning = [p for p in adapted.parameters() if p.requires_grad]
    assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in learning)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["cls_and_mean", "attention", "tokens"])
@pytest.mark.parametrize("blocks", [None, [4, 2], [3]])
@pytest.mark.parametrize("last_k", [1, 2, 4])
def test_of_an_encoder_whose_last_blocks_learn_the_trunk_is_stored(
    kind: str, blocks: list[int] | None, last_k: int, vit: ViT
) -> None:
    how = ReadOut(kind, blocks=blocks, norm="standard")
    extractor = FeatureExtractor(FineTuned(vit, last_k=last_k), how)
    whole = FeatureExtractor(FineTuned(vit), how)
    extractor.fit_norm([screens(20)], 20)
    whole.load_state_dict(extractor.state_dict())
    assert extractor.trunk == min(4 - last_k, *(blocks or [4]))
    held = extractor.observe(screens())
    assert extractor.stores_features
    assert held.shape == (3, 10, 96)
    torch.testing.assert_close(extractor(held), whole(screens()), rtol=1e-4, atol=1e-4)
    # What learns changes what heads are given, and never what is stored.
    extractor(held).square().sum().backward()
    learning = {name: p for name, p in vit.named_parameters() if p.requires_grad}
    moved = {name for name, p in learning.items() if p.grad is not None and p.grad.abs().sum() > 0}
    used = max(blocks or [4])
    assert {name.split(".")[2] for name in moved if ".blocks." in name} == {
        str(number) for number in range(4 - last_k, used)
    }
    before = extractor(held)
    with torch.no_grad():
        for weights in learning.values():
            weights.add_(0.1)
    assert torch.equal(extractor.observe(screens()), held)
    assert not torch.allclose(extractor(held), before, atol=1e-3)


def test_a_target_network_has_its_own_copy_of_what_learns(vit: ViT) -> None:
    online = FeatureExtractor(FineTuned(vit, last_k=1), ReadOut("mean"))
    target = copy.deepcopy(online)
    held = online.observe(screens())
    before = online(held)
    with torch.no_grad():
        online.encoder.encoder.vit.norm.bias.add_(1.0)
    torch.testing.assert_close(online(held), before + 1)
    assert torch.equal(target(held), before)


def test_screens_are_stored_where_they_are_augmented(vit: ViT) -> None:
    how = ReadOut("mean")
    extractor = FeatureExtractor(FineTuned(vit, last_k=1), how, keep_screens=True)
    assert not extractor.stores_features
    assert torch.equal(extractor.observe(screens()), screens())
    usual = FeatureExtractor(FineTuned(vit, last_k=1), how)
    torch.testing.assert_close(extractor(screens()), usual(usual.observe(screens())))


def test_the_fixed_part_stays_in_eval_mode(vit: ViT) -> None:
    adapted = copy.deepcopy(FineTuned(vit, last_k=1)).train()
    modes = [block.training for block in adapted.encoder.vit.blocks]
    assert modes == [False, False, False, True]


def test_pixels_of_patches_are_a_reference() -> None:
    how = ReadOut("projected_tokens", norm="standard", projection_dim=4)
    extractor = FeatureExtractor(Frozen(load_encoder("random:patches14")), how)
    extractor.fit_norm([screens(20)], 20)
    held = extractor.observe(screens())
    assert held.shape == (3, 36, 784)
    assert extractor(held).shape == (3, 144)


def test_blocks_that_are_not_there_are_refused(vit: ViT) -> None:
    with pytest.raises(UserError, match=r"blocks \[5\]: this encoder has blocks 1 to 4"):
        FeatureExtractor(Frozen(vit), ReadOut(blocks=[5]))
    with pytest.raises(UserError, match=r"blocks \[1\]: a Patches has no blocks whose features"):
        FeatureExtractor(Frozen(load_encoder("random:patches14")), ReadOut(blocks=[1]))
    with pytest.raises(UserError, match=r"blocks \[1, 3\] of this encoder have 400, 49 places"):
        FeatureExtractor(Frozen(build_cnn("nature_cnn")), replace(ReadOut(), blocks=[1, 3]))


def test_an_adapter_that_gives_a_plain_tuple_is_named(vit: ViT) -> None:
    class Plain(Frozen):
        def forward(self, screens, blocks=()):
            return tuple(super().forward(screens, blocks))

    with pytest.raises(UserError, match="Plain gave tuple: return Features"):
        FeatureExtractor(Plain(vit), ReadOut())
