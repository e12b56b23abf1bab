"""Ways to change a held encoder: each starts as the encoder, and only what it adds learns."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch

from fovea.agents.adaptation.adapters import Adapters
from fovea.agents.adaptation.base import Adapted, FineTuned
from fovea.agents.adaptation.ia3 import IA3
from fovea.agents.adaptation.l2m import L2M
from fovea.agents.adaptation.l2p import L2P
from fovea.agents.adaptation.lora import LoRA
from fovea.agents.adaptation.partial import BitFit, LayerNormOnly
from fovea.agents.adaptation.prompts import Prompts
from fovea.agents.algorithms.ppo import PPO
from fovea.agents.experience.on_policy import Samples
from fovea.agents.task import AtariTask
from fovea.command import UserError
from fovea.pretrain.encoders.cnn import Norm, build_cnn
from fovea.pretrain.encoders.encoder import Encoder
from fovea.pretrain.encoders.vit import Shape, ViT, build

D, BLOCKS = 96, 4  # of vit_micro

# The way, how many weights it lets learn, and whether it starts as the encoder it is around.
WAYS: dict[str, tuple[Callable[[Encoder], Adapted], int, bool]] = {
    "layer norms": (LayerNormOnly, (2 * BLOCKS + 1) * 2 * D, True),
    # Of queries, keys, values, projection and both layers of the MLP; of norms; of the patches.
    "biases": (BitFit, BLOCKS * (3 + 1 + 4 + 1 + 2) * D + D + D, True),
    "last block": (
        lambda encoder: FineTuned(encoder, last_k=1),
        12 * D * D + (9 + 4) * D + 2 * D,
        True,
    ),
    "lora": (LoRA, 9 * D * 8 * BLOCKS, True),
    "ia3": (IA3, 6 * D * BLOCKS, True),
    "adapters": (Adapters, BLOCKS * 2 * (2 * D * 6 + 6 + D), True),
    "prompts": (Prompts, 25 * D, False),
    "deep prompts": (
        lambda encoder: Prompts(encoder, length=3, deep=True),
        BLOCKS * 3 * D,
        False,
    ),
    "l2p": (lambda encoder: L2P(encoder, size=8, picks=2), 8 * (5 + 1) * D, False),
    "l2m of lora": (lambda encoder: L2M(encoder, size=4), 4 * (9 * D * 8 * BLOCKS + D), True),
    "l2m of ia3": (lambda encoder: L2M(encoder, "ia3", size=4), 4 * (6 * D * BLOCKS + D), True),
    "l2m, final query": (
        lambda encoder: L2M(encoder, size=4, query="final", heads="shared"),
        4 * (9 * D * 8 * BLOCKS + D),
        True,
    ),
}
each_way = pytest.mark.parametrize("way", WAYS)


def screens(count: int = 3) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (count, 4, 84, 84), generator=generator).to(torch.uint8)


def learning(module: torch.nn.Module) -> list[torch.nn.Parameter]:
    return [weights for weights in module.parameters() if weights.requires_grad]


@torch.no_grad()
def stirred(adapted: Adapted) -> Adapted:
    """The same with all that learns moved at random."""
    generator = torch.Generator().manual_seed(1)
    for weights in learning(adapted):
        weights += 0.1 * torch.randn(weights.shape, generator=generator)
    return adapted


@pytest.mark.slow
@each_way
def test_it_starts_as_its_encoder_under_the_same_names(way: str) -> None:
    make, count, same = WAYS[way]
    inner = build(Shape(patch=28)).eval()
    wanted, names = inner(screens()), inner.state_dict().keys()
    adapted = make(inner)
    found = adapted(screens())
    assert [part.shape for part in found] == [part.shape for part in wanted]
    assert all(map(torch.equal, found, wanted)) == same
    assert {f"encoder.{name}" for name in names} <= adapted.state_dict().keys()
    assert sum(weights.numel() for weights in learning(adapted)) == count
    assert not adapted.frozen


@pytest.mark.slow
@each_way
def test_what_learns_is_a_function_of_the_seed(way: str) -> None:
    make, _, _ = WAYS[way]
    first, second, other = (make(build(Shape(patch=42))) for _ in range(3))
    for adapted, seed in ((first, 3), (second, 3), (other, 4)):
        adapted.reset_parameters(seed)
    ours, theirs, others = (adapted.state_dict() for adapted in (first, second, other))
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    drawn = [name for name in ours if not torch.equal(ours[name], others[name])]
    assert bool(drawn) == any(
        word in way for word in ("lora", "adapters", "prompts", "l2", "final")
    )


@pytest.mark.slow
@each_way
def test_a_copy_has_modulators_of_its_own(way: str) -> None:
    adapted = WAYS[way][0](build(Shape(patch=28)))
    before = adapted(screens()).summary
    moved = stirred(copy.deepcopy(adapted))
    assert not torch.allclose(moved(screens()).summary, before, atol=1e-3)
    assert torch.equal(adapted(screens()).summary, before)


@pytest.mark.slow
@each_way
def test_attention_is_that_of_the_changed_encoder(way: str) -> None:
    adapted = WAYS[way][0](build(Shape(patch=28)).eval())
    plain = build(Shape(patch=28)).eval().attention(screens())
    found = stirred(adapted).attention(screens())
    assert found.shape[:3] == plain.shape[:3]
    torch.testing.assert_close(found.sum(dim=-1), torch.ones(found.shape[:-1]))
    assert not torch.allclose(found[-1, :, :, 0, -9:], plain[-1, :, :, 0, -9:], atol=5e-4)


@pytest.fixture(scope="module")
def batches() -> list[Samples]:
    """Two batches of Breakout, each twice."""
    task = AtariTask("breakout", num_envs=2, total_steps=16)
    agent = PPO(
        encoder=FineTuned(build(Shape(patch=42))),
        actions=4,
        num_steps=8,
        num_minibatches=2,
        update_epochs=2,
    )
    task.attach(agent)
    return list(task.experience)


def updated(adapted: Adapted, batches: list[Samples]) -> tuple[PPO, set[str]]:
    """A real agent that has learnt from `batches`, and what of its state they moved."""
    agent = PPO(encoder=adapted, actions=4, hidden=8)
    before = copy.deepcopy(agent.state_dict())
    optimiser = torch.optim.Adam(learning(agent), lr=0.01)
    for batch in batches:
        optimiser.zero_grad()
        batch = batch._replace(obs=agent.observe(batch.obs))
        sum((agent.losses(batch) | adapted.penalties()).values()).backward()
        optimiser.step()
    after = agent.state_dict()
    return agent, {name for name, old in before.items() if not torch.equal(old, after[name])}


@pytest.mark.slow
@each_way
def test_held_weights_do_not_move_by_a_bit_and_the_rest_do(
    way: str, batches: list[Samples]
) -> None:
    """Gradients reach what was added to the first block."""
    agent, moved = updated(WAYS[way][0](build(Shape(patch=42))), batches)
    held = {name for name, weights in agent.named_parameters() if not weights.requires_grad}
    learns = {name for name, _ in agent.named_parameters() if name.startswith("extractor.")} - held
    assert not held & moved
    assert learns <= moved
    assert sum(name.startswith("extractor.encoder.encoder.") for name in held) > 3


@pytest.mark.slow
@pytest.mark.parametrize("name", ["nature_cnn", "sgi_resnet"])
def test_of_a_cnn_all_biases_learn_and_neither_weights_nor_statistics_move(
    name: str, batches: list[Samples]
) -> None:
    inner = build_cnn(name)
    for norm in inner.modules():
        if isinstance(norm, Norm):  # some start at 0, and the biases before them learn nothing
            torch.nn.init.ones_(norm.weight)
    agent, moved = updated(BitFit(inner), batches)
    extractor = {name for name in agent.state_dict() if name.startswith("extractor.")}
    assert moved & extractor == {name for name in extractor if name.endswith(".bias")}


def test_lora_is_the_encoder_with_the_products_in_its_weights() -> None:
    adapted, merged = stirred(LoRA(build(Shape(patch=28)), rank=4, alpha=8)), build(Shape(patch=28))
    with torch.no_grad():
        for number, block in enumerate(merged.vit.blocks):
            changes = [
                2 * (low.down[0] @ low.up[0]).T
                for low in adapted.modulators[3 * number : 3 * number + 3]
            ]
            block.attn.qkv.weight[:D] += changes[0]
            block.attn.qkv.weight[2 * D :] += changes[1]
            block.mlp.fc1.weight += changes[2]
    for ours, theirs in zip(adapted(screens()), merged.eval()(screens()), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-4)


def test_ia3_is_the_encoder_with_the_scales_in_its_weights() -> None:
    adapted, merged = stirred(IA3(build(Shape(patch=28)))), build(Shape(patch=28))
    with torch.no_grad():
        for block, attention, mlp in zip(
            merged.vit.blocks, adapted.modulators[::2], adapted.modulators[1::2], strict=True
        ):
            block.attn.qkv.weight[D:] *= attention.scale[0][:, None]
            block.attn.qkv.bias[D:] *= attention.scale[0]
            block.mlp.fc2.weight *= mlp.scale[0]
    for ours, theirs in zip(adapted(screens()), merged.eval()(screens()), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-4)


def test_each_matrix_of_lora_starts_by_its_own_inputs() -> None:
    for low in LoRA(build(Shape())).modulators:
        assert low.down.abs().max().item() == pytest.approx(D**-0.5, rel=0.01)


@each_way
def test_what_needs_a_vit_is_refused_in_one_line_for_a_cnn(way: str) -> None:
    if way == "biases":
        return
    with pytest.raises(UserError, match="take a ViT") as refused:
        WAYS[way][0](build_cnn("nature_cnn"))
    assert "\n" not in str(refused.value)


def test_more_blocks_than_there_are_is_refused() -> None:
    with pytest.raises(UserError, match="last_k 5 is more than the 4 blocks"):
        FineTuned(build(Shape(patch=42)), last_k=5)


def test_held_parts_stay_in_eval_mode() -> None:
    adapted = LoRA(build(Shape(patch=42)))
    outer = torch.nn.Sequential(adapted).train()
    assert adapted.training
    assert not any(module.training for module in adapted.encoder.modules())
    assert not any(module.training for module in outer.eval().modules())
    assert isinstance(adapted.encoder, ViT)
