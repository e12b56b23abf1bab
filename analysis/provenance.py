"""Where runs come from: the facts of each, its settings, and the command that makes it again."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from functools import lru_cache
from itertools import islice

import numpy as np

from fovea.analysis.agent_runs import game_of
from fovea.analysis.compare import game_name
from fovea.analysis.html import amount, duration
from fovea.analysis.runs import Run
from fovea.command import UserError
from fovea.foreign import load_yaml, printable
from fovea.metrics import NOTHING, SAMPLES_PER_SECOND, STEPS_PER_SECOND

KNOTS = 40  # of a run's clock
LONGEST = 1e12  # seconds on it, of a speed that was logged as next to none
SETTINGS = 2000  # of a run that are shown
HASH = re.compile("[0-9a-f]{64}")  # of which run.json has all digits


def table(runs: list[Run]) -> dict[str, object]:
    """What the page's overview shows and searches of these runs.

    `list` has each run's facts; `keys`, `values` and `of` all their settings: the setting keys[k]
    of run r is values[k][of[k][r]], or missing for -1. of[k] is None where all runs have values[k].
    """
    settings = [_settings(run.config) for run in runs]
    keys = list(dict.fromkeys(key for own in settings for key in own))
    values, of = [], []
    for key in keys:
        own = [one.get(key) for one in settings]
        distinct = list(dict.fromkeys(value for value in own if value is not None))
        place = {value: k for k, value in enumerate(distinct)}
        values.append(distinct)
        same = len(distinct) == 1 and None not in own
        of.append(None if same else [-1 if value is None else place[value] for value in own])
    return {"list": [_facts(run) for run in runs], "keys": keys, "values": values, "of": of}


def _facts(run: Run) -> dict[str, object]:
    record = run.record
    shown = {
        "Folder": printable(str(run.folder)),
        "Command": _text(record.command),
        "Commit": _commit(record.commit),
        "Seed": _text(record.seed),
        "Time": duration(seconds(run)),
        "Started": _text(record.started),
        "Updated": _text(record.updated),
        "Begun from": _text(record.init_from),
        "Asked for": _asked(record.history),
        "Versions": _pairs(record.versions),
        "Data": HASH.sub(lambda found: found[0][:12], _pairs(record.data)),
        "Reason": _text(record.reason),
        "Problems": "; ".join(run.problems),
    }
    return {
        "name": run.name,
        "kind": run.kind,
        "method": run.method,
        "state": run.state,
        "game": game_name(str(game_of(run))),
        "title": _text(record.title) or run.kind,
        "facts": {key: text for key, text in shown.items() if text},
        "again": again(run),
        "batch": record.batch if isinstance(record.batch, int) else None,
        "clock": clock(run),
    }


def _asked(history: object) -> str:
    """How often its settings were changed after the first start."""
    changes = len(history) - 1 if isinstance(history, list) else 0
    return f"otherwise {amount(changes, 'time')} since it began" if changes > 0 else ""


def again(run: Run) -> str:
    """A command that makes the run once more beside it: as it was typed, with a folder of its own.

    Where the commit is known it is checked out first. Empty where no command was kept.
    """
    try:
        words = shlex.split(_text(run.record.command))
    except ValueError:
        return ""
    for k, word in enumerate(words):
        if word == "--run" and k + 1 < len(words):
            words[k + 1] = f"{words[k + 1].rstrip('/')}-again"
        elif word.startswith("--run="):
            words[k] = f"{word.rstrip('/')}-again"
    commit, _ = _checked_out(run.record.commit)
    checkout = f"git checkout {shlex.quote(commit)} && " if commit and words else ""
    return checkout + shlex.join(words)


def _checked_out(commit: object) -> tuple[str, bool]:
    """The digits of a commit, and whether the code had changes besides."""
    text = _text(commit)
    digits = text.removesuffix("+").removesuffix("-dirty")  # which runs of version 0.1 have
    return digits, digits != text


def _commit(commit: object) -> str:
    digits, changed = _checked_out(commit)
    return f"{digits}, and changes that were not committed" if changed else digits


def seconds(run: Run) -> float:
    """Of work; 0 where that is not known."""
    value = run.record.seconds
    return float(value) if isinstance(value, int | float) and np.isfinite(value) else 0.0


def clock(run: Run) -> list[list[float]] | None:
    """Steps, and the seconds of work after them, at some KNOTS; None where that is not known.

    By the speed that was logged; where none was, by the time of the whole run.
    """
    speed, scale = run.metrics.get(STEPS_PER_SECOND, NOTHING), 1.0
    if not len(speed.steps) and isinstance(run.record.batch, int):
        speed, scale = run.metrics.get(SAMPLES_PER_SECOND, NOTHING), 1 / max(run.record.batch, 1)
    known = np.isfinite(speed.values) & (speed.values > 0)
    steps, per_second = speed.steps[known], speed.values[known] * scale
    if len(steps):
        at = np.minimum(np.cumsum(np.diff(steps, prepend=0) / per_second), LONGEST)
        some = np.unique(np.linspace(0, len(steps) - 1, KNOTS).astype(int))
        return [[0, *steps[some].tolist()], [0, *np.round(at[some], 2).tolist()]]
    step = run.record.step
    if isinstance(step, int) and step > 0 and seconds(run) > 0:
        return [[0, step], [0, seconds(run)]]
    return None


@lru_cache(maxsize=4096)
def _settings(config: str) -> dict[str, str]:
    """The settings in the text of a config.yaml, by their dotted names, as JSON."""
    try:
        found = load_yaml(config, "config.yaml")
    except UserError:
        return {"config.yaml": "cannot be read"}
    return dict(islice(_flat("", found), SETTINGS)) if isinstance(found, dict) else {}


def _flat(name: str, value: object) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from _flat(f"{name}.{key}" if name else str(key), inner)
    else:
        yield name, _json(value)


def _json(value: object) -> str:
    try:
        return json.dumps(value, default=str, ensure_ascii=False)
    except TypeError:  # of a date, say, as a key
        return str(value)


def _text(value: object) -> str:
    return "" if value is None else str(value)


def _pairs(value: object) -> str:
    return ", ".join(f"{k} {v}" for k, v in value.items()) if isinstance(value, dict) else ""
