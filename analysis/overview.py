"""The top of the page: the results in short, what ran, and where every number comes from."""

from __future__ import annotations

from collections import Counter

from fovea.analysis import agents, continual, probing
from fovea.analysis.html import Html, amount, details, duration, join, number, tag, words
from fovea.analysis.page import SHOWN, Page
from fovea.analysis.runs import Run

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
    going = [_progress(run) for run in runs if run.state == "running"]
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
    """A table of the runs, and each run's provenance folded below."""
    columns = ["run", "kind", "title", "state", "step", "of", "seconds", "started"]
    rows = [
        [
            run.name,
            run.kind,
            _text(run, "title"),
            run.state,
            *(_count(run, key) for key in ("step", "steps", "seconds")),
            _text(run, "started").replace("T", " ")[:16],
        ]
        for run in runs
    ]
    return join(
        page.table("runs", columns, rows),
        tag("h3", "Provenance"),
        tag("p", "How each run was started, with what, and all its settings."),
        *(_provenance(run) for run in runs[:SHOWN]),
    )


def kinds(runs: list[Run]) -> str:
    """ "5 runs: 2 pretraining, 1 probing, 2 playing"."""
    counts = Counter(run.kind for run in runs)
    return f"{amount(len(runs), 'run')}: " + ", ".join(
        f"{count} {KINDS.get(kind, kind)}" for kind, count in counts.items()
    )


def _provenance(run: Run) -> Html:
    facts = {
        "Folder": str(run.folder),
        "Command": _text(run, "command"),
        "Commit": _text(run, "commit"),
        "Seed": _text(run, "seed"),
        "Time": duration(_count(run, "seconds") or 0),
        "Updated": _text(run, "updated"),
        "Versions": _pairs(run.record.versions),
        "Data": _pairs(run.record.data),
        "Reason": _text(run, "reason"),
        "Problems": "; ".join(run.problems),
    }
    return details(
        f"{run.name}: {_text(run, 'title') or run.kind}",
        tag(
            "dl",
            *(
                join(tag("dt", key), tag("dd", tag("code", text)))
                for key, text in facts.items()
                if text
            ),
        ),
        tag("pre", run.config, tabindex="0") if run.config else "",
        class_="run",
    )


def _trouble(run: Run) -> str:
    reason = _text(run, "reason") or "; ".join(run.problems) or "no reason was written"
    return f"{run.name} {run.state} at step {number(_count(run, 'step'))}: {reason}"


def _progress(run: Run) -> str:
    return f"{run.name} (step {number(_count(run, 'step'))} of {number(_count(run, 'steps'))})"


def _text(run: Run, key: str) -> str:
    value = getattr(run.record, key)
    return "" if value is None else str(value)


def _count(run: Run, key: str) -> float | None:
    value = getattr(run.record, key)
    return value if isinstance(value, int | float) else None


def _pairs(value: object) -> str:
    return ", ".join(f"{k} {v}" for k, v in value.items()) if isinstance(value, dict) else ""
