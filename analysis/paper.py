"""The figures of a page for papers: vector files, drawn by matplotlib from the same data.

A figure is a dict of `figures.panel`, of which this knows what the page's own figures use.
"""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fovea.analysis.figures import DASHES, MUTED
from fovea.analysis.html import slug
from fovea.analysis.page import Page
from fovea.command import UserError
from fovea.files import replacing
from fovea.progress import bar

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FORMATS = {"svg": "Date", "pdf": "CreationDate"}
"""And how each calls the time of writing, which is left out: the same figure is the same file."""

STYLE: Any = {
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e4e7ec",
    "legend.frameon": False,
    "pdf.fonttype": 42,  # whole fonts: venues refuse those of type 3
    "svg.hashsalt": "fovea",
    "svg.fonttype": "path",
}
ACROSS, WIDE, HIGH = 3, 2.6, 2.1  # figures side by side, and inches of one
NEWEST = 12  # methods, as on the page
STYLES = dict(zip(DASHES, ("-", "--", ":", "-."), strict=True))
MARKERS = {"circle": "o", "square": "s", "diamond": "D", "triangle-up": "^", "pentagon": "p",
           "star": "*"}  # fmt: skip


def write(page: Page, folder: Path) -> list[Path]:
    """Write every chart of a page, for each of its choices, to `folder`, as FORMATS.

    Maps and films are left out: what they are coloured by and show is chosen on the page.

    Raises UserError where matplotlib is not installed.
    """
    if not installed():
        raise UserError("--figures needs matplotlib: pip install 'fovea-rl[figures]'")
    folder.mkdir(parents=True, exist_ok=True)
    drawn = [
        (f"{name}-{slug(choice)}" if choice else name, panels)
        for name, choices in page.charts.items()
        if name not in page.pictures
        for choice, panels in choices.items()
    ]
    written: list[Path] = []
    with bar("figures", "figures", len(drawn), delay=2) as progress:
        for stem, panels in drawn:
            written += draw(panels, folder / stem)
            progress.update()
    return written


def installed() -> bool:
    """Whether matplotlib is there, which draws."""
    return bool(find_spec("matplotlib"))


