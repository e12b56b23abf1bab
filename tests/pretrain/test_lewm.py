"""LeWM: SIGReg by its authors' numbers and in closed form, the predictor, and its views."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from fovea.atari.games import ACTIONS
from fovea.pretrain.encoders.multi_query import MultiQueryShape
from fovea.pretrain.encoders.vit import Shape
from fovea.pretrain.objectives.lewm import LeWM
from fovea.pretrain.terms.dynamics import Dynamics
from fovea.pretrain.terms.sigreg import sigreg
from fovea.seeding import Draws, Stream

SMALL = {"encoder": Shape(patch=42, stack=1), "projector": 8, "out": 6, "depth": 2, "heads": 2,
         "head_dim": 4, "width": 8, "slices": 16}  # fmt: skip
ONE = torch.zeros(5, dtype=torch.int64)


def embeddings() -> tuple[Tensor, Tensor]:
    """Two moments of five samples of width 3, and four directions."""
    x = 1.5 * torch.sin(torch.arange(2 * 5 * 3, dtype=torch.float64) ** 2).view(2, 5, 3)
    return x, 0.1 + torch.cos(0.7 * torch.arange(3 * 4, dtype=torch.float64)).view(3, 4)


def test_sigreg_has_its_authors_value() -> None:
    # Of the module SIGReg of github.com/lucas-maes/le-wm, in float64, with these directions.
    assert sigreg(*embeddings(), ONE).item() == pytest.approx(0.9795914364963204, rel=1e-12)


@pytest.mark.parametrize("kind", ["normal", "uniform", "one point"])
def test_sigreg_is_the_statistic_of_epps_and_pulley(kind: str) -> None:
    """In closed form the integral is over all t, and ours ends at 3: a difference of 2 %."""
    generator = torch.Generator().manual_seed(0)
    x = {
        "normal": torch.randn(400, generator=generator),
        "uniform": 2 * torch.rand(400, generator=generator),
        "one point": torch.zeros(400),
    }[kind].double()
    pairs = torch.exp(-((x[:, None] - x[None]) ** 2) / 2).sum() / 400
    statistic = pairs - math.sqrt(2) * torch.exp(-(x**2) / 4).sum() + 400 / math.sqrt(3)
    ours = sigreg(x[None, :, None], torch.ones(1, 1).double(), ONE[:1].expand(400))
    assert ours.item() / math.sqrt(2 * math.pi) == pytest.approx(statistic.item(), rel=0.025)


def test_each_game_is_compared_by_itself() -> None:
    x, directions = embeddings()
    game = torch.tensor([0, 7, 0, 7, 7])
    alone = [sigreg(x[:, game == one], directions, ONE[game == one]) for one in (0, 7)]
    together = sigreg(x, directions, game)
    torch.testing.assert_close(together, (2 * alone[0] + 3 * alone[1]) / 5)


def test_sigreg_spreads_what_lies_at_one_point() -> None:
    generator = torch.Generator().manual_seed(0)
    x = (0.01 * torch.randn(1, 64, 4, generator=generator)).requires_grad_()
    game, optimiser = torch.arange(64) % 2, torch.optim.Adam([x], lr=0.1)
    for _ in range(60):
        loss = sigreg(x, torch.randn(4, 32, generator=generator), game)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    for one in (0, 1):
        spread = torch.cov(x.detach()[0, game == one].T)
        torch.testing.assert_close(spread.diagonal().mean(), torch.tensor(1.0), atol=0.25, rtol=0)
        assert (spread - torch.diag(spread.diagonal())).abs().max() < 0.35


def awake(dynamics: Dynamics) -> Dynamics:
    """With gates that are open, as training opens them."""
    for block in dynamics.blocks:
        torch.nn.init.normal_(block.modulation[-1].weight, std=0.3)
    return dynamics


def test_the_predictor_looks_at_the_past_alone() -> None:
    dynamics = awake(Dynamics(6, 5, history=3, depth=2, heads=2, head_dim=4, width=8))
    x, condition = torch.randn(2, 3, 6), torch.randn(2, 3, 5)
    before = dynamics(x, condition)
    for changed in (0, 1):
        inputs = [x.clone(), condition.clone()]
        inputs[changed][:, 1] += 1
        after = dynamics(*inputs)
        assert torch.equal(before[:, 0], after[:, 0])
        assert (before[:, 1:] != after[:, 1:]).any(-1).all()


def test_untrained_blocks_return_what_they_are_given() -> None:
    dynamics = Dynamics(6, 5, history=3, depth=2, heads=2, head_dim=4, width=8)
    x, condition = torch.randn(2, 3, 6), torch.randn(2, 3, 5)
    alone = dynamics.out(dynamics.norm(dynamics.into(x) + dynamics.positions.weight))
    assert torch.equal(dynamics(x, condition), alone)


def shown(objective: LeWM) -> tuple[Tensor, ...]:
    """The views of four samples of two games."""
    stack, count = objective.encoder.stack, len(objective.offsets)
    windows = torch.randint(0, 256, (4, count, stack, 84, 84)).to(torch.uint8)
    action, game = torch.arange(4 * count).view(4, count) % 6, torch.tensor([0, 0, 1, 1])
    draws = Draws(Stream.VIEWS, 0, 0, 4, "cpu")
    return windows, action, *objective.views(windows, draws, action, game[:, None])


@pytest.mark.parametrize("stack", [1, 4])
def test_a_clip_has_the_actions_between_its_windows(stack: int) -> None:
    objective = LeWM(clip=3, gap=2, **SMALL | {"encoder": Shape(patch=42, stack=stack)})
    windows, action, directions, between, game, *clip = shown(objective)
    assert objective.offsets == (0, 1, 2, 3, 4)
    assert directions.shape == (6, 16)
    assert [torch.equal(one, windows[:, 2 * t]) for t, one in enumerate(clip)] == [True] * 3
    assert torch.equal(between, action[:, :4].view(4, 2, 2))
    losses = objective.losses(directions, between, game, *clip)
    assert losses.keys() == {"prediction", "sigreg", "inverse"}


def test_losses_are_those_of_its_parts() -> None:
    objective = LeWM(clip=3, gap=2, sigreg_weight=0.5, inverse_weight=0.25, **SMALL)
    _, _, directions, action, game, *clip = shown(objective)
    losses = objective.losses(directions, action, game, *clip)
    states = torch.stack([objective.state(one) for one in objective.encode(*clip)], 1)
    z = objective.projector(states.flatten(0, 1)).unflatten(0, (4, 3))
    condition = objective.actions(game[:, None, None] * ACTIONS + action).flatten(2)
    predicted = objective.dynamics(z[:, :2], condition).flatten(0, 1)
    predicted = objective.prediction_projector(predicted).unflatten(0, (4, 2))
    torch.testing.assert_close(losses["prediction"], (predicted - z[:, 1:]).pow(2).mean())
    torch.testing.assert_close(losses["sigreg"], 0.5 * sigreg(z.transpose(0, 1), directions, game))
    pairs = z[:, :2].flatten(0, 1), z[:, 1:].flatten(0, 1), action.flatten(0, 1)
    inverse, _ = objective.inverse_task(*pairs, game.repeat_interleave(2))
    torch.testing.assert_close(losses["inverse"], 0.25 * inverse)


def test_targets_learn_too_and_the_read_out_with_them() -> None:
    shape = Shape(patch=42, stack=1, read_out=MultiQueryShape(queries=2, outputs=3))
    objective = LeWM(**SMALL | {"encoder": shape}, inverse_weight=0)
    directions, action, game, *clip = shown(objective)[2:]
    assert not [name for name, _ in objective.named_modules() if "teacher" in name]
    seen: list[Tensor] = []
    objective.projector.register_forward_hook(
        lambda _module, _inputs, output: (output.retain_grad(), seen.append(output))[0]
    )
    objective.losses(directions, action, game, *clip)["prediction"].backward()
    gradient = seen[0].grad.unflatten(0, (4, -1))
    assert (gradient[:, -1].abs().sum(-1) > 0).all()  # the last window is nothing but a target
    assert all(weight.grad.abs().sum() > 0 for weight in objective.encoder.read_out.parameters())
