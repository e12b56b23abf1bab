"""What each probe shows: figures for the known ones, the tables alone for any other.

A view is a function (page, name, probe) -> Html, a verdict a function (probe) -> sentences, empty
where there is nothing to say.
"""

from __future__ import annotations

import math

from fovea.analysis import attention, compare
from fovea.analysis.compare import Comparison, means
from fovea.analysis.figures import REFERENCES
from fovea.analysis.html import Html, amount, details, join, slug, tag, words
from fovea.analysis.page import Page
from fovea.analysis.runs import Probe, Run

ORDER = ("state", "tokens", "attention", "sparsity", "collapse")  # probes of other names follow

COMPARISONS = {
    "state": (
        "categories",
        Comparison(
            along="category",
            choice="game",
            measures={"r2": "R², higher is better", "f1": "F1, higher is better"},
            kind="bars",
            best=True,
            low=-0.5,
            high=1.0,
        ),
    ),
    "tokens": (
        "r2",
        Comparison(
            along="features",
            choice="game",
            measures={"r2": "R², higher is better"},
            kind="bars",
            best=True,
            low=-0.5,
            high=1.0,
        ),
    ),
    "sparsity": (
        "blocks",
        Comparison(
            along="block",
            choice="game",
            measures={
                "hoyer": "Hoyer, 0 dense to 1 sparse",
                "near_zero": "Near zero, share of activations",
                "dormant": "Dormant, share of units",
            },
            kind="lines",
        ),
    ),
    "collapse": (
        "features",
        Comparison(
            along="game",
            choice="place",
            measures={
                "rankme": "RankMe, effective rank",
                "lidar": "LiDAR, rank beside noise",
                "std": "Std, of features",
                "cosine_random": "Cosine random, pairs of screens",
                "cosine_neighbours": "Cosine neighbours, in time",
            },
            kind="bars",
        ),
    ),
}


def rank(probe: str) -> int:
    """The place of a probe among the others."""
    return [*ORDER, probe].index(probe)


def sections(page: Page, runs: list[Run]) -> list[tuple[str, str, Html]]:
    """(anchor, title, content) of every probe; one of several runs has a part for each."""
    probes: dict[str, list[tuple[Run, Probe]]] = {}
    for run in runs:
        for probe in run.probes.values():
            probes.setdefault(probe.name, []).append((run, probe))
    found = []
    for name in sorted(probes, key=rank):
        parts = []
        for run, probe in probes[name]:
            if len(probes[name]) > 1:
                parts.append(tag("h3", f"Run {run.name}"))
            parts.append(view(page, f"{slug(name)}-{run.slug}", probe))
        found.append((f"probe-{slug(name)}", probes[name][0][1].title, join(*parts)))
    return found


def view(page: Page, name: str, probe: Probe) -> Html:
    """A probe: its figures where it is known, then all its tables."""
    tables = probe.tables()
    drawn, shown = [], set()
    key, how = COMPARISONS.get(probe.name, ("", None))
    if key in tables and {how.along, how.choice, *how.measures} <= set(tables[key].columns):
        drawn.append(compare.view(page, name, probe.title, tables[key], how))
        shown.add(key)
    if probe.name == "attention":
        drawn.append(attention.view(page, name, probe))
    rest = [
        details(
            f"{table.title} ({amount(len(table.rows), 'row')})",
            page.table(f"{name}-{slug(key)}", table.columns, table.rows, note=table.note),
            open=not drawn,
        )
        for key, table in tables.items()
        if key not in shown
    ]
    settings = ", ".join(f"{key} {value}" for key, value in probe.settings.items())
    return join(
        tag("p", probe.about, class_="about"),
        *drawn,
        *rest,
        tag("p", f"Settings: {settings}.", class_="fine") if settings else "",
    )


def verdict(probe: Probe) -> str:
    """What the tables say in short, whatever it is; empty where there is nothing to say."""
    return VERDICTS[probe.name](probe) if probe.name in VERDICTS else ""


def _state(probe: Probe) -> str:
    r2 = _overall(probe, "categories", "r2", category="mean")
    if not r2:
        return ""
    games = len(compare.distinct(probe.tables()["categories"], "game"))
    measure = (
        "R² of a linear read-out of the game's memory on held-out episodes, mean of "
        f"{amount(games, 'game')}, one training run each"
    )
    return _against(r2, measure, ("random", "pixels"))


def _attention(probe: Probe) -> str:
    mass, area = (_overall(probe, "heads", measure) for measure in ("on_motion", "area"))
    return _against(
        {name: mass[name] / area[name] for name in mass if area.get(name)},
        "share of the attention on what moves, over its share of the screen",
        ("random",),
    )


def _collapse(probe: Probe) -> str:
    rank = _overall(probe, "features", "rankme", place="summary")
    return _against(rank, "effective rank (RankMe) of the summary", ("random",))


VERDICTS = {"state": _state, "attention": _attention, "collapse": _collapse}


def _overall(probe: Probe, key: str, measure: str, **where: str) -> dict[str, float]:
    """Encoder -> the mean of a measure over all rows where the other columns are as said."""
    table = probe.tables().get(key)
    if table is None or not {measure, *where} <= set(table.columns):
        return {}
    wanted = tuple(where.values())
    return {
        encoder: value
        for (encoder, *rest), value in means(table, measure, "encoder", *where).items()
        if tuple(rest) == wanted and math.isfinite(value)
    }


def _against(values: dict[str, float], measure: str, references: tuple[str, ...]) -> str:
    """ "MEASURE: a 0.43 and b 0.30. An untrained encoder has 0.35 (above it: a)." """
    own = [name for name in values if name not in REFERENCES]
    if not own:
        return ""
    told = [f"{measure}: {words([f'{name} {values[name]:.2f}' for name in own])}."]
    for reference in references:
        if reference in values:
            above = [name for name in own if values[name] > values[reference]]
            told.append(
                f"{REFERENCES[reference][3].capitalize()}: {values[reference]:.2f} "
                f"(above it: {words(above) if above else 'none'})."
            )
    return " ".join(told)
