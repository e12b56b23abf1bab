"""Scores of episodes that are drawn again, against numbers worked by hand and plain formulas."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fovea import by_episode
from fovea.by_episode import STATISTICS, resampled
from fovea.tables import Table

ONCE = np.ones((1, 2))


def test_r2_of_two_episodes_by_hand() -> None:
    # Labels 1, 2 | 3: mean 2, variance 2/3, squared errors 0, 0.25 | 0. Of the first episode alone
    # the mean is 0.125, of the second none; the variance stays.
    parts = by_episode.errors([7, 7, 9], [[1], [2], [3]], [[1.0], [2.5], [3.0]])
    assert parts.shape == (1, 2, 4)
    scores = by_episode.r2(parts, np.array([[1, 1], [2, 0], [0, 2]]))[:, 0]
    assert scores == pytest.approx([1 - 0.25 / 2, 1 - 0.125 / (2 / 3), 1])
    assert np.isnan(by_episode.r2(by_episode.errors([1, 2], [[5], [5]], [[4], [6]]), ONCE)).all()


def test_f1_and_accuracy_by_hand() -> None:
    # Class 0: 2 hits, 2 true, 3 claimed, F1 4/5. 1: 1, 2, 1, F1 2/3. 2: claimed once, 4: missed.
    truth, claimed = np.array([0, 0, 1, 1, 4]), np.array([0, 0, 0, 1, 2])
    parts = by_episode.classes([3, 3, 3, 5, 5], truth, claimed, 6)
    assert by_episode.macro_f1(parts, ONCE)[0, 0] == pytest.approx((0.8 + 2 / 3 + 0 + 0) / 4)
    assert by_episode.weighted_f1(parts, ONCE)[0, 0] == pytest.approx((2 * 0.8 + 2 * 2 / 3) / 5)
    assert by_episode.accuracy(parts, ONCE)[0, 0] == pytest.approx(3 / 5)
    assert by_episode.accuracy(parts, np.array([[0, 1]]))[0, 0] == pytest.approx(1 / 2)
    rewarded = by_episode.positives([3, 3, 3, 5, 5], truth > 0, claimed > 0)
    assert by_episode.f1(rewarded, ONCE)[0, 0] == pytest.approx(2 * 2 / (3 + 2))
    assert by_episode.f1(rewarded, np.array([[1, 0]]))[0, 0] == 0


scored = st.lists(
    st.tuples(st.integers(0, 2), st.booleans(), st.integers(0, 5)), min_size=1, max_size=30
)


@settings(max_examples=30)
@given(scored, st.lists(st.integers(0, 3), min_size=3, max_size=3))
def test_auroc_is_the_share_of_pairs_in_order(screens: list, often: list[int]) -> None:
    episode, truth, score = map(np.array, zip(*screens, strict=True))
    present = np.unique(episode)
    weights = np.array(often)[present]
    found = by_episode.auroc(by_episode.pairs(episode, truth, score), weights[None])[0, 0]
    again = np.repeat(np.arange(len(screens)), np.array(often)[episode])
    positive, negative = score[again][truth[again]], score[again][~truth[again]]
    if not len(positive) or not len(negative):
        assert np.isnan(found)
    else:
        above = positive[:, None] - negative
        assert found == pytest.approx(((above > 0) + 0.5 * (above == 0)).mean())


def test_intervals_are_those_of_screens_drawn_again() -> None:
    """The arithmetic on parts is what a bootstrap of the screens themselves gives."""
    rng = np.random.default_rng(0)
    episode = np.repeat(np.arange(12), 9)
    truth = rng.normal(size=(108, 2)) + episode[:, None] / 6
    predicted = truth + rng.normal(size=(108, 2))
    table = Table("t", columns=["game", "r2"], rows=[["pong", 0.0], ["pong", 0.0]])
    scores = resampled(table, by_episode.errors(episode, truth, predicted), "r2", 50)
    assert scores.shape == (51, 2)
    for draw, often in enumerate(by_episode.drawn("pong", 12, 50, 0)):
        again = np.repeat(np.arange(108), often[episode])
        error = (truth - predicted)[again]
        expected = 1 - (error**2).mean(0) / truth.var(0)
        assert scores[1 + draw] == pytest.approx(expected)
    low, high = by_episode.interval(scores[:, 0])
    assert low < scores[0, 0] < high


def test_few_episodes_have_no_interval_and_games_of_other_sizes_stand_side_by_side() -> None:
    rng = np.random.default_rng(0)

    def of_game(episodes: int) -> np.ndarray:
        score, truth = rng.random(10 * episodes), rng.random(10 * episodes) < 0.5
        return by_episode.pairs(np.repeat(np.arange(episodes), 10), truth, score)

    few, many = of_game(3), of_game(8)
    table = Table("t", columns=["game", "auroc"], rows=[["pong", 0.0], ["breakout", 0.0]])
    scores = resampled(table, by_episode.stacked([few, many]), "auroc", 20)
    assert scores[0, 0] == pytest.approx(by_episode.auroc(few, np.ones((1, 3)))[0, 0])
    assert scores[0, 1] == pytest.approx(by_episode.auroc(many, np.ones((1, 8)))[0, 0])
    assert np.isnan(scores[1:, 0]).all()
    assert np.isfinite(scores[1:, 1]).all()
    assert np.isnan(by_episode.interval(scores[:, 0])).all()

    # Games have other numbers of actions, too.
    two = by_episode.classes(np.arange(6), np.array([0, 1, 0, 1, 0, 1]), np.array([0] * 6), 2)
    four = by_episode.classes(np.arange(6), np.array([0, 1, 2, 3, 0, 1]), np.arange(6) % 4, 4)
    side_by_side = by_episode.stacked([two, four])
    for score in (by_episode.macro_f1, by_episode.weighted_f1, by_episode.accuracy):
        alone = [score(of, np.ones((1, 6)))[0, 0] for of in (two, four)]
        assert score(side_by_side, np.ones((1, 6)))[0] == pytest.approx(alone)


def test_every_statistic_has_the_parts_that_it_names() -> None:
    for name, statistic in STATISTICS.items():
        assert callable(getattr(by_episode, statistic.kind)), name
