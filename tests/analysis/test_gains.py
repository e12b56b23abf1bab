"""What the page says of variables that an encoder gained and lost."""

from __future__ import annotations

import numpy as np
import plotly.graph_objects
import pytest

import report_samples as samples
from fovea import by_episode
from fovea.analysis import gains
from fovea.analysis.figures import Looks
from fovea.analysis.page import Page
from fovea.analysis.runs import read_runs
from fovea.figures import Gains
from fovea.results import ProbeResult
from fovea.tables import Table

HOW = Gains(table="t", measure="r2", row="variable", across=["block"])


def result(noises: dict[str, tuple[float, float]], episodes: int = 8):
    """A probe of two variables in Pong, whose predictions are off by so much."""
    rng = np.random.default_rng(0)
    truth, off = rng.normal(size=(2, 10 * episodes, 2))
    found, arrays = ProbeResult(probe="state"), {}
    for encoder, noise in noises.items():
        parts = by_episode.errors(np.repeat(np.arange(episodes), 10), truth, truth + noise * off)
        rows = [["pong", name, "misc", 3, 0.0] for name in ("ball_x", "ball_y")]
        found.encoders[encoder] = [
            Table("t", columns=["game", "variable", "category", "block", "r2"], rows=rows)
        ]
        arrays[f"{encoder}/t/errors"] = parts
    return found, arrays


def test_a_gain_is_the_difference_of_scores_and_below_zero_nothing_is_read() -> None:
    found, arrays = result({"mine": (0.0, 0.3), "random": (3.0, 0.0)})
    x, y = gains.cells(found, arrays, HOW, "mine")
    assert (x.row, x.column, x.score) == ("ball_x", "3", 1)
    assert x.reference < -5
    assert x.gain == pytest.approx(1)  # from nothing, not from far below nothing
    assert y.gain == pytest.approx(y.score - 1)
    assert y.low < y.gain < y.high < 0
    said = gains.sentence("mine", [x, y], HOW)
    assert said.startswith(
        "mine against random: of 2 cells 1 gained and 1 lost surely; it lost most ball_y of Pong "
        f"(3: \N{MINUS SIGN}{abs(y.gain):.2f}, "
    )


def test_with_few_episodes_nothing_is_sure() -> None:
    found, arrays = result({"mine": (0.0, 0.3), "random": (0.0, 0.0)}, episodes=3)
    cells = gains.cells(found, arrays, HOW, "mine")
    assert np.isnan([cells[1].low, cells[1].high]).all()
    said = gains.sentence("mine", cells, HOW)
    assert "0 gained and 0 lost surely; the largest losses, none of them sure, are ball_y" in said
    same = gains.cells(found, arrays, HOW, "random")
    assert gains.sentence("random", same, HOW).endswith("it lost nothing.")


def test_an_encoder_that_the_reference_does_not_share_a_table_with_has_no_cells() -> None:
    found, arrays = result({"mine": (0.0, 0.3), "random": (0.0, 0.0)})
    del arrays["random/t/errors"]
    assert gains.cells(found, arrays, HOW, "mine") == []


def test_the_page_has_the_matrix_and_names_the_worst_loss() -> None:
    found, arrays = result({"mine": (0.0, 0.3), "random": (3.0, 0.0), "pixels": (1.0, 1.0)})
    page = Page("A page", Looks(found.encoders))
    text = samples.Text(gains.view(page, "g", found, arrays, HOW))
    assert "it lost most ball_y of Pong" in text.text
    assert "pixels" not in text.text  # references are no encoders of one's own
    ((picture,),) = page.charts["g"].values()
    (trace,) = plotly.graph_objects.Figure(picture).data
    assert (list(trace.y), list(trace.x)) == (["ball_x", "ball_y"], ["3"])
    matrix, intervals = (page.files[f"data/g-{of}.csv"].decode() for of in ("matrix", "intervals"))
    assert matrix.splitlines()[0] == "encoder,game,variable,category,3"
    # The worst comes first, where all are listed with their intervals.
    assert intervals.splitlines()[1].startswith("mine,Pong,ball_y,misc,3,-")


def test_declared_matrices_are_of_tables_that_the_probe_returns(tmp_path) -> None:
    samples.run(tmp_path / "p", "probes")
    samples.state(tmp_path / "p", {"mine": 0.5, "random": 0.2})
    (run,) = read_runs([tmp_path])
    probe = run.probes["state"]
    declared = [how for how in probe.result.figures if isinstance(how, Gains)]
    assert [how.across for how in declared] == [["read_out", "block"], ["read_out"]]
    sizes = [len(gains.cells(probe.result, probe.arrays, how, "mine")) for how in declared]
    assert sizes == [3 * 2 * 4 * 5, 3 * 2 * 5]
