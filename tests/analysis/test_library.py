"""Runs from a notebook: read, compared and shown without a command."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import report_samples as samples
from fovea import analysis
from fovea.command import UserError


def test_runs_statistics_and_the_report_in_five_lines(tmp_path: Path) -> None:
    samples.agent(tmp_path / "one", "dqn", seed=0)
    samples.agent(tmp_path / "other", "ppo", seed=1)
    runs = analysis.read_runs([str(tmp_path)])
    assert [run.name for run in runs] == ["one", "other"]
    assert runs[0].metrics["return"].steps[0] == 900
    scores = np.array([[run.record.evaluation.hns] for run in runs])  # (runs, games)
    assert analysis.mean(scores) == pytest.approx(np.mean(scores))
    low, high = analysis.interval(analysis.iqm, scores)
    assert low <= analysis.iqm(scores) <= high
    index, about = analysis.report([str(tmp_path)], str(tmp_path / "page"), "Two agents")
    assert about == "2 runs: 2 playing"
    assert "<h1>Two agents</h1>" in index.read_text()


def test_a_place_without_runs_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no run"):
        analysis.report([tmp_path], tmp_path / "page")


@pytest.mark.slow
def test_what_a_probe_found_is_a_table_with_all_encoders(tmp_path: Path) -> None:
    (run,) = analysis.read_runs([samples.probes(tmp_path / "probes")])
    table = run.probes["collapse"].result.joined()["features"]
    assert {row["encoder"] for row in table.records()} == {"tov_vicreg", "vicreg", "random"}
