"""The page while it is made: its HTML, its figures, and the files beside it."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from fovea.analysis.figures import REFERENCES, TEMPLATES, Looks, plain
from fovea.analysis.html import Html, amount, details, join, number, tag
from fovea.tables import Table

SHOWN = 300  # rows; the file of a table holds all
SHORT = 32  # letters that stay on one line
SCRIPTS = ("page", "tables", "pictures", "charts", "runs")
"""The page's own, in assets/, in their order."""

LINES = {"both": "seeds and mean", "mean": "mean", "seed": "seeds"}


@dataclass
class Page:
    """What views add to: `files` go into the folder, all else to the scripts.

    A file is its bytes, or the path of a file to copy. `places` are the numbers of the runs by
    their slugs; `runs` is what the overview shows of them. A `live`
    page is served: it asks its server for what has changed.
    """

    title: str
    looks: Looks
    places: dict[str, int] = field(default_factory=dict)
    runs: dict[str, object] = field(default_factory=dict)
    live: bool = False
    charts: dict[str, dict[str, list[dict]]] = field(default_factory=dict)
    pictures: dict[str, dict] = field(default_factory=dict)
    files: dict[str, bytes | Path] = field(default_factory=dict)

    def attach(self, path: str, content: bytes | Path) -> str:
        """Put a file into the folder; gives back the link to it."""
        self.files[path] = content
        return path

    def chart(
        self,
        name: str,
        label: str,
        choices: dict[str, list[dict]],
        names: Iterable[str] = (),
        choice: str = "Game",
        axes: Sequence[str] = (),
    ) -> Html:
        """Figures side by side under one legend, with a selector where there are several choices.

        Args:
            name: unique on the page.
            label: what the figures show, for those who cannot see them.
            choices: by choice, the figures of `figures.panel`; as many for each.
            names: whose colours the legend explains.
            choice: what the selector chooses.
            axes: of learning curves, what their x axis can count; they can be smoothed, too.
        """
        self.charts[name] = choices
        count = len(next(iter(choices.values())))
        controls = []
        if len(choices) > 1:
            controls.append(_select(choice, {key: key for key in choices}, "choice"))
        if axes:
            controls.append(_select("Over", {axis: axis for axis in axes}, "axis"))
            controls.append(_select("Lines", LINES, "lines"))
            slider = {"type": "range", "min": "0", "max": "0.99", "step": "0.01", "value": "0"}
            controls.append(
                tag("label", "Smoothing ", tag("input", **slider, class_="smoothing"),
                    tag("output", "0"), class_="pick")
            )  # fmt: skip
        drawn = [
            tag("div", class_="chart", role="img", aria_label=f"{label}, figure {k + 1} of {count}")
            for k in range(count)
        ]
        return tag(
            "div",
            self.legend(names),
            tag("div", *controls, class_="controls") if controls else "",
            tag("div", *drawn, class_="panels"),
            tag(
                "div",
                tag("button", "Download the data", type="button", class_="download save"),
                details("The figures as text", tag("div", class_="text")),
                class_="data",
            ),
            class_="charts",
            data_chart=name,
        )

    def legend(self, names: Iterable[str]) -> Html:
        """A button for each name, with its colour, which hides and shows it."""
        items = []
        for name in dict.fromkeys(names):
            hatch = " hatched" if name in REFERENCES else ""
            items.append(
                tag(
                    "button",
                    tag("i", class_=f"swatch{hatch}", style=f"--c:{self.looks.colour(name)}"),
                    name,
                    tag("small", f" {REFERENCES[name][3]}") if name in REFERENCES else "",
                    class_="key",
                    type="button",
                    aria_pressed="true",
                    data_name=plain(name),
                )
            )
        return tag("div", *items, class_="legend") if items else Html("")

    def data(self) -> dict[str, object]:
        """What the scripts read."""
        return {
            "charts": self.charts,
            "pictures": self.pictures,
            "templates": TEMPLATES,
            "runs": self.runs,
        }

    def script(self) -> bytes:
        """assets/data.js, which gives the data to the scripts. Raises ValueError for NaN in it."""
        text = json.dumps(self.data(), allow_nan=False, separators=(",", ":"))
        return f"window.fovea = {text};\n".encode()

    def table(
        self,
        name: str,
        columns: Sequence[str],
        rows: Sequence[Sequence],
        *,
        note: str = "",
        marked: Sequence[slice] = (),
        shown: int = SHOWN,
    ) -> Html:
        """A sortable table and its CSV file.

        Args:
            name: unique on the page; the file is data/NAME.csv.
            columns, rows: strings and numbers; None and NaN show as a dash.
            note: shown under the table.
            marked: column ranges in each of which a row's largest number is set off.
            shown: rows at most; the file has all.
        """
        link = self.attach(
            f"data/{name}.csv",
            Table(columns=list(columns), rows=[list(row) for row in rows]).csv().encode(),
        )
        head = [
            tag(
                "th",
                tag("button", text, type="button"),
                scope="col",
                class_=any(isinstance(row[k], int | float) for row in rows) and "number",
            )
            for k, text in enumerate(columns)
        ]
        body = [tag("tr", *_cells(row, marked)) for row in rows[:shown]]
        if len(rows) > shown:
            note = f"The first {shown:,} of {len(rows):,} rows; the file holds all. {note}"
        return tag(
            "div",
            tag(
                "div",
                tag("table", tag("thead", tag("tr", *head)), tag("tbody", *body)),
                class_="scroll",
                tabindex="0",
            ),
            tag(
                "p",
                tag("a", "Download CSV", href=link, download=True, class_="download"),
                tag("span", f" {note}") if note else "",
                class_="under",
            ),
            class_="tabled",
        )

    def folded(self, summary: str, name: str, columns: Sequence[str], rows: Sequence) -> Html:
        """A table that opens on a click: what a figure shows, as text."""
        return details(f"{summary} ({amount(len(rows), 'row')})", self.table(name, columns, rows))

    def html(self, sections: list[tuple[str, str, Html]], head: Html, foot: str) -> str:
        """The whole page. A section is (anchor, title, content)."""

        def made(content: Html) -> str | None:
            """What tells an unchanged section from a changed one."""
            return f"{zlib.crc32(content.encode()):x}" if self.live else None

        scripts = ("plotly.min", "data", *SCRIPTS, *(("live",) if self.live else ()))
        contents = [tag("li", tag("a", title, href=f"#{anchor}")) for anchor, title, _ in sections]
        body = join(
            tag("a", "Skip to the content", href="#content", class_="skip"),
            tag(
                "header",
                tag("button", "Dark", type="button", class_="theme", aria_pressed="false"),
                tag("h1", self.title),
                head,
                tag("p", class_="live", aria_live="polite") if self.live else "",
                tag("div", class_="now") if self.live else "",
            ),
            tag("nav", tag("ul", *contents), aria_label="Contents"),
            tag(
                "main",
                *(
                    tag("section", tag("h2", title), content, id=anchor, data_made=made(content))
                    for anchor, title, content in sections
                ),
                tag("footer", tag("p", foot)),
                id="content",
            ),
            *(tag("script", src=f"assets/{name}.js") for name in scripts),
        )
        top = join(
            tag("meta", charset="utf-8"),
            tag("meta", name_="color-scheme", content="light dark"),
            tag("meta", name_="viewport", content="width=device-width, initial-scale=1"),
            tag("link", rel="icon", href="data:,"),
            tag("title", self.title),
            tag("link", rel="stylesheet", href="assets/page.css"),
        )
        return f'<!doctype html>\n<html lang="en"><head>{top}</head><body>{body}</body></html>\n'


def _select(label: str, options: dict[str, str], kind: str) -> Html:
    """A labelled selector of {value: text}."""
    shown = [tag("option", text, value=value) for value, text in options.items()]
    return tag("label", f"{label} ", tag("select", *shown, class_=kind), class_="pick")


def _cells(row: Sequence, marked: Sequence[slice]) -> list[Html]:
    best = set()
    for part in marked:
        places = range(len(row))[part]
        known = [k for k in places if isinstance(row[k], int | float) and row[k] == row[k]]
        if len({row[k] for k in known}) > 1:
            best.add(max(known, key=lambda k: row[k]))
    return [
        tag("td", value, class_=len(value) <= SHORT and "short")
        if isinstance(value, str)
        else tag(
            "td",
            number(value),
            data_value=value if value is not None and value == value else "",
            class_="number best" if place in best else "number",
        )
        for place, value in enumerate(row)
    ]
