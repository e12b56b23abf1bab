"""DPT: tasks are told from their context, in the loss and in play; games with permuted buttons."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fovea.agents.adaptation.base import Frozen
from fovea.agents.algorithms.dpt import DPT
from fovea.agents.disturbances import SUITE, environment
from fovea.agents.evaluation import evaluate
from fovea.agents.experience.replay import Transitions
from fovea.agents.task import AtariTask
from fovea.atari.env import Envs
from fovea.disturbances import Disturbance
from fovea.pretrain.encoders.encoder import Encoder, Features
from fovea.pretrain.encoders.read_out import ReadOut


class Given(Encoder):
    """Screens are their own features, of two pixels."""

    dim, grid, depth, stack, screen = 2, None, 0, 4, (84, 84)
    margin, input_size = (0, 0), (84, 84)

    def __init__(self):
        super().__init__()
        self.nothing = torch.nn.Parameter(torch.zeros(1), requires_grad=False)

    def forward(self, screens: torch.Tensor, blocks: tuple = ()) -> Features:
        summary = screens[:, -1, 0, :2].float()
        return Features(summary, summary[:, None])


def made(**settings: object) -> DPT:
    asked = {"context": 6, "batch_size": 16, "width": 16, "layers": 2, "heads": 2, "lr": 3e-3}
    return DPT("nowhere", Frozen(Given()), 3, features=ReadOut("cls"), **asked | settings)


def steps(dpt: DPT, seed: int) -> Transitions:
    """A world of one number: actions move it by -1, 0 and 1, and who is recorded returns to 0."""
    generator = torch.Generator().manual_seed(seed)
    count = dpt.batch_size * (dpt.context + 1)
    place = torch.randint(-3, 4, (count,), generator=generator).float()
    action = torch.randint(0, 3, (count,), generator=generator)
    action[: dpt.batch_size] = 1 - place[: dpt.batch_size].sign().long()
    seen = torch.stack([place, torch.ones(count)], dim=1)
    after = torch.stack([place + action - 1, torch.ones(count)], dim=1)
    return Transitions(seen, action, torch.zeros(count), torch.ones(count), after)


@pytest.mark.evidence
@pytest.mark.slow
def test_what_buttons_do_is_told_from_the_context() -> None:
    """Without it no better than chance; told from six steps nearly always right."""
    torch.manual_seed(0)
    dpt = made()
    optimiser = torch.optim.Adam(dpt.parameters(), lr=3e-3)
    for step in range(200):
        # The permutations of a batch are those of the number of the update.
        dpt.seed = step
        loss = dpt.losses(steps(dpt, step))["policy"]
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    found = [(dpt.losses(steps(dpt, 1000 + k)), dict(dpt.notes))[1] for k in range(10)]
    without, told = (
        float(torch.stack([one[name] for one in found]).mean())
        for name in ("accuracy_without", "accuracy")
    )
    assert without < 0.5
    assert told > 0.8


def test_a_prediction_sees_no_later_step_and_one_without_a_context_sees_none() -> None:
    dpt = made().eval()
    query, context = torch.randn(2, 2), torch.randn(2, 6, 16)
    logp = dpt.predict(query, context)
    assert logp.shape == (2, 7, 3)
    torch.testing.assert_close(logp.exp().sum(dim=2), torch.ones(2, 7))
    changed = context.clone()
    changed[:, 4:] = 9.0
    other = dpt.predict(query, changed)
    torch.testing.assert_close(other[:, :5], logp[:, :5])
    assert not torch.allclose(other[:, 5:], logp[:, 5:])
    alone = dpt.predict(query, dpt.no_steps(query))
    torch.testing.assert_close(alone[:, 0], logp[:, 0])


def test_the_context_grows_in_play_forgets_the_oldest_and_ends_with_its_episode() -> None:
    dpt = made(context=3).eval()
    dpt.begin_play(2)
    seen = [torch.tensor([[float(k), 1.0], [float(-k), 1.0]]) for k in range(6)]
    action, reward = torch.tensor([0, 2]), torch.tensor([0.0, 7.0])
    ended = torch.tensor([False, False])
    tokens = []
    for k in range(5):
        over = torch.tensor([False, k == 3])
        dpt.remember(seen[k], action, reward, seen[k + 1], over)
        tokens.append(dpt.encoded(seen[k], action, reward.clamp(-1, 1), seen[k + 1]))
        assert dpt.lengths.tolist() == [min(3, k + 1), (k + 1) % 4 if k != 2 else 3]
    torch.testing.assert_close(dpt.steps[0], torch.stack([one[0] for one in tokens[2:]]))
    torch.testing.assert_close(dpt.steps[1, 0], tokens[4][1])
    logp = dpt.predict(seen[5], dpt.steps)
    drawn = torch.stack([dpt.act(seen[5], torch.Generator().manual_seed(k)) for k in range(400)])
    for row, length in enumerate((3, 1)):
        shares = drawn[:, row].bincount(minlength=3) / 400
        torch.testing.assert_close(shares, logp[row, length].exp(), atol=0.1, rtol=0)
    assert not ended.any()


@pytest.mark.slow
def test_buttons_are_permuted_otherwise_in_every_episode() -> None:
    """Pressed through the permutation, the game is the one without it."""
    same = {"seed": 3, "noop_max": 3, "max_frames": 48, "sticky": 0.0}
    plain = Envs("breakout", 2, **same)
    envs = Envs("breakout", 2, **same, **environment([Disturbance.read("permuted:1")], 0))
    other = Envs("breakout", 2, **same, permuted=True)
    seen = set()
    for number, actions in enumerate(np.random.default_rng(0).integers(0, 4, (30, 2))):
        names = envs._buttons.argsort(axis=1)[np.arange(2), actions]
        seen |= {tuple(row) for row in envs._buttons.tolist()}
        assert np.array_equal(envs.step(names).screens, plain.step(actions).screens)
        if number == 16:
            other.load_state(envs.state())
            assert np.array_equal(other._buttons, envs._buttons)
    assert len(seen) > 3
    assert not any(name.startswith("permuted") for name in SUITE)


@pytest.mark.evidence
@pytest.mark.slow
def test_it_is_evaluated_with_what_it_remembers() -> None:
    task = AtariTask("pong", num_envs=2, total_steps=8)
    dpt = DPT("nowhere", Frozen("random:patches42"), task.action_count, features=ReadOut("mean"),
              context=4, width=8, layers=1, heads=1)  # fmt: skip
    returns = evaluate(dpt, task, episodes=2, num_envs=2, max_frames=80)
    assert len(returns) == 2
    assert dpt.steps.shape == (2, 4, 8)
    assert dpt.lengths.tolist() == [0, 0]  # both episodes have ended
