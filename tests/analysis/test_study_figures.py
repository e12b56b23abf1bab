"""The figures of a study's page show what is kept, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from fovea.analysis import study
from fovea.analysis.study_figures import of_agents, of_encoders
from fovea.analysis.study_results import Key, Result, Results


def result(curve: dict[int, float] | None = None, **scores: float) -> Result:
    named = {("pong", name.replace("__", "/")): value for name, value in scores.items()}
    return Result("", 1.0, "", named, curve or {})


def test_agents_have_a_line_a_seed_and_one_for_their_mean() -> None:
    results: Results = {
        Key("one", 0, "pong"): result({1000: -20.0, 2000: -10.0}),
        Key("one", 1, "pong"): result({1000: -18.0, 2000: -16.0, 3000: -9.0}),
        Key("other", 0, "pong"): result({1000: -21.0}),
    }
    (panel,) = of_agents(results, ["one", "other", "unknown"], ["pong", "breakout"])
    drawn = [(trace["name"], trace["x"], trace["y"]) for trace in panel["data"]]
    assert drawn == [
        ("one", [1, 2], [-20, -10]),
        ("one", [1, 2, 3], [-18, -16, -9]),
        ("one", [1, 2], [-19, -13]),  # as far as all seeds are
        ("other", [1], [-21]),
    ]


def test_encoders_are_compared_by_labels_and_read_outs() -> None:
    results: Results = {
        Key("mine", 0): result(
            r2__tokens__labels_100=0.2, r2__tokens__labels_all=0.6, r2__block_2__labels_all=0.9
        ),
        Key("mine", 1): result(r2__tokens__labels_100=0.4, r2__tokens__labels_all=0.8),
        Key("pixels", 0): result(r2__tokens__labels_all=0.7),
        Key("majority", 0): result(r2__tokens__labels_all=0.0),
    }
    (panel,) = of_encoders(results, ["mine", "late"])
    assert [(trace["name"], trace["x"]) for trace in panel["data"]] == [
        ("mine", [0, 4]), ("pixels", [4])
    ]  # fmt: skip
    assert panel["data"][0]["y"] == pytest.approx([0.3, 0.7])
    assert panel["layout"]["title"]["text"] == "R² of all tokens"


def test_a_page_has_its_figure_where_there_is_something_to_draw(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    (tmp_path / "small.yaml").write_text(
        "{kind: agents, title: Small, games: [pong], steps: 1000, episodes: 2, seeds: [0],"
        " runs: {one: {config: dqn}}, differences: []}"
    )
    asked = study.read(tmp_path / "small.yaml")
    kept = tmp_path / "kept"
    key, command = next(iter(asked.made_by().items()))
    study.keep_results(asked, kept, {key: Result("", 1.0, command, {("", "hns"): 0.1}, {})})
    assert "study.svg" not in (kept / "study.md").read_text()
    learned = Result("", 1.0, command, {("", "hns"): 0.1}, {500: -20.0, 1000: -19.0})
    study.keep_results(asked, kept, {key: learned})
    page = (kept / "study.md").read_text()
    assert page.startswith("# Small\n\n![Pong: return](study.svg)\n\n")
    assert (kept / "study.svg").read_text().count("<svg") == 1
