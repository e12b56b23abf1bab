"""The three numbers of a sequence on tables worked by hand, and what holds for all tables."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from fovea.agents.continual import metrics

NAN = float("nan")
SHARES = st.floats(0, 1)
TABLES = st.integers(1, 6).flatmap(lambda n: arrays(float, (n, n), elements=SHARES))


def test_the_numbers_of_a_table_worked_by_hand() -> None:
    scores = np.array([
        [0.8, 0.0, 0.1],
        [0.4, 0.6, 0.0],
        [0.2, 0.5, 0.9],
    ])  # fmt: skip
    assert metrics.average_performance(scores) == pytest.approx((0.2 + 0.5 + 0.9) / 3)
    assert metrics.forgetting(scores) == pytest.approx((0.6 + 0.1 + 0.0) / 3)
    areas, alone = np.array([0.5, 0.6, 0.1]), np.array([0.5, 0.2, 0.4])
    assert metrics.forward_transfer(areas, alone) == pytest.approx((0 + 0.5 - 0.5) / 3)


def test_a_game_without_a_number_is_left_out() -> None:
    scores = np.array([[0.8, NAN], [0.2, NAN]])
    assert metrics.average_performance(scores) == pytest.approx(0.2)
    assert metrics.forgetting(scores) == pytest.approx(0.6)
    assert metrics.forward_transfer(np.array([0.5, 0.9]), np.array([0.0, 1.0])) == 0.5
    assert np.isnan(metrics.forward_transfer(np.array([NAN]), np.array([0.0])))


def test_returns_are_normalised_between_the_random_agent_and_the_reference() -> None:
    low, high = np.array([-20.0, 2.0, 0.0]), np.array([20.0, 12.0, 0.0])
    found = metrics.normalised(np.array([[0.0, 14.0, 3.0], [-21.0, 7.0, 0.0]]), low, high)
    np.testing.assert_equal(found, [[0.5, 1.0, NAN], [0.0, 0.5, NAN]])


def test_the_area_is_the_time_weighted_mean_of_the_scores() -> None:
    ends, scores = np.array([10, 30]), np.array([0.0, 1.0])
    assert metrics.area(ends, scores, 40) == pytest.approx(30 / 40)
    assert np.isnan(metrics.area(np.array([]), np.array([]), 40))


@pytest.mark.slow
@given(TABLES)
def test_a_sequence_that_forgets_nothing_ends_where_each_game_ended(table: np.ndarray) -> None:
    kept = np.where(np.arange(len(table))[:, None] >= np.arange(len(table)), table[-1], table)
    assert metrics.forgetting(kept) == 0
    assert metrics.forgetting(table) == pytest.approx(
        np.diagonal(table).mean() - metrics.average_performance(table)
    )


@pytest.mark.slow
@given(st.lists(st.integers(1, 1000), min_size=1, unique=True), st.data())
def test_an_area_lies_between_the_lowest_and_the_highest_score(ends: list[int], data) -> None:
    scores = np.array(data.draw(st.lists(SHARES, min_size=len(ends), max_size=len(ends))))
    found = metrics.area(np.array(sorted(ends)), scores, 1000)
    assert scores.min() - 1e-9 <= found <= scores.max() + 1e-9
