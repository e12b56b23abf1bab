"""metrics.csv as it is written and read, whatever state it was left in."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from fovea.metrics import parse, parse_lines, parse_table, read_metrics, running_mean
from fovea.runs import RunWriter

NAMES = st.text("abc/_, ", min_size=1).filter(lambda name: name == name.strip())
LOGS = st.lists(st.tuples(st.integers(0, 9), NAMES, st.floats(allow_nan=False)), max_size=20)


@pytest.mark.slow
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(LOGS, st.integers(0, 30))
def test_what_was_logged_is_read_up_to_a_torn_line(tmp_path: Path, log: list, torn: int) -> None:
    path = tmp_path / "metrics.csv"
    path.unlink(missing_ok=True)
    run = RunWriter(tmp_path, "agent", "DQN")
    for step, name, value in log:
        run.log(step, {name: value})
    expected: dict[str, dict[int, float]] = {}
    for step, name, value in log:
        expected.setdefault(name, {})[step] = value
    curves = read_metrics(path)
    assert {name: dict(sorted(points.items())) for name, points in expected.items()} == {
        name: dict(zip(curve.steps.tolist(), curve.values.tolist(), strict=True))
        for name, curve in curves.items()
    }
    if log:
        text = path.read_text()
        whole = text[: text.rindex("\n", 0, len(text) - 1) + 1]
        cut = parse(text[: max(len(whole), len(text) - 1 - torn)])
        before = parse(whole)
        assert cut.keys() == before.keys()
        for name, curve in cut.items():
            np.testing.assert_array_equal(curve.values, before[name].values)


CELLS = st.floats().map(repr) | st.sampled_from(["1e-05", "x", "", "1_0", " 2", "Infinity", "-0"])
ROWS = st.lists(
    st.tuples(st.integers(-1, 9), st.sampled_from(["a", "b/c", "x,y", '"q"', "é"]), CELLS)
)


@settings(max_examples=50)
@given(ROWS, st.text(max_size=9))
def test_a_long_text_is_read_as_a_short_one(rows: list, torn: str) -> None:
    text = "step,name,value\n" + "".join(f"{s},{n},{v}\n" for s, n, v in rows) + torn
    if (table := parse_table(text)) is not None:
        lines = parse_lines(text)
        assert table.keys() == lines.keys()
        for name, curve in table.items():
            np.testing.assert_array_equal(curve.steps, lines[name].steps)
            np.testing.assert_array_equal(curve.values, lines[name].values)


def test_a_text_without_odd_lines_is_read_as_a_table_and_the_last_of_a_step_counts() -> None:
    table = parse_table("step,name,value\n7,a,1.5\n3,b,nan\n5,a,-inf\n7,a,2.5\n9,a,4")
    assert table is not None
    assert (table["a"].steps.tolist(), table["a"].values.tolist()) == ([5, 7], [-np.inf, 2.5])
    assert np.isnan(table["b"].values).all()


def test_a_run_that_has_logged_nothing_has_no_curves(tmp_path: Path) -> None:
    assert read_metrics(tmp_path / "metrics.csv") == {}


def test_the_running_mean_is_of_fewer_values_at_the_start() -> None:
    assert running_mean(np.array([1.0, 3.0, 5.0, 7.0]), 2).tolist() == [1, 2, 4, 6]


@pytest.mark.slow
@given(arrays(float, st.integers(1, 60), elements=st.floats(-100, 100)))
def test_the_running_mean_is_that_of_the_last_values(values: np.ndarray) -> None:
    plain = [values[max(0, k - 3) : k].mean() for k in range(1, len(values) + 1)]
    np.testing.assert_allclose(running_mean(values, 3), plain, atol=1e-9)
