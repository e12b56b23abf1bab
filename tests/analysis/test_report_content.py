"""What the page of a report says of runs, and how it draws curves and numbers."""

from __future__ import annotations

import numpy as np
import plotly.graph_objects
import pytest

import report_samples as samples
from fovea.analysis import curves, figures, html
from fovea.metrics import Curve


@pytest.mark.slow
def test_every_figure_is_one_that_plotly_takes(quickstart):
    _, data, _ = quickstart
    drawn = [f for choices in data["charts"].values() for fs in choices.values() for f in fs]
    assert len(drawn) > 30
    for figure in drawn:
        plotly.graph_objects.Figure(figure)


def test_an_encoder_has_one_colour_on_every_figure_and_references_are_grey(quickstart):
    _, data, _ = quickstart
    colours = {}
    for choices in data["charts"].values():
        for trace in (t for fs in choices.values() for f in fs for t in f["data"]):
            looks = trace.get("marker") or trace.get("line") or trace
            if looks.get("colorscale"):
                continue  # of a map or a matrix, by what is known of its points or cells
            colours.setdefault(trace["name"], set()).add(looks["color"])
    assert all(len(found) == 1 for found in colours.values()), colours
    own = [found for name, found in colours.items() if name not in figures.REFERENCES]
    assert len(set().union(*own)) == len(own) == 4


def test_a_run_that_still_trains_is_shown_as_far_as_it_got(tmp_path):
    logged = [(10, {"loss": 3.0}), (20, {"loss": 2.0})]
    samples.run(tmp_path / "r", "pretrain", logged, state="running", step=20, steps=900)
    with open(tmp_path / "r" / "metrics.csv", "a") as file:
        file.write("30,lo")
    text, data = samples.page(tmp_path, tmp_path / "out")
    assert "Still running: r (step 20 of 900)" in text.text
    assert data["charts"]["pretraining"][""][0]["data"][0]["y"] == [3.0, 2.0]


def test_a_number_that_was_measured_once_is_a_number_and_no_figure(tmp_path):
    logged = [(9, {"loss": 3.0}), (19, {"loss": 2.0, "held_out/loss": 2.5})]
    samples.run(tmp_path / "r", "pretrain", logged)
    text, data = samples.page(tmp_path, tmp_path / "out")
    titles = [panel["layout"]["title"]["text"] for panel in data["charts"]["pretraining"][""]]
    assert titles == ["loss"]
    assert ["r", "19", "2.50"] in [row[:3] for row in text.rows]


def test_a_run_that_has_just_begun_has_no_curves_yet(tmp_path):
    samples.run(tmp_path / "r", "agent", state="running", step=0)
    text, data = samples.page(tmp_path, tmp_path / "out")
    assert "No metrics were logged yet." in text.text
    assert "No agent has been evaluated yet." in text.text
    assert data["charts"] == {}


def test_the_steps_of_curves_are_said_to_be_of_the_optimiser_or_of_the_game(quickstart):
    _, data, _ = quickstart
    titles = {
        name: {figure["layout"]["xaxis"]["title"]["text"] for figure in data["charts"][name][""]}
        for name in ("pretraining", "returns", "agents-learning")
    }
    assert titles.pop("pretraining") == {"optimiser steps"}
    assert set().union(*titles.values()) == {"environment steps"}


def test_a_curve_of_nothing_but_nan_says_so(tmp_path):
    logged = [(step, {"loss": float("nan")}) for step in range(5)]
    samples.run(tmp_path / "r", "pretrain", logged, state="failed", reason="loss is NaN")
    _, data = samples.page(tmp_path, tmp_path / "out")
    (figure,) = data["charts"]["pretraining"][""]
    assert figure["data"][0]["y"] == [None] * 5
    assert figure["layout"]["annotations"][0]["text"] == "no finite value was logged"


def test_long_curves_keep_the_lowest_and_highest_of_each_part_and_both_ends():
    values = np.sin(np.arange(10_000) / 50)
    values[[1234, 7777]] = [9.0, -9.0]
    values[4000:6000] = np.nan
    curve = Curve(np.arange(10_000) * 3, values)
    steps, drawn = curves.extremes(curve, 100)
    assert len(steps) <= 102
    assert (np.diff(steps) > 0).all()
    assert {9.0, -9.0} <= set(drawn.tolist())
    assert steps[-1] == curve.steps[-1]
    assert np.isnan(drawn).any()  # a gap stays a gap
    for step, value in zip(steps, drawn, strict=True):
        np.testing.assert_equal(value, values[step // 3])
    short = Curve(np.arange(5), np.arange(5.0))
    assert curves.extremes(short, 100)[1].tolist() == [0, 1, 2, 3, 4]


def test_long_curves_are_thinned_to_means_and_keep_their_last_step():
    curve = Curve(np.arange(1000), np.where(np.arange(1000) < 500, np.nan, 2.0))
    steps, values = curves.thinned(curve, 100)
    assert (len(steps), steps[-1]) == (100, 999)
    assert np.isnan(values[:50]).all()
    assert (values[50:] == 2).all()


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (0, "0"),
        (-20.7, "−20.7"),
        (4000, "4,000"),
        (1234.5, "1,234"),
        (0.43219, "0.432"),
        (0.00005, "5.0e−5"),
        (float("nan"), "–"),
        (None, "–"),
    ],
)
def test_numbers_are_written_as_people_read_them(value, written):
    assert html.number(value) == written
