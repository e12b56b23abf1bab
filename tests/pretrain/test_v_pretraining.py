"""V-Pretraining: arms are valued by the cosine of gradients, drawn by it, and teach alone."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from fovea.command import UserError
from fovea.pretrain.encoders.vit import Shape
from fovea.pretrain.objectives.v_pretraining import RATE, VPretraining, gradient
from fovea.seeding import Draws, Stream

ARMS = [
    {"augment_first": [{"name": "intensity"}]},
    {"augment_first": [{"name": "cut_out", "grey": 0}], "covariance": 4.0},
]
GAME = torch.tensor([0, 0, 0, 1, 1, 1, 0, 1])


def made(**settings: object) -> VPretraining:
    return VPretraining(**{"arms": ARMS, "encoder": Shape(patch=42), "expander": 8} | settings)


def batch(objective: VPretraining, seed: int = 0, world: int = 1) -> tuple:
    generator = torch.Generator().manual_seed(seed)
    windows = torch.randint(0, 256, (8, 1, 4, 84, 84), generator=generator).byte()
    draws = Draws(Stream.VIEWS, 0, 0, 8, "cpu", world=world)
    action = torch.randint(0, 4, (8, 1), generator=generator)
    reward = torch.tensor([0.0, 4, -1, 0, 1, 0, 0, -3])[:, None]
    return objective.views(windows, draws, GAME[:, None], action, reward)


def test_a_gradient_is_one_vector() -> None:
    weights = [nn.Parameter(torch.tensor([2.0, 3.0])), nn.Parameter(torch.tensor(5.0))]
    found = gradient((weights[0] ** 2).sum(), weights)
    assert found.tolist() == [4, 6, 0]


def test_values_are_cosines_of_the_arms_and_the_tasks_gradients() -> None:
    objective = made(feedback="reward")
    screens, game, label, _, pairs = batch(objective)
    assert label.tolist() == [1, 2, 0, 1, 2, 1, 1, 0]
    assert pairs.keys() == {0, 1}
    (features,) = objective.encode(screens)
    task = objective.task_loss(objective.state(features), game, label)[1::2].mean()
    wanted = gradient(task, objective.compared())
    cosines = []
    for number, pair in pairs.items():
        loss = sum(objective.of_arm(number, pair, game).values())
        cosines.append(torch.cosine_similarity(gradient(loss, objective.compared()), wanted, dim=0))
    losses = objective.losses(*batch(objective))
    torch.testing.assert_close(objective.values, RATE * torch.stack(cosines), atol=1e-4, rtol=0)
    assert losses.keys() == {"invariance", "variance", "covariance"}
    expected = (objective.values / 0.1).softmax(0)
    torch.testing.assert_close(objective.chances, expected)
    assert {f"arm/{number}" for number in (0, 1)} <= objective.notes.keys()
    assert all(weight.grad is None for weight in objective.parameters())
    every = [weight for block in objective.encoder.vit.blocks[-2:] for weight in block.parameters()]
    assert len(objective.compared()) == len(every) + 2


def test_the_task_learns_by_itself_and_the_encoder_nothing_from_it() -> None:
    objective = made().eval()  # no step that values arms
    losses = objective.losses(*batch(objective))
    losses["task"].backward()
    assert objective.task.weight.grad.abs().sum() > 0
    assert all(weight.grad is None for weight in objective.encoder.parameters())
    assert objective.values.tolist() == [0, 0]


def test_controls_have_no_task() -> None:
    uniform = made(feedback="uniform")
    assert not uniform.due
    assert len(batch(uniform)[4]) == 1
    assert uniform.losses(*batch(uniform)).keys() == {"invariance", "variance", "covariance"}
    assert uniform.chances.tolist() == [0.5, 0.5]
    noise = made(feedback="random")
    noise.losses(*batch(noise))
    assert 0 < noise.values.abs().max() < 0.05 * RATE  # of so many numbers hardly any
    first = noise.values.clone()
    again = made(feedback="random")
    again.losses(*batch(again))
    torch.testing.assert_close(again.values, first)


def test_an_arm_is_drawn_by_its_chance_and_the_first_where_nothing_is_learnt() -> None:
    objective = made()
    objective.values.copy_(torch.tensor([0.0, 10.0]))
    assert objective.draw() == 1
    objective.eval()
    assert objective.draw() == 0
    assert objective.arms[0]["covariance"] == 1
    assert objective.arms[1]["covariance"] == 4
    assert objective.arms[1]["augment_second"] == []


def test_arms_with_other_settings_and_a_single_one_are_refused() -> None:
    with pytest.raises(UserError, match="an arm has no 'augment_frist': did you mean 'augment_fi"):
        made(arms=[{"augment_frist": []}, {}])
    with pytest.raises(UserError, match="1 arms leave nothing to choose"):
        made(arms=[{}])
    with pytest.raises(UserError, match="did you mean 'shift'"):
        made(arms=[{"augment_first": [{"name": "shfit"}]}, {}])


def test_several_ranks_are_refused() -> None:
    with pytest.raises(UserError, match=r"values arms on one device: set trainer.devices to 1"):
        batch(made(), world=2)
