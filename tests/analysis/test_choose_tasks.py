"""Choosing contexts: the process, the slope and each way by hand, and the command from tables."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fovea.analysis import study_results
from fovea.analysis.choose_tasks import (
    NOISE,
    SCALE,
    at_random,
    chosen,
    distances,
    equidistant,
    greedy,
    mbtl,
    middle,
    posterior,
    reached,
    slope,
)
from fovea.analysis.study_results import Key, Result
from fovea.analysis.transfer import run
from fovea.command import UserError

TEN = distances(np.arange(10))


def hill(top: int, loss: float = 1.0) -> np.ndarray:
    """Training is worth most at `top`, and what is lost elsewhere grows with the distance."""
    own = 1 - 0.5 * TEN[top]
    return own[:, None] - loss * TEN


def test_a_known_context_is_nearly_certain_and_far_ones_are_not() -> None:
    """One value: the mean everywhere; the deviation where it is, by hand."""
    mean, std = posterior([4], np.array([0.7]), TEN)
    assert mean == pytest.approx(0.7)
    assert std[4] == pytest.approx(np.sqrt(SCALE**2 - SCALE**4 / (SCALE**2 + NOISE**2)))
    assert std[9] > std[5] > std[4]
    mean, _ = posterior([0, 9], np.array([0.0, 1.0]), TEN)
    assert (np.diff(mean) >= 0).all()


def test_the_slope_is_what_was_lost_by_distance() -> None:
    assert slope({}, TEN) == 0.5
    assert slope({3: hill(5)[3], 8: hill(5)[8]}, TEN) == pytest.approx(1.0)
    assert slope({3: -hill(5)[3]}, TEN) == 0  # better elsewhere: nothing is lost


def test_each_way_by_hand() -> None:
    assert middle({}, TEN) in (4, 5)
    assert middle({4: hill(5)[4]}, TEN) == 9
    assert [equidistant(dict.fromkeys(taken), TEN, 2) for taken in ([], [2])] == [2, 7]
    assert greedy({}, TEN, hill(2)) == int(hill(2).mean(axis=1).argmax())
    assert mbtl({}, TEN) == middle({}, TEN)
    matrix = np.array([[4.0, 0.0, 0.0], [1.0, 2.0, 1.0], [0.0, 0.0, 3.0]])
    assert reached([1, 0], matrix) == pytest.approx([4 / 3, (4 + 2 + 1) / 3])
    assert at_random(matrix, 3)[-1] == pytest.approx(3.0)
    assert at_random(matrix, 1)[0] == pytest.approx((4 + 4 + 3) / 9, abs=0.05)
    order = chosen(greedy_of(matrix), matrix, distances(range(3)), 3)
    assert sorted(order) == [0, 1, 2]


def greedy_of(matrix: np.ndarray):
    return lambda rows, away: greedy(rows, away, matrix)


def test_where_contexts_differ_choosing_by_the_model_beats_chance() -> None:
    """Returns lie on a hill at one end, and transfer falls with the distance."""
    for top in (0, 4, 9):
        matrix = hill(top)
        order = chosen(mbtl, matrix, TEN, 3)
        assert len({*order}) == 3
        assert reached(order, matrix)[-1] > at_random(matrix, 3)[-1] + 0.02


def results(runs: list[int]) -> dict[Key, Result]:
    """Of agents trained at a few chances of sticky actions and tried at all ten."""
    matrix, kept = 10 * hill(2), {}
    for place in runs:
        own = {("pong", "return"): matrix[place, place]}
        changes = {
            ("pong", f"change/sticky:{k / 10:g}"): matrix[place, k] - matrix[place, place]
            for k in range(10)
        }
        kept[Key(f"sticky_{place / 10:g}", 0, "pong")] = Result("", 1.0, "", own | changes, {})
    return kept


def test_the_command_names_the_next_and_then_compares(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    study_results.merge(tmp_path, results([4, 9]))
    run([str(tmp_path)])
    said = capsys.readouterr().out
    assert said.startswith("trained: sticky:0.4, sticky:0.9\ntrain next: sticky:0")
    study_results.merge(tmp_path, results([*range(10)]))
    run([str(tmp_path), "--budget", "3", "--out", str(tmp_path / "page.md")])
    page = (tmp_path / "page.md").read_text()
    assert capsys.readouterr().out == page
    matrix = 10 * hill(2)
    best = reached(chosen(greedy_of(matrix), matrix, TEN, 3), matrix)
    row = " | ".join(f"{value:.2f}" for value in best)
    assert f"| greedy, all known | {row} | {best[-1]:.2f} |" in page
    assert "| mbtl | 0 | sticky:0.4, " in page
    assert f"an agent for each context reaches {np.diag(matrix).mean():.2f} where" in page


def test_tables_without_contexts_and_distances_that_lack_one_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds no results"):
        run([str(tmp_path)])
    own = {("pong", "return"): 1.0}
    study_results.merge(tmp_path, {Key("mine", 0, "pong"): Result("", 1.0, "", own, {})})
    with pytest.raises(UserError, match="no run was evaluated in several contexts"):
        run([str(tmp_path)])
    study_results.merge(tmp_path, results([1]))
    (tmp_path / "far.csv").write_text(",sticky:0\nsticky:0,0\n")
    with pytest.raises(UserError, match=r"far.csv has no number for 'sticky:0.1'"):
        run([str(tmp_path), "--distances", str(tmp_path / "far.csv")])
