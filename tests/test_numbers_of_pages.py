"""The numbers that pages give of our studies are those of docs/results."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from statistics import mean

from fovea.atari.games import GAMES
from pages import ROOT

RESULTS = ROOT / "docs" / "results"
NUMBER = re.compile(r"-?\d+(?:,\d{3})*(?:\.\d+)?")
ENCODERS = ("recipe", "pixels_pooled", "pixels", "initial")
"""In the order in which the README gives their R²."""
AGENTS = {
    "recipe": ("recipe", 2),
    "untrained, the same start": ("untrained", 2),
    "the recipe without its components (seed 0)": ("spr_inverse", 1),
}
"""By the names of the table of docs/agents.md: the run, and how many seeds are given."""
COLUMNS = (("return", "{:.1f}"), ("hns", "{:.3f}"), ("take_off_0.1", "{:,.0f}"), ("area", "{:.3f}"))
"""Measures of that table, and how it writes them."""


def scores(study: str, run: str, measure: str) -> list[float]:
    """The mean over games of what a run has of a measure, by seed."""
    with open(RESULTS / study / "scores.csv", encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["run"] == run]
    values: dict[int, list[float]] = {}
    for row in rows:
        if row["measure"] == measure and row["seed"]:
            values.setdefault(int(row["seed"]), []).append(float(row["value"]))
    return [mean(values[seed]) for seed in sorted(values)]


def bullets() -> list[str]:
    """The bullets of what came out so far."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    section = text.partition("## What came out so far\n")[2].partition("\n## ")[0]
    return [" ".join(bullet.split()) for bullet in re.findall(r"^- (.*(?:\n  .*)*)", section, re.M)]


def numbers(text: str) -> list[str]:
    return NUMBER.findall(text)


def seeds(of: list[float], how: str, most: int = 2) -> list[str]:
    return [how.format(value) for value in of[:most]]


def test_the_readme_gives_the_state_as_the_study_does() -> None:
    said = bullets()[0].partition("after 300,000 samples")[2]
    found = [one for run in ENCODERS for one in seeds(scores("pretraining", run, "r2"), "{:.3f}")]
    assert len(found) == 2 * len(ENCODERS)
    assert [one for one in numbers(said.replace("(256 numbers", "(numbers")) if "." in one] == found


def test_the_readme_gives_the_returns_as_the_study_does() -> None:
    found = [
        one
        for run in ("recipe", "untrained")
        for one in seeds(scores("read_outs", run, "return"), "{:.1f}")
    ]
    said = [one for one in numbers(bullets()[1]) if "." in one]
    assert said == [*found, f"{GAMES['pong'].random}", f"{GAMES['pong'].human}"]


def rows() -> Iterator[tuple[str, list[str]]]:
    """The rows of the first table of docs/agents.md, without its head."""
    page = (ROOT / "docs" / "agents.md").read_text(encoding="utf-8")
    section = page.partition("two seeds so far\n")[2].partition("\n## ")[0]
    for line in re.findall(r"^\| (.*) \|$", section, re.MULTILINE):
        name, *cells = line.replace("*", "").split(" | ")
        if name in AGENTS:
            yield name, cells


def test_the_table_of_two_seeds_is_that_of_the_study() -> None:
    table = dict(rows())
    assert table.keys() == AGENTS.keys()
    for name, (run, most) in AGENTS.items():
        for cell, (measure, how) in zip(table[name], COLUMNS, strict=True):
            assert numbers(cell) == seeds(scores("read_outs", run, measure), how, most), name