def draw(panels: list[dict], stem: Path, kinds: Sequence[str] = tuple(FORMATS)) -> list[Path]:
    """Draw panels side by side, as files STEM.svg and STEM.pdf, or of some of these kinds."""
    from matplotlib import rc_context
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    written = []
    with rc_context(STYLE):
        rows, across = -(-len(panels) // ACROSS), min(len(panels), ACROSS)
        figure = Figure(figsize=(WIDE * across, HIGH * rows + 0.4), layout="constrained")
        FigureCanvasSVG(figure)
        every = figure.subplots(rows, across, squeeze=False).ravel()
        for axes, panel in zip(every, panels, strict=False):
            _panel(axes, panel)
        for axes in every[len(panels) :]:
            axes.set_axis_off()
        _legend(figure, every)
        figure.draw_without_rendering()
        figure.set_layout_engine("none")  # it is laid out, once for all formats
        for kind in kinds:
            path = stem.with_name(f"{stem.name}.{kind}")
            with replacing(path) as temporary:
                figure.savefig(temporary, format=kind, metadata={FORMATS[kind]: None})
            written.append(path)
    return written


def _legend(figure: Any, every: np.ndarray) -> None:
    shown: dict[str, Any] = {}
    for axes in every:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            shown.setdefault(label, handle)
    if shown:
        columns = min(len(shown), 4, 2 * round(figure.get_figwidth() / WIDE))
        figure.legend(shown.values(), shown.keys(), loc="outside lower center", ncols=columns)


def _panel(axes: Axes, panel: dict) -> None:
    layout = panel["layout"]
    axes.set_title(_text(layout["title"]["text"]))
    known = _newest(panel["data"])
    traces = [trace for trace in panel["data"] if _name(trace) in known]
    lying = [trace for trace in traces if trace.get("orientation") == "h"]
    for trace in traces:
        if trace["type"] == "heatmap":
            _heatmap(axes, trace)
        elif trace.get("fill"):
            axes.fill(trace["x"], _numbers(trace["y"]), color=trace["line"]["color"],
                      alpha=trace["opacity"], linewidth=0)  # fmt: skip
        elif trace["type"] == "scatter":
            _scatter(axes, trace)
    if lying:
        _bars(axes, lying)
    if axes.images:
        axes.grid(visible=False)
    for mark in layout.get("shapes", []):
        if mark["type"] == "rect":
            axes.axvspan(mark["x0"], mark["x1"], color=MUTED, alpha=0.14, linewidth=0)
        else:
            axes.axhline(mark["y0"], color=MUTED, linewidth=0.7, linestyle="--")
    for note in layout.get("annotations", []):
        if note.get("yref") != "paper":
            side = "bottom" if note["yanchor"] == "bottom" else "top"
            axes.annotate(_text(note["text"]), (1, note["y"]), xycoords=("axes fraction", "data"),
                          ha="right", va=side, color=MUTED, fontsize=6)  # fmt: skip
    for which, setter in (("x", axes.set_xlim), ("y", axes.set_ylim)):
        axis = layout[f"{which}axis"]
        if not axes.images and not (lying and which == "y"):
            _axis(axes, which, axis, setter)


def _axis(axes: Axes, which: str, axis: dict, limit: Callable) -> None:
    if title := axis.get("title", {}).get("text"):
        getattr(axes, f"set_{which}label")(_text(title))
    if "range" in axis and None not in axis["range"]:
        limit(*axis["range"])
    if "tickvals" in axis:
        texts = [_text(str(text)) for text in axis.get("ticktext", axis["tickvals"])]
        getattr(axes, f"set_{which}ticks")(axis["tickvals"], texts)


def _scatter(axes: Axes, trace: dict) -> None:
    role = trace.get("meta", {}).get("role")
    marker = trace.get("marker", {})
    colour = trace.get("line", {}).get("color") or marker.get("color")
    several = role == "seed" and trace.get("opacity", 1) < 1
    label = "_" if several else re.sub(", IQM of .*", "", _text(trace["name"]))
    values = _numbers(trace["y"])
    shape = MARKERS.get(marker.get("symbol"), "o")
    if trace["mode"] == "markers":
        axes.scatter(trace["x"], values, s=marker.get("size", 5) ** 2 / 4, color=colour,
                     alpha=marker.get("opacity", 1), marker=shape, linewidth=0)  # fmt: skip
        return
    axes.plot(
        trace["x"],
        values,
        color=colour,
        linestyle=STYLES[trace["line"].get("dash", "solid")],
        linewidth=trace["line"]["width"] / 2,
        alpha=trace.get("opacity", 1),
        drawstyle="steps-post" if trace["line"].get("shape") == "hv" else "default",
        marker=shape if marker.get("symbol") else None,
        markersize=3,
        label=label,
    )
    if spread := trace.get("error_y", {}).get("array"):
        axes.errorbar(trace["x"], values, _numbers(spread), color=colour, fmt="none", lw=0.6)


def _bars(axes: Axes, traces: list[dict]) -> None:
    labels = traces[0]["y"]
    high = 0.8 / len(traces)
    # The page draws lying bars from the bottom up, with the first encoder and label on top.
    for k, trace in enumerate(reversed(traces)):
        place = np.arange(len(labels)) + (k - (len(traces) - 1) / 2) * high
        marker = trace["marker"]
        axes.barh(place, _numbers(trace["x"]), high, color=marker["color"], edgecolor="white",
                  hatch=2 * marker["pattern"]["shape"], linewidth=0,
                  label=_text(trace["name"]))  # fmt: skip
    axes.set_yticks(np.arange(len(labels)), [_text(label) for label in labels])
    axes.invert_yaxis()
    axes.grid(visible=False, axis="y")


def _heatmap(axes: Axes, trace: dict) -> None:
    values = np.array([_numbers(row) for row in trace["z"]])
    axes.imshow(values, cmap="Blues", vmin=trace.get("zmin"), vmax=trace.get("zmax"))
    axes.set_xticks(range(len(trace["x"])), [_text(x) for x in trace["x"]], rotation=30, ha="right")
    axes.set_yticks(range(len(trace["y"])), [_text(y) for y in trace["y"]])
    for (row, column), value in np.ndenumerate(values):
        if np.isfinite(value):
            axes.text(column, row, f"{value:.2f}", ha="center", va="center", fontsize=6,
                      color="white" if value > 0.6 else "black")  # fmt: skip


def _newest(traces: list[dict]) -> set[str]:
    """The names that the page draws at first: the NEWEST of which it knows the runs."""
    newest: dict[str, int] = {}
    for trace in traces:
        runs = trace.get("meta", {}).get("runs", [0])
        newest[_name(trace)] = max(newest.get(_name(trace), -1), *runs)
    ranked = sorted(newest, key=lambda name: -newest[name])
    known = any("meta" in trace for trace in traces)
    return set(ranked[:NEWEST] if known else ranked)


def _name(trace: dict) -> str:
    return trace.get("meta", {}).get("of") or trace.get("name", "")


def _text(markup: str) -> str:
    """What plotly shows of its markup. A dollar sign would begin a formula in matplotlib."""
    return html.unescape(re.sub("<br>", "\n", str(markup))).replace("$", r"\$")


def _numbers(values: list) -> np.ndarray:
    return np.array([np.nan if value is None else value for value in values], dtype=float)
