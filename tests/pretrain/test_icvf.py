"""ICVF: goals are where they are said to be, the loss is as by hand, the teacher only follows."""

from __future__ import annotations

import pytest
import torch

from fovea.atari.frames import Frames
from fovea.pretrain.encoders.encoder import Features
from fovea.pretrain.encoders.vit import Shape
from fovea.pretrain.objectives.icvf import ICVF, icvf_loss
from fovea.seeding import Draws, Stream

SMALL = {"encoder": Shape(patch=42), "width": 16}
# Three episodes of 40, 30 and 50 screens.
EPISODE = torch.tensor([0] * 40 + [1] * 30 + [2] * 50)


FRAMES = Frames(
    screens=torch.zeros(120, 1, 1, dtype=torch.uint8),
    episode=EPISODE,
    game=torch.zeros(120, dtype=torch.int64),
    labels={},
    games=("pong",),
    anchor=torch.ones(120, dtype=torch.bool),
    data={},
)


def test_goals_are_now_later_or_any_anchor_and_no_stack_crosses_an_episode() -> None:
    at = torch.full((6000,), 45)
    places = ICVF(**SMALL).places(at, FRAMES, Draws(Stream.VIEWS, 0, 0, 6000, "cpu"))
    now, after, goal, intention = places.unbind(1)
    assert (now == 45).all()
    assert (after == 46).all()
    assert (EPISODE[goal - 3] == EPISODE[goal]).all()
    for chosen in (goal, intention):
        outside = (EPISODE[chosen] != 1) | (chosen < 45)
        assert abs(float((chosen == 45).float().mean()) - 0.2) < 0.04
        assert abs(float(outside.float().mean()) - 0.3 * (1 - 24 / 108)) < 0.04
        assert set(range(46, 70)) <= set(chosen.tolist())
    # Half of the samples want what is valued; a few others happen to.
    assert 0.5 < float((goal == intention).float().mean()) < 0.62


def test_the_last_screen_of_an_episode_has_no_later_one_but_its_next() -> None:
    """Anchors end a step before their episode: s' must be there, and is the only later goal."""
    at = torch.full((500,), 68)
    goal = ICVF(**SMALL).places(at, FRAMES, Draws(Stream.VIEWS, 0, 0, 500, "cpu"))[:, 2]
    assert int(goal[EPISODE[goal] == 1].max()) == 69


def test_loss_by_hand() -> None:
    """One sample; V = -2 and -3, targets -1 + 0.5 * -4 = -3 and -1 + 0.5 * -2 = -2."""
    column = lambda *values: torch.tensor(values)[:, None]  # noqa: E731
    settings = {"rewards": (torch.tensor([-1.0]),) * 2, "masks": (torch.ones(1),) * 2,
                "expectile": 0.9, "discount": 0.5}  # fmt: skip
    now, ahead, wanted = column(-2.0, -3.0), column(-4.0, -2.0), column(-4.0, -2.0)
    # Advantage: -1 + 0.5 * -4 - (-3) = 0, so the weight is the expectile.
    loss, advantage = icvf_loss(now, ahead, wanted, column(-3.0, -3.0), **settings)
    assert advantage == 0
    assert loss == pytest.approx(0.9 * (1 + 1))
    loss, advantage = icvf_loss(now, ahead, wanted, column(-2.0, -2.0), **settings)
    assert advantage == -1
    assert loss == pytest.approx(0.1 * (1 + 1))


def test_the_teacher_follows_and_no_gradient_reaches_it() -> None:
    objective = ICVF(momentum=0.75, **SMALL)
    windows = torch.randint(0, 256, (8, 4, 4, 84, 84)).to(torch.uint8)
    place = torch.arange(32).view(8, 4)
    views = objective.views(windows, Draws(Stream.VIEWS, 0, 0, 8, "cpu"), place=place)
    objective.losses(*views)["value"].backward()
    assert all(p.grad is None for p in objective.teacher.parameters())
    assert all(p.grad is None for p in objective.teacher_values.parameters())
    weight, position = objective.encoder.vit.pos_embed, objective.teacher.vit.pos_embed
    assert weight.grad.abs().sum() > 0
    before = position.clone()
    with torch.no_grad():
        weight += 1
    objective.after_optimizer_step()
    torch.testing.assert_close(position, before + 0.25)


def test_whether_now_is_the_goal_is_told_by_its_place() -> None:
    objective = ICVF(**SMALL)
    windows = torch.zeros(2, 4, 4, 84, 84, dtype=torch.uint8)
    place = torch.tensor([[5, 6, 5, 9], [5, 6, 6, 5]])
    *_, at_goal, at_intention = objective.views(
        windows, Draws(Stream.VIEWS, 0, 0, 2, "cpu"), place=place
    )
    assert at_goal.tolist() == [1, 0]
    assert at_intention.tolist() == [0, 1]


@pytest.mark.slow
def test_values_become_discounted_distances() -> None:
    """In a chain of screens 0 to 3, each its own feature, a goal d steps ahead is worth
    -(1 + 0.5 + ... + 0.5 ** (d - 1)), whatever is wanted."""
    objective = ICVF(discount=0.5, momentum=0.7, **SMALL)
    which = torch.eye(objective.encoder.dim)

    def encode(*views: torch.Tensor, by=None) -> list[Features]:
        return [Features(which[view], which[view][:, None]) for view in views]

    objective.encode = encode
    now, goal, wanted = torch.cartesian_prod(*[torch.arange(4)] * 3).unbind(1)
    views = now, now + 1, goal, wanted, (now == goal).float(), (now == wanted).float()
    optimiser = torch.optim.Adam(objective.values.parameters(), lr=1e-2)
    for _ in range(120):
        optimiser.zero_grad()
        objective.losses(*views)["value"].backward()
        optimiser.step()
        objective.after_optimizer_step()
    states = [objective.state(features) for features in encode(now, goal, wanted)]
    value = objective.values(*objective.values.read(states)).detach()
    ahead = goal >= now
    distance = (goal - now)[ahead]
    worth = -(1 - 0.5**distance) / (1 - 0.5)
    assert (value[:, ahead] - worth).abs().mean() < 0.1
