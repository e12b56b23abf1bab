"""Take-off, area and aligned curves, by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fovea.analysis import learning
from fovea.metrics import WINDOW, Curve


def curve(steps: list[int], values: list[float]) -> Curve:
    return Curve(np.array(steps, np.int64), np.array(values, float))


def test_a_score_is_a_return_of_the_games_table() -> None:
    assert learning.raw_return("pong", 0.1) == pytest.approx(-20.7 + 3.53)
    assert np.isnan(learning.raw_return("nowhere", 0.1))


def test_an_agent_takes_off_where_the_mean_of_whole_windows_passes() -> None:
    # 20 episodes at -21, then at -11: after k of them the mean is -21 + k / 2.
    values = [-21.0] * WINDOW + [-11.0] * WINDOW
    returns = curve([100 * (k + 1) for k in range(2 * WINDOW)], values)
    assert learning.take_off(returns, -17.0) == 100 * (WINDOW + 8)
    assert np.isnan(learning.take_off(returns, -10.0))
    assert learning.take_off(returns, -21.0) == 100 * WINDOW
    # One lucky episode at the start is no take-off, nor are too few episodes.
    lucky = curve([10, 20, 30], [9.0, 0.0, 0.0])
    assert np.isnan(learning.take_off(lucky, 1.0))
    assert np.isnan(learning.take_off(curve([], []), 1.0))


def test_the_area_weighs_each_return_with_the_steps_that_it_took() -> None:
    # -20 for 10 steps, 10 for 30, and for the 60 steps after the last episode.
    returns = curve([10, 40], [-20.0, 10.0])
    assert learning.area(returns, 100) == pytest.approx((-20 * 10 + 10 * 90) / 100)
    assert learning.area(returns, 0) == pytest.approx((-20 * 10 + 10 * 30) / 40)
    assert learning.area(curve([10, 20, 40], [-20.0, np.nan, 10.0]), 100) == pytest.approx(7)
    assert np.isnan(learning.area(curve([], []), 100))


@given(
    st.lists(st.floats(-30, 30), min_size=1, max_size=50), st.integers(0, 90), st.floats(-30, 30)
)
def test_the_area_lies_among_the_returns_and_take_off_is_an_episodes_end(
    values: list[float], rest: int, threshold: float
) -> None:
    returns = curve(list(range(7, 7 + 3 * len(values), 3)), values)
    area = learning.area(returns, int(returns.steps[-1]) + rest)
    assert min(values) - 1e-9 <= area <= max(values) + 1e-9
    found = learning.take_off(returns, threshold)
    assert np.isnan(found) or found in returns.steps[WINDOW - 1 :]


def test_curves_are_aligned_at_the_steps_that_all_runs_have() -> None:
    steps, values = learning.aligned([curve([0, 100], [0.0, 2.0]), curve([50, 150], [4.0, 4.0])])
    assert (steps[0], steps[-1]) == (50, 100)
    assert values[:, [0, -1]].tolist() == [[1.0, 2.0], [4.0, 4.0]]
    steps, values = learning.aligned([curve([5], [3.0])])
    assert (steps.tolist(), values.tolist()) == ([5], [[3.0]])
