"""Order, distance and straightness of features whose path in time is known."""

from __future__ import annotations

import math

import pytest
import torch

from fovea import by_episode
from fovea.pretrain.encoders.vit import ViT
from fovea.probes import temporal
from fovea.probes.features import NotMeasured, Splits
from fovea.probes.temporal import Moments
from fovea.probes.temporal_order import Orders, trained
from fovea.seeding import Stream, keyed


def test_straightness_by_hand() -> None:
    # Straight on, back to where it was, and a right angle; what stands still is left out.
    path = torch.tensor(
        [[[0.0, 0.0], [1.0, 0.0], [3.0, 0.0]], [[0, 0], [1, 0], [0, 0]], [[0, 0], [1, 0], [1, 5]]]
    )
    assert temporal.straightness(path) == pytest.approx((1 - 1 + 0) / 3)
    still = torch.cat([path[:1], torch.zeros(1, 3, 2)])
    assert temporal.straightness(still) == pytest.approx(1)
    assert math.isnan(temporal.straightness(torch.ones(2, 3, 2)))
    noise = torch.randn(4000, 3, 50, generator=torch.Generator().manual_seed(0))
    assert temporal.straightness(noise) == pytest.approx(-0.5, abs=0.01)


def paths(count: int, seed: int, told: bool) -> Moments:
    """A place that moves at a speed of either sign; features tell the speed, or only the place."""
    generator = torch.Generator().manual_seed(seed)
    start, speed = torch.randn(2, count, 1, 1, generator=generator)
    speed = speed.sign() * (0.5 + speed.abs())
    distance = torch.tensor(temporal.DISTANCES)[torch.arange(count) % 6]
    place = start + speed * torch.tensor([-1.0, 0.0, 1.0])[:, None]
    later = place[:, 1] + distance[:, None].double().log2().float()
    speed = speed if told else torch.zeros_like(speed)
    return Moments(
        torch.arange(count) // 10,
        torch.cat([place, speed.expand_as(place)], dim=2),
        torch.cat([later, speed[:, 0]], dim=1),
        distance,
    )


@pytest.mark.slow
@pytest.mark.parametrize("told", [True, pytest.param(False, marks=pytest.mark.evidence)])
def test_the_order_is_known_where_features_tell_place_and_speed(told: bool) -> None:
    splits = [paths(count, seed, told) for seed, count in enumerate((400, 100, 100))]
    six, two = temporal.order(*splits, seed=0)
    assert (six.shape, two.shape) == ((1, 10, 1 + 3 * 6), (1, 10, 1 + 3 * 2))
    of_six, of_two = (by_episode.whole(by_episode.accuracy, of)[0] for of in (six, two))
    if told:
        assert of_six > 0.95
        assert of_two > 0.95
    else:  # the middle one lies between the others, but which of these came first is a guess
        assert of_six == pytest.approx(0.5, abs=0.05)
        assert of_two == pytest.approx(0.5, abs=0.1)


def test_a_distance_in_the_features_is_read() -> None:
    parts = temporal.distance(*(paths(200, seed, True) for seed in range(3)))
    assert by_episode.whole(by_episode.r2, parts)[0] == pytest.approx(1, abs=0.01)


def test_moments_move_and_stay_in_their_episode(encoder: ViT, seen: dict[str, Splits]) -> None:
    frames = seen["pong"].training.frames
    generator = keyed("cpu", Stream.PROBE_TRIPLES, 0, 0)
    found = temporal.moments(encoder, frames, 12, generator)
    assert found.three.shape == (12, 3, 24)
    assert found.later.shape == (12, 24)
    assert set(found.distance.tolist()) == set(temporal.DISTANCES)
    with pytest.raises(NotMeasured, match="too short, or nothing moves"):
        temporal.moments(encoder, frames._take(slice(0, 30), frames.anchor), 12, generator)


@pytest.mark.evidence
def test_the_probe_is_a_function_of_its_seed(encoder: ViT, seen: dict[str, Splits]) -> None:
    of = {"pong": seen["pong"]}
    first, second = (temporal.probe(encoder, of, seed=1) for _ in range(2))
    assert first.tables == second.tables
    order, time = first.tables
    assert [row[:2] for row in order.rows] == [["pong", task] for task in temporal.TASKS]
    assert all(0 <= row[2] <= 1 for row in order.rows)
    assert -1 <= time.rows[0][3] <= 1


@pytest.mark.evidence
def test_an_untold_order_is_chance() -> None:
    three = torch.zeros(20, 3, 4)
    logits = trained(Orders.of(three), three, three, seed=0).logits(three)
    assert torch.equal(logits[:, :1].expand_as(logits), logits)
