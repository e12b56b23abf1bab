"""The figures of a page as files for papers."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from fovea.analysis import reporting
from fovea.analysis.figures import PALETTE, Looks, band, bars, line, panel
from fovea.analysis.page import Page
from fovea.command import UserError

pytest.importorskip("matplotlib")

from fovea.analysis import paper


def drawn(tmp_path: Path, *panels: dict) -> str:
    page = Page("title", Looks([]), charts={"one": {"": list(panels)}})
    assert [path.name for path in paper.write(page, tmp_path)] == ["one.svg", "one.pdf"]
    return (tmp_path / "one.svg").read_text()


@pytest.mark.slow
def test_lines_and_bands_of_a_panel_are_drawn_in_their_colours(tmp_path: Path) -> None:
    xs = [0, 1, 2]
    traces = [
        band("vicreg", xs, [0, 1, 2], [2, 3, 4], PALETTE[0]),
        line("vicreg", xs, [1.0, float("nan"), 3.0], PALETTE[0], symbol="circle", errors=xs),
        line("cost $5 & <b>", xs, [3.0, 2.0, 1.0], PALETTE[1]),
    ]
    svg = drawn(tmp_path, panel("a title", traces, x="steps"))
    assert svg.startswith("<?xml")
    for colour in PALETTE[:2]:
        assert f"stroke: {colour}" in svg
    assert re.search(rf"fill: {PALETTE[0]}; (fill-)?opacity: 0.18", svg)
    pdf = (tmp_path / "one.pdf").read_bytes()
    assert pdf.startswith(b"%PDF")
    assert b"/Type3" not in pdf  # venues refuse fonts of type 3
    before = (svg, pdf)
    again = drawn(tmp_path, panel("a title", traces, x="steps"))
    assert (again, (tmp_path / "one.pdf").read_bytes()) == before


@pytest.mark.slow
def test_bars_are_as_long_as_their_values(tmp_path: Path) -> None:
    looks = Looks(["mine"])
    svg = drawn(tmp_path, panel("R²", [bars("mine", ["a", "b"], [0.25, 0.75], looks)]))
    lengths = []
    for path in re.findall(rf'd="([^"]+)"[^>]*style="fill: {looks.colour("mine")}', svg)[:2]:
        xs = [float(x) for x in re.findall(r"[ML] ([\d.]+) ", path)]
        lengths.append(max(xs) - min(xs))
    assert lengths[1] / lengths[0] == pytest.approx(3, rel=0.01)


def test_an_axis_with_places_and_no_words_is_labelled_by_its_places(tmp_path: Path) -> None:
    """As of blocks, and of numbers of labels."""
    traces = [line("mine", [1, 2, 4], [0.1, 0.2, 0.3], PALETTE[0])]
    svg = drawn(tmp_path, panel("R²", traces, x="block", xaxis={"tickvals": [1, 2, 4]}))
    assert all(f"<!-- {place} -->" in svg for place in (1, 2, 4))


@pytest.mark.evidence
@pytest.mark.slow
def test_the_command_writes_every_chart_but_films_and_maps(quickstart, tmp_path: Path) -> None:
    _, data, page = quickstart
    figures = tmp_path / "figures"
    words = [page.parent, "--out", tmp_path / "page", "--figures", figures]
    reporting.run([str(word) for word in words])
    choices = sum(len(of) for name, of in data["charts"].items() if not name.startswith("map"))
    assert len(list(figures.glob("*.svg"))) == len(list(figures.glob("*.pdf"))) == choices


def test_without_matplotlib_one_line_says_what_to_install(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(UserError, match=r"needs matplotlib: pip install 'fovea-rl\[figures\]'"):
        paper.write(Page("title", Looks([])), tmp_path)
    assert list(tmp_path.iterdir()) == []
