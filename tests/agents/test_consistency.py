"""PPO with augmented views: the consistency losses by hand, their draws, and what is refused."""

from __future__ import annotations

from math import log

import pytest
import torch

from fovea.agents.adaptation.base import FineTuned, Frozen
from fovea.agents.algorithms.consistency import disagreement, divergence, views
from fovea.agents.algorithms.dqn import DQN
from fovea.agents.algorithms.ppo import PPO
from fovea.agents.experience.on_policy import Samples
from fovea.agents.experience.replay import Transitions
from fovea.command import UserError
from fovea.pretrain.encoders.cnn import build_cnn
from fovea.pretrain.encoders.read_out import ReadOut
from fovea.seeding import Draws, Stream

CHAINS = [[{"name": "shift", "pixels": 4}], [{"name": "cut_out"}, {"name": "render"}]]


def screens(count: int = 4) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (count, 4, 84, 84), generator=generator).to(torch.uint8)


def test_the_worst_view_counts_and_the_clean_one_is_the_truth() -> None:
    """One state, two actions alike; views that say 3/4 and 9/10; values 1, and 0 and 3."""
    clean = torch.tensor([[0.5, 0.5]]).log().requires_grad_()
    views = torch.tensor([[0.75, 0.25], [0.9, 0.1]]).log().requires_grad_()
    value, values = torch.tensor([1.0], requires_grad=True), torch.tensor([0.0, 3.0])
    policy, difference = disagreement(clean, views, value, values)
    assert policy.item() == pytest.approx(0.5 * log(0.5 / 0.9) + 0.5 * log(0.5 / 0.1))
    assert difference.item() == pytest.approx((1 + 4) / 2)
    (policy + difference).sum().backward()
    assert clean.grad is None
    assert value.grad is None
    assert views.grad[0].tolist() == [0, 0]
    assert views.grad[1].tolist() == [-0.5, -0.5]


def test_views_are_a_function_of_the_seed_and_the_step() -> None:
    drawn = [views(screens(), CHAINS, Draws(Stream.VIEWS, 0, step, 4, "cpu")) for step in (3, 3, 4)]
    assert drawn[0].shape == (8, 4, 84, 84)
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])
    assert not any(torch.equal(one, other) for one in drawn[0] for other in screens())


def batch(count: int = 4) -> Samples:
    some = torch.linspace(0.1, 0.5, count)
    return Samples(screens(count), torch.zeros(count).long(), some.log(), some, some - 0.2, some)


def agent(**settings) -> PPO:
    encoder = FineTuned(build_cnn("nature_cnn_orthogonal"))
    return PPO(encoder=encoder, actions=3, features=ReadOut("tokens"), hidden=8, **settings)


def test_without_augmentations_nothing_is_added_and_with_them_only_two_terms() -> None:
    plain = agent().losses(batch())
    assert plain.keys() == {"policy", "value", "entropy"}
    same = agent(augmentations=[[{"name": "shift", "pixels": 0}]]).losses(batch())
    assert same["consistency"].item() == pytest.approx(0, abs=1e-6)
    assert same["consistency_value"].item() == pytest.approx(0, abs=1e-6)
    augmented = agent(augmentations=CHAINS, consistency_coef=0.5).losses(batch())
    assert augmented.keys() - plain.keys() == {"consistency", "consistency_value"}
    assert all(torch.equal(augmented[name], plain[name]) for name in plain)
    assert augmented["consistency"] > 0
    assert augmented["consistency_value"] > 0
    twice = agent(augmentations=CHAINS, consistency_coef=1.0).losses(batch())
    torch.testing.assert_close(twice["consistency"], 2 * augmented["consistency"])
    better = agent(augmentations=CHAINS, consistency_coef=0.5, positive_advantage_only=True)
    lost = better.losses(batch()._replace(advantage=-torch.arange(1.0, 5)))
    assert lost["consistency"].item() == 0
    assert better.losses(batch())["consistency"] > 0


def test_a_frozen_encoder_leaves_no_screens_and_unknown_augmentations_are_named() -> None:
    with pytest.raises(UserError, match="augmentations need screens"):
        PPO(encoder=Frozen(build_cnn("nature_cnn")), actions=3, augmentations=CHAINS)
    with pytest.raises(UserError, match="did you mean 'shift'"):
        agent(augmentations=[[{"name": "shiftt"}]])


def test_the_surrogate_of_a_view_is_that_of_the_clean_screens_where_nothing_is_augmented() -> None:
    """And with the better actions alone, the mean over all of what is left of them."""
    still = {"augmentations": [[{"name": "shift", "pixels": 0}]] * 2, "view_coef": 0.5}
    taken = batch()
    every = agent(**still).losses(taken)
    torch.testing.assert_close(every["view"], 0.5 * every["policy"])
    better = agent(**still, positive_advantage_only=True).losses(taken)["view"]
    ppo = agent(**still)
    logp, _ = ppo.policy_and_value(taken.obs)
    ratio = (logp.gather(1, taken.action[:, None])[:, 0] - taken.logp).exp()
    part = ppo.surrogate(ratio, taken)[taken.advantage > 0].sum() / 4
    torch.testing.assert_close(better, -0.5 * part)


def test_of_values_the_policy_is_their_softmax() -> None:
    """Values of 0 and tau log 3 are chances of 1/4 and 3/4; the worst view has 1/2 for each."""
    eyes = FineTuned(build_cnn("nature_cnn_orthogonal"))
    asked = {"augmentations": CHAINS, "consistency_coef": 0.5, "consistency_tau": 0.2}
    dqn = DQN(eyes, 3, features=ReadOut("tokens"), hidden=8, **asked)
    none = torch.zeros(4)
    steps = Transitions(screens(), none.long(), none, none, screens())
    losses = dqn.losses(steps)
    assert losses.keys() == {"td", "consistency"}
    drawn = views(steps.obs, CHAINS, Draws(Stream.CONSISTENCY, 0, 0, 4, "cpu"))
    clean, seen = ((dqn.q_values(of) / 0.2).log_softmax(1) for of in (steps.obs, drawn))
    torch.testing.assert_close(losses["consistency"], 0.5 * divergence(clean, seen).mean())
    assert losses["consistency"] > 0
    values = torch.tensor([[0.0, 0.2 * log(3)], [0.0, 0.0], [0.0, 0.2 * log(3)]])
    clean, other, same = (values / 0.2).log_softmax(1)
    worst = divergence(clean[None], torch.stack([other, same]))
    assert worst.item() == pytest.approx(0.25 * log(0.25 / 0.5) + 0.75 * log(0.75 / 0.5))
    # Nothing counts where the replayed action is no better than the policy.
    value = dqn.q_values(steps.obs)
    dqn.positive_advantage_only = True
    worst_action = steps._replace(action=value.argmin(dim=1))
    assert dqn.losses(worst_action)["consistency"].item() == 0
    best_action = steps._replace(action=value.argmax(dim=1))
    torch.testing.assert_close(dqn.losses(best_action)["consistency"], losses["consistency"])
    with pytest.raises(UserError, match="augmentations need screens"):
        DQN(Frozen(build_cnn("nature_cnn")), 3, augmentations=CHAINS)
