"""What each probe shows: the figures and the sentence that it declares, and all its tables."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from fovea.analysis import attention, compare, embedding, gains, similarity, statistics
from fovea.analysis.figures import REFERENCES
from fovea.analysis.html import Html, amount, details, join, slug, tag, words
from fovea.analysis.page import Page
from fovea.analysis.runs import Probe, Run
from fovea.analysis.tables import ENOUGH
from fovea.figures import AttentionMaps, EmbeddingMap, Gains, Similarity
from fovea.results import ProbeResult
from fovea.tables import Table

NAN = math.nan


def rank(probe: Probe) -> tuple[int, str]:
    """The place of a probe among the others."""
    return probe.result.order, probe.result.probe


def sections(page: Page, runs: list[Run]) -> list[tuple[str, str, Html]]:
    """(anchor, title, content) of every probe; one of several runs has a part for each."""
    probes: dict[str, list[tuple[Run, Probe]]] = {}
    for run in runs:
        for name, probe in run.probes.items():
            probes.setdefault(name, []).append((run, probe))
    found = []
    for name in sorted(probes, key=lambda name: rank(probes[name][0][1])):
        parts = [over_runs(page, name, [probe.result for _, probe in probes[name]])]
        for run, probe in probes[name]:
            if len(probes[name]) > 1:
                parts.append(tag("h3", f"Run {run.name}"))
            parts.append(view(page, f"{slug(name)}-{run.slug}", probe))
        found.append((f"probe-{slug(name)}", probes[name][0][1].result.title, join(*parts)))
    return found


def over_runs(page: Page, name: str, results: list[ProbeResult]) -> Html:
    """What a probe's verdict measures, of each encoder over several runs; nothing of one run."""
    how = results[0].verdict
    if len(results) < 2 or not how:
        return Html("")
    scores: dict[str, list[dict[str, float]]] = {}
    for result in results:
        games = distinct_games(result.joined().get(how.table))
        for encoder, tables in result.encoders.items():
            of_game = {
                game: replace(how, where=how.where | {"game": game}).value(tables) for game in games
            }
            if any(map(math.isfinite, of_game.values())):
                scores.setdefault(encoder, []).append(of_game)
    rows = []
    for encoder, runs in scores.items():
        games = [game for game in runs[0] if all(math.isfinite(run.get(game, NAN)) for run in runs)]
        if not games:
            continue
        values = np.array([[run[game] for game in games] for run in runs])
        enough = len(values) >= ENOUGH
        low, high = statistics.interval(statistics.mean, values) if enough else (None, None)
        each = ", ".join(f"{value:.3f}" for value in values.mean(1))
        rows.append([encoder, len(runs), len(games), float(values.mean()), low, high, each])
    columns = ["encoder", "runs", "games", "mean", "95 % low", "95 % high", "each run"]
    sentence = how.sentence.replace("{games}", "the games that all runs have")
    note = f"{sentence}. Intervals, bootstrapped over runs, where there are {ENOUGH} runs or more."
    return join(tag("h3", f"Over {len(results)} runs"),
                page.table(f"{slug(name)}-over-runs", columns, rows, note=note))  # fmt: skip


def view(page: Page, name: str, probe: Probe) -> Html:
    """A probe: its figures, then the tables that they do not show whole."""
    result, tables = probe.result, probe.result.joined()
    drawn, shown = [], set()
    for number, how in enumerate(result.figures, start=1):
        own = name if number == 1 else f"{name}-{number}"
        if isinstance(how, AttentionMaps):
            drawn.append(attention.view(page, own, probe.arrays, result.encoders, how))
        elif isinstance(how, EmbeddingMap):
            drawn.append(embedding.view(page, own, probe.arrays, result.encoders))
        elif isinstance(how, Similarity):
            drawn.append(similarity.view(page, own, probe.arrays, result.encoders, how))
        elif isinstance(how, Gains):
            drawn.append(gains.view(page, own, result, probe.arrays, how))
        elif how.table in tables and compare.fits(tables[how.table], how):
            table = compare.asked(tables[how.table], how)
            if not table.rows:
                continue
            drawn.append(compare.view(page, own, how.title or result.title, table, how))
            if compare.shows_all(table, how):
                shown.add(how.table)
    drawn = [part for part in drawn if part]
    rest = [
        details(
            f"{table.title} ({amount(len(table.rows), 'row')})",
            page.table(f"{name}-{slug(key)}", table.columns, table.rows, note=table.note),
            open=not drawn,
        )
        for key, table in tables.items()
        if key not in shown
    ]
    settings = ", ".join(f"{key} {value}" for key, value in result.settings.items())
    return join(
        tag("p", result.about, class_="about"),
        *(tag("p", f"{encoder}: {how}.") for encoder, how in result.takes.items()),
        *drawn,
        *rest,
        tag("p", f"Settings: {settings}.", class_="fine") if settings else "",
    )


def verdict(result: ProbeResult) -> str:
    """A probe's result in short; empty where it declares no verdict, or its table is missing."""
    how, tables = result.verdict, result.joined()
    if not how or how.table not in tables:
        return ""
    values = {encoder: how.value(of) for encoder, of in result.encoders.items()}
    values = {encoder: value for encoder, value in values.items() if math.isfinite(value)}
    games = len(distinct_games(tables[how.table]))
    sentence = how.sentence.replace("{games}", amount(games, "game"))
    return _against(values, sentence, how.references)


def distinct_games(table: Table | None) -> list[str]:
    """Those that a table has rows of; none of a table without such a column."""
    if table is None or "game" not in table.columns:
        return []
    return compare.distinct(table, "game")


def _against(values: dict[str, float], measure: str, references: list[str]) -> str:
    """ "MEASURE: a 0.43 and b 0.30. An untrained encoder has 0.35 (above it: a)." """
    own = [name for name in values if name not in REFERENCES]
    if not own:
        return ""
    parts = [f"{measure}: {words([f'{name} {_short(values[name])}' for name in own])}."]
    for reference in references:
        if reference in values:
            above = [name for name in own if values[name] > values[reference]]
            about = REFERENCES[reference][3] if reference in REFERENCES else reference
            parts.append(
                f"{about.capitalize()}: {_short(values[reference])} "
                f"(above it: {words(above) if above else 'none'})."
            )
    return " ".join(parts)


def _short(value: float) -> str:
    """Two digits after the point, or as many as two that count take."""
    return f"{value:.2f}" if abs(value) >= 0.01 or not value else f"{value:.2g}"
