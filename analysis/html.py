"""HTML by functions: text is escaped unless it is HTML already, so no name can become markup."""

from __future__ import annotations

import math
import re
from html import escape

from fovea.foreign import printable


class Html(str):
    """Text that is HTML already."""


def tag(name: str, *children: str, **attributes: object) -> Html:
    """An element. `class_` is class, `data_x` is data-x; None and False leave an attribute out."""
    written = "".join(
        f" {key.strip('_').replace('_', '-')}"
        + ("" if value is True else f'="{escape(printable(str(value)))}"')
        for key, value in attributes.items()
        if value is not None and value is not False
    )
    if name in ("meta", "link", "img", "input", "br"):
        return Html(f"<{name}{written}>")
    return Html(f"<{name}{written}>{join(*children)}</{name}>")


def join(*children: str) -> Html:
    """Children one after another, escaped where they are plain text."""
    return Html("".join(c if isinstance(c, Html) else escape(printable(c)) for c in children))


def number(value: float | None) -> str:
    """A number as people read it: about three digits that count, thousands apart, a true minus."""
    if value is None or not math.isfinite(value):
        return "–"
    size = abs(value)
    if size >= 100 or float(value).is_integer():
        text = f"{value:,.0f}"
    elif size >= 10:
        text = f"{value:.1f}"
    elif size >= 1:
        text = f"{value:.2f}"
    elif size >= 0.001:
        text = f"{value:.3f}"
    else:
        text = f"{value:.1e}".replace("e-0", "e-")
    return text.replace("-", "−")


def duration(seconds: float) -> str:
    """Seconds as "42 s", "3 min 20 s" or "2 h 5 min"."""
    seconds = round(seconds)
    if seconds < 60:
        return f"{seconds} s"
    if seconds < 3600:
        return f"{seconds // 60} min {seconds % 60} s"
    return f"{seconds // 3600} h {seconds % 3600 // 60} min"


def amount(count: int, noun: str) -> str:
    """A count with its noun: "1 run", "2,000 runs"."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def words(parts: list[str]) -> str:
    """A list in a sentence: "a", "a and b", "a, b and c"."""
    return " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)


def slug(text: str) -> str:
    """Text as part of a file name or an anchor."""
    return re.sub(r"[^A-Za-z0-9_]+", "-", text).strip("-") or "unnamed"


def details(summary: str, *children: str, **attributes: object) -> Html:
    """A part that opens on a click."""
    return tag("details", tag("summary", summary), *children, **attributes)
