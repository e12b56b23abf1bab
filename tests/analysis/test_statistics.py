from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from fovea.analysis import statistics

ORACLE = Path(__file__).parents[1] / "oracle.npz"

scores = arrays(
    float,
    st.tuples(st.integers(1, 6), st.integers(1, 6)),
    elements=st.floats(-10, 10, allow_subnormal=False),
)


@pytest.mark.parametrize("case", ["0", "1", "2"])
def test_the_statistics_are_those_of_rliable(case):
    with np.load(ORACLE) as oracle:
        case = {name: oracle[f"stats/{case}/{name}"] for name in CASE}
    x, y = case["scores_x"], case["scores_y"]
    for name in ("mean", "median", "iqm", "optimality_gap"):
        assert getattr(statistics, name)(x) == pytest.approx(case[name], rel=1e-9), name
    assert statistics.improvement(x, y) == pytest.approx(case["prob_improvement"], rel=1e-9)


CASE = ("scores_x", "scores_y", "mean", "median", "iqm", "optimality_gap", "prob_improvement")


def test_the_interquartile_mean_drops_a_quarter_at_either_end_of_all_scores_together():
    assert statistics.iqm([[0.0, 1.0], [2.0, 300.0]]) == 1.5
    # 5 scores: a quarter is 1.25, of which whole scores only are dropped
    assert statistics.iqm([[-100.0], [1.0], [2.0], [3.0], [100.0]]) == 2.0


def test_the_median_is_of_games_not_of_runs():
    assert statistics.median([[0.0, 1.0, 5.0], [2.0, 1.0, 7.0]]) == 1.0


def test_scores_above_the_target_do_not_make_up_for_those_below():
    assert statistics.optimality_gap([[0.5, 9.0]]) == 0.25
    assert statistics.optimality_gap([[0.5, 9.0]], target=2.0) == 0.75


def test_improvement_counts_pairs_of_runs_inside_each_game_and_ties_half():
    x, y = [[1.0, 0.0], [3.0, 0.0]], [[2.0, 0.0]]
    assert statistics.improvement(x, y) == 0.5  # game 1: one pair of two; game 2: two ties
    assert statistics.improvement([[3.0]], [[1.0], [2.0], [3.0]]) == pytest.approx(2.5 / 3)


@pytest.mark.slow
@given(scores, scores)
def test_improvement_of_either_over_the_other_sums_to_one(x, y):
    games = min(x.shape[1], y.shape[1])
    x, y = x[:, :games], y[:, :games]
    assert statistics.improvement(x, y) + statistics.improvement(y, x) == pytest.approx(1)


@given(scores)
def test_the_interquartile_mean_lies_among_the_scores_and_ignores_their_order(x):
    shuffled = np.random.default_rng(0).permutation(x.ravel()).reshape(x.shape)
    assert x.min() - 1e-9 <= statistics.iqm(x) <= x.max() + 1e-9
    assert statistics.iqm(shuffled) == pytest.approx(statistics.iqm(x))


def test_the_interval_resamples_runs_inside_their_game_only():
    apart = np.array([[0.0, 100.0], [0.0, 100.0], [0.0, 100.0]])
    assert statistics.interval(statistics.mean, apart) == (50.0, 50.0)


def test_the_interval_holds_the_value_narrows_with_runs_and_repeats_with_the_seed():
    rng = np.random.default_rng(1)
    few, many = rng.normal(1, 1, (5, 10)), rng.normal(1, 1, (80, 10))
    low, high = statistics.interval(statistics.iqm, few)
    assert low < statistics.iqm(few) < high
    assert (low, high) == statistics.interval(statistics.iqm, few, seed=0)
    assert (low, high) != statistics.interval(statistics.iqm, few, seed=1)
    narrow = np.diff(statistics.interval(statistics.iqm, many))[0]
    assert narrow < (high - low) / 2


def test_the_interval_of_a_mean_is_as_wide_as_theory_says():
    scores = np.random.default_rng(2).normal(0, 1, (200, 1))
    low, high = statistics.interval(statistics.mean, scores, resamples=20_000)
    assert high - low == pytest.approx(2 * 1.96 * scores.std() / np.sqrt(200), rel=0.05)


def test_the_interval_of_an_improvement_resamples_both_sides():
    x, y = np.array([[1.0], [3.0]]), np.array([[2.0], [2.0]])
    assert statistics.interval(statistics.improvement, x, y) == (0.0, 1.0)


def test_a_band_is_the_iqm_and_its_interval_at_each_point_with_whole_curves_drawn():
    curves = np.array([[0.0, 1.0, 2.0, 9.0], [5.0, 5.0, 5.0, 5.0]])[:, :, None]  # 2 points, 4 runs
    middle, low, high = statistics.band(curves)
    assert middle.tolist() == [1.5, 5.0]
    assert low[0] < 1.5 < high[0]
    assert (low[1], high[1]) == (5.0, 5.0)
    again = statistics.band(curves)
    assert all((a == b).all() for a, b in zip((middle, low, high), again, strict=True))
