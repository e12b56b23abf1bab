"""The top of the page: the results in short, what ran, and where every number comes from."""

from __future__ import annotations

import time
from collections import Counter

import numpy as np

from fovea.analysis import agents, continual, probing, provenance
from fovea.analysis.agent_runs import evaluation, game_of
from fovea.analysis.compare import game_name
from fovea.analysis.html import Html, amount, details, join, number, tag, words
from fovea.analysis.learning import ended
from fovea.analysis.page import Page
from fovea.analysis.running import SILENT, last_sign, reached
from fovea.analysis.runs import Run
from fovea.metrics import LOSS, NOTHING, RETURN, WINDOW

SENTENCES = 12
KINDS = {
    "pretrain": "pretraining",
    "probes": "probing",
    "agent": "playing",
    "continual": "continual play",
}


def verdicts(runs: list[Run]) -> Html:
    """The results in short, computed from the runs, the troubles first."""
    items = [
        _item("Trouble", _trouble(run), "trouble")
        for run in runs
        if run.problems or run.state not in ("done", "running")
    ]
    begun = [run for run in runs if run.state == "running"]
    still = {run.slug for run in begun if time.time() - last_sign(run.folder) <= SILENT}
    items += [_item("Trouble", _silent(run), "trouble") for run in begun if run.slug not in still]
    going = [_progress(run) for run in begun if run.slug in still]
    if going:
        more = f" and {len(going) - SENTENCES} more" if len(going) > SENTENCES else ""
        items.append(_item("Still running", words(going[:SENTENCES]) + more + ".", "note"))
    probes = [probe for run in runs for probe in run.probes.values()]
    for probe in sorted(probes, key=probing.rank):
        if text := probing.verdict(probe.result):
            items.append(_item(probe.result.title, text))
    items += [_item("Agents", text) for text in agents.verdicts(runs)]
    items += [_item("Continual play", text) for text in continual.verdicts(runs)]
    if not items:
        return tag("p", "There are no results yet: no probe and no evaluation is finished.")
    rest = items[SENTENCES:]
    return join(
        tag("ul", *items[:SENTENCES], class_="verdicts"),
        details(f"{len(rest)} more", tag("ul", *rest, class_="verdicts")) if rest else "",
    )


def _item(lead: str, text: str, kind: str | None = None) -> Html:
    return tag("li", tag("strong", f"{lead}:"), f" {text}", class_=kind)


def what_ran(page: Page, runs: list[Run]) -> Html:
    """The runs with filters, search and groups; the facts of one; how two of them differ."""
    page.runs = provenance.table(runs)
    if not runs:
        return tag("p", "No run is here yet: one appears as soon as it has begun.", class_="empty")
    columns = ["run", "kind", "game", "title", "state", "step", "of", "seconds", "return", "loss"]
    rows = [
        [
            run.name,
            run.kind,
            game_name(str(game_of(run))),
            _text(run, "title"),
            run.state,
            *(_count(run, key) for key in ("step", "steps", "seconds")),
            _return(run),
            _last(run, LOSS),
            _text(run, "started").replace("T", " ")[:16],
        ]
        for run in runs
    ]
    return join(
        tag(
            "div",
            tag("label", "Search ", tag("input", type="search", class_="search", placeholder=(
                "words of names, titles, settings")), class_="pick"),
            tag("span", class_="filters"),
            tag("output", amount(len(runs), "run"), aria_live="polite"),
            class_="controls finder",
        ),
        tag("p", "The search and the filters also choose the learning curves that are drawn.",
            class_="fine"),
        tag("div", class_="groups", hidden=True),
        page.table("runs", [*columns, "started"], rows, shown=ROWS, note=RETURNS),
        tag("h3", "One run"),
        tag("p", "How it was started, with what, how to make it again, and all its settings."),
        tag("div", tag("label", "Run ", tag("select", class_="one"), class_="pick"),
            class_="controls"),
        tag("div", class_="facts"),
        tag("h3", "Two runs"),
        tag("div",
            tag("label", "Settings of ", tag("select", class_="first"), class_="pick"),
            tag("label", "against ", tag("select", class_="second"), class_="pick"),
            class_="controls"),
        tag("div", class_="differences", aria_live="polite"),
    )  # fmt: skip


ROWS = 2000  # of the table of runs that can be searched
RETURNS = (
    f"Return: of the evaluation, or where there is none the mean of the last {WINDOW} episodes in "
    "training. Loss: the last that was logged."
)


def _return(run: Run) -> float | None:
    if found := evaluation(run):
        return float(np.mean(found.returns))
    values = ended(run.metrics.get(RETURN, NOTHING)).values[-WINDOW:]
    return float(values.mean()) if len(values) else None


def _last(run: Run, metric: str) -> float | None:
    values = run.metrics.get(metric, NOTHING).values
    return float(values[-1]) if len(values) else None


def kinds(runs: list[Run]) -> str:
    """ "5 runs: 2 pretraining, 1 probing, 2 playing"."""
    counts = Counter(run.kind for run in runs)
    return f"{amount(len(runs), 'run')}: " + ", ".join(
        f"{count} {KINDS.get(kind, kind)}" for kind, count in counts.items()
    )


def _trouble(run: Run) -> str:
    reason = _text(run, "reason") or "; ".join(run.problems) or "no reason was written"
    return f"{run.name} {run.state} at step {number(_count(run, 'step'))}: {reason}"


def _silent(run: Run) -> str:
    since = time.strftime("%Y-%m-%d %H:%M", time.localtime(last_sign(run.folder)))
    return f"no sign of life of {_progress(run)} since {since}: it may have been killed"


def _progress(run: Run) -> str:
    return f"{run.name} (step {number(reached(run))} of {number(_count(run, 'steps'))})"


def _text(run: Run, key: str) -> str:
    value = getattr(run.record, key)
    return "" if value is None else str(value)


def _count(run: Run, key: str) -> float | None:
    value = getattr(run.record, key)
    return value if isinstance(value, int | float) else None
