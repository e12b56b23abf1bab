"""Plotly figures as plain JSON-able dicts, in one quiet style, without importing plotly."""

from __future__ import annotations

import html
import math
from collections.abc import Iterable

MUTED = "#7b8490"  # is read on white and on black
# So are these: of 3 to 4.5 times the luminance of black, and white of as many times theirs.
PALETTE = (
    "#1f83b5",
    "#d65f28",
    "#2f9a62",
    "#9c62c0",
    "#b58616",
    "#cf548b",
    "#5a79d6",
    "#74902a",
)
DASHES = ("solid", "dash", "dot", "dashdot")  # one after another where colours begin anew
SYMBOLS = ("circle", "square", "diamond", "triangle-up", "pentagon", "star")
# What trained encoders are compared with is grey and hatched on every figure.
REFERENCES = {
    "random": ("#7b828d", "/", "x-thin-open", "an untrained encoder of the same shape"),
    "pixels": ("#9aa1ab", ".", "cross-thin-open", "raw pixels"),
    "pixels_pooled": ("#8d8678", "\\", "y-up-open", "raw pixels, as many numbers as the encoder"),
    "majority": ("#bcc2ca", "-", "line-ew-open", "the most frequent value"),
}


class Looks:
    """One colour and one marker for each name, the same on every figure of a page."""

    def __init__(self, names: Iterable[str]):
        own = [name for name in dict.fromkeys(names) if name not in REFERENCES]
        self._order = {name: place for place, name in enumerate(own)}

    def colour(self, name: str) -> str:
        if name in REFERENCES:
            return REFERENCES[name][0]
        return PALETTE[self._place(name) % len(PALETTE)]

    def _place(self, name: str) -> int:
        return self._order.setdefault(name, len(self._order))

    def dash(self, name: str) -> str:
        if name in REFERENCES:
            return "solid"
        return DASHES[self._place(name) // len(PALETTE) % len(DASHES)]

    def hatch(self, name: str) -> str:
        return REFERENCES[name][1] if name in REFERENCES else ""

    def symbol(self, name: str) -> str:
        if name in REFERENCES:
            return REFERENCES[name][2]
        return SYMBOLS[self._place(name) % len(SYMBOLS)]


def plain(text: str) -> str:
    """Text for a figure: plotly reads a few HTML tags in labels, so that names must be escaped."""
    return html.escape(text, quote=False)


def finite(values: Iterable[float | None]) -> list[float | None]:
    """Numbers for JSON, which knows no NaN: None draws a gap. Six digits are more than one sees."""
    return [None if v is None or not math.isfinite(v) else float(f"{v:.6g}") for v in values]


def template(ink: str, ground: str, rule: str) -> dict:
    """The style of all figures of a page, as a template of plotly."""
    axis = {
        "gridcolor": rule,
        "linecolor": rule,
        "zerolinecolor": rule,
        "automargin": True,
        "exponentformat": "power",
        "separatethousands": True,
        "tickfont": {"color": MUTED, "size": 11},
        "title": {"font": {"color": MUTED, "size": 11}, "standoff": 8},
    }
    title = {
        "font": {"size": 14, "color": ink},
        "x": 0,
        "xref": "container",
        "xanchor": "left",
        "y": 1,
        "yref": "container",
        "yanchor": "top",
        "pad": {"t": 10},
    }
    layout = {
        "title": title,
        "margin": {"l": 44, "r": 12, "t": 40, "b": 40},
        "font": {"family": "system-ui, sans-serif", "size": 12, "color": ink},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "showlegend": False,
        "hoverlabel": {"bgcolor": ground, "bordercolor": rule, "font": {"color": ink}},
        "xaxis": axis,
        "yaxis": axis,
    }
    return {"layout": layout}


TEMPLATES = {
    "light": template("#1c2330", "#ffffff", "#e4e7ec"),
    "dark": template("#e6e9ee", "#1b212a", "#2c3440"),
}


def panel(
    title: str,
    traces: list[dict],
    *,
    x: str = "",
    y: str = "",
    height: int = 280,
    xaxis: dict | None = None,
    yaxis: dict | None = None,
    **layout: object,
) -> dict:
    """A figure of one plot. `xaxis`, `yaxis` and `layout` add to the style of TEMPLATES."""
    return {
        "data": traces,
        "layout": {
            "title": {"text": plain(title)},
            "height": height,
            "xaxis": {"title": {"text": x}, **(xaxis or {})},
            "yaxis": {"title": {"text": y}, **(yaxis or {})},
            **layout,
        },
    }


def band(name: str, xs: Iterable, low: Iterable[float], high: Iterable[float], colour: str) -> dict:
    """A translucent area between two lines, as one closed line: along the low end and back."""
    xs = list(xs)
    return {
        "type": "scatter",
        "mode": "lines",
        "name": plain(name),
        "x": xs + xs[::-1],
        "y": finite(low) + finite(high)[::-1],
        "fill": "toself",
        "fillcolor": colour,
        "opacity": 0.18,
        "line": {"width": 0, "color": colour},
        "hoverinfo": "skip",
    }


def line(
    name: str,
    xs: Iterable,
    ys: Iterable[float | None],
    colour: str,
    *,
    symbol: str | None = None,
    errors: Iterable[float] | None = None,
) -> dict:
    """A line through points, with a marker on each where `symbol` names one.

    `errors` are half the lengths of the bars that are drawn around the points.
    """
    marker = {"symbol": symbol, "size": 9, "line": {"width": 2, "color": colour}}
    return {
        "type": "scatter",
        "mode": "lines+markers" if symbol else "lines",
        "name": plain(name),
        "x": list(xs),
        "y": finite(ys),
        "line": {"color": colour, "width": 2},
        **({"marker": marker | {"color": colour}} if symbol else {}),
        **({"error_y": {"array": finite(errors), "thickness": 1, "width": 3}} if errors else {}),
        "hovertemplate": "%{y:.4~g} at %{x}<extra>%{fullData.name}</extra>",
    }


def points(name: str, xs: Iterable, ys: Iterable[float], colour: str, *, size: int = 5) -> dict:
    """Loose translucent points."""
    return {
        "type": "scatter",
        "mode": "markers",
        "name": plain(name),
        "x": list(xs),
        "y": finite(ys),
        "marker": {"color": colour, "size": size, "opacity": 0.4},
        "hovertemplate": "%{y:.4~g}<extra>%{fullData.name}</extra>",
    }


def bars(name: str, labels: Iterable[str], values: Iterable[float], looks: Looks) -> dict:
    """One encoder's bars, lying, beside those of the others."""
    return {
        "type": "bar",
        "orientation": "h",
        "name": plain(name),
        "y": [plain(label) for label in labels],
        "x": finite(values),
        "marker": {
            "color": looks.colour(name),
            "pattern": {
                "shape": looks.hatch(name),
                "fillmode": "overlay",
                "fgcolor": "#fff",
                "size": 5,
                "solidity": 0.25,
            },
        },
        "hovertemplate": "%{x:.3f}<extra>%{fullData.name}</extra>",
    }


def level(height: float, text: str, side: str) -> tuple[dict, dict]:
    """A dashed line across the plot (a layout shape) and its label (an annotation).

    `side` is where the line lies as seen from its label: "bottom" for a label above it, or "top".
    """
    shape = {
        "type": "line",
        "xref": "paper",
        "x0": 0,
        "x1": 1,
        "y0": height,
        "y1": height,
        "line": {"color": MUTED, "width": 1, "dash": "dash"},
    }
    label = {
        "xref": "paper",
        "x": 1,
        "y": height,
        "text": plain(text),
        "showarrow": False,
        "xanchor": "right",
        "yanchor": side,
        "font": {"size": 11, "color": MUTED},
    }
    return shape, label
