"""The probe of rewards, on rewards that are known."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fovea.pretrain.encoders.vit import ViT
from fovea.probes import reward
from fovea.probes.features import NotMeasured, Splits
from fovea.probes.linear import Axes, Fit, logistic


def with_rewards(splits: Splits, reward_of) -> list:
    return [
        of._replace(frames=replace(of.frames, labels=of.frames.labels | {"reward": reward_of(of)}))
        for of in splits
    ]


def test_a_logistic_regression_is_the_optimum_of_its_loss() -> None:
    """Against torch's L-BFGS on the same loss, for the one penalty that is offered."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(200, 4, generator=generator, dtype=torch.float64)
    y = (x[:, 0] + torch.randn(200, generator=generator)) > 0.5
    axes = Axes.of(x)
    found = logistic(axes, Fit(x, y), Fit(x[:9], y[:9]), x, [0.05])
    z = axes.whiten(x).double()
    weight, bias = (torch.zeros(n, dtype=torch.float64, requires_grad=True) for n in (4, 1))
    lbfgs = torch.optim.LBFGS([weight, bias], max_iter=200, tolerance_grad=1e-10)

    def loss() -> torch.Tensor:
        lbfgs.zero_grad()
        odds = z @ weight + bias
        value = torch.nn.functional.binary_cross_entropy_with_logits(odds, y.double())
        value = value + 0.025 * weight.square().sum()
        value.backward()
        return value

    lbfgs.step(loss)
    torch.testing.assert_close(found, (z @ weight + bias).detach(), atol=1e-5, rtol=1e-5)


def test_separable_classes_do_not_run_away() -> None:
    x = torch.linspace(-1, 1, 40)[:, None]
    fit = Fit(x, x[:, 0] > 0.9)
    odds = logistic(Axes.of(x), fit, fit, x)
    assert odds.isfinite().all()
    assert (odds.diff() > 0).all()


scores = st.lists(st.tuples(st.booleans(), st.integers(0, 5)), min_size=1, max_size=20)


@settings(max_examples=30)
@given(scores)
def test_the_threshold_is_the_best_that_there_is(pairs: list[tuple[bool, int]]) -> None:
    truth, score = (torch.tensor(of) for of in zip(*pairs, strict=True))

    def f1(threshold: float) -> float:
        claimed = score >= threshold
        hits, both = (claimed & truth).sum(), claimed.sum() + truth.sum()
        return float(2 * hits / both) if both else 0.0

    best = reward.best_threshold(truth, score.double())
    assert f1(best) == pytest.approx(max(f1(float(s)) for s in score))


def test_a_reward_is_that_of_its_step(seen: dict[str, Splits]) -> None:
    numbered = with_rewards(seen["pong"], lambda of: torch.arange(len(of.frames)).float() % 3 - 1)
    test = numbered[2]
    assert torch.equal(reward.rewarded(test, 0), test.at % 3 != 1)
    assert torch.equal(reward.rewarded(test, 1), (test.at - 1) % 3 != 1)


def test_what_features_hold_is_read_for_its_step_alone(
    encoder: ViT, seen: dict[str, Splits]
) -> None:
    generator = torch.Generator().manual_seed(0)
    splits = with_rewards(
        seen["pong"], lambda of: (torch.rand(len(of.frames), generator=generator) < 0.3).float()
    )
    told = []
    for split in splits:
        last = reward.rewarded(split, 1)[:, None].float()
        told.append(split._replace(summary=last, mean_token=last[:, :0]))
    found = reward.probe(encoder, {"pong": Splits(*told)})
    following, last = found.tables[0].records()
    assert (following["step"], last["step"]) == ("next", "last")
    assert (last["f1"], last["auroc"]) == (1, 1)
    assert following["auroc"] < 0.7
    assert last["share"] == pytest.approx(0.3, abs=0.1)
    assert found.arrays["rewards/pairs"].shape[0] == 2


def test_a_game_without_rewards_is_left_out_and_the_others_go_on(
    encoder: ViT, seen: dict[str, Splits]
) -> None:
    none = Splits(*with_rewards(seen["pong"], lambda of: torch.zeros(len(of.frames))))
    with pytest.raises(NotMeasured, match="pong: no step of its training episodes brings a reward"):
        reward.probe(encoder, {"pong": none})
    every = Splits(*with_rewards(seen["breakout"], lambda of: torch.arange(len(of.frames)) % 2.0))
    found = reward.probe(encoder, {"pong": none, "breakout": every})
    assert {row[0] for row in found.tables[0].rows} == {"breakout"}
    assert found.left_out == ["pong: no step of its training episodes brings a reward"]
