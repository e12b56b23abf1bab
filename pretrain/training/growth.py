"""How the settings of a run may change while it goes on: it may grow, and be watched otherwise."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from pydoc import locate as imported
from typing import Any

import yaml
from jsonargparse import ArgumentError, ArgumentParser, Namespace

from fovea.atari.recordings import find_recordings, open_dataset
from fovea.command import UserError
from fovea.old_names import read_config
from fovea.runs import timestamp

WATCHING = tuple(
    f"trainer.{name}"
    for name in (
        *("accelerator", "devices", "num_nodes", "strategy"),  # where it runs
        *("logger", "callbacks", "profiler", "log_every_n_steps", "default_root_dir"),
        *("enable_progress_bar", "enable_model_summary", "enable_checkpointing"),
        *("val_check_interval", "check_val_every_n_epoch", "limit_val_batches"),
        *("num_sanity_val_steps", "max_time"),
    )
)
MAY_CHANGE = ("run", "checkpoint_every", "keep_schedule", "keep_replay", "ckpt_path", *WATCHING)
"""Settings, with all below them, that say how a run is watched and kept, not what it is."""

Changed = dict[str, list]
"""{setting: [value before, value now]}."""


def changes(
    folder: Path,
    resolved: str,
    parser: ArgumentParser | None = None,
    *length: str,
    fix: str = "give another --run, or delete it",
) -> Changed:
    """What differs between the config that a run folder holds and the one that is asked for now.

    Args:
        folder: of the run; without a config.yaml nothing differs.
        resolved: the config asked for, as YAML.
        parser: with it, settings that came after the run began are in it at what they then meant,
            which is their default.
        length: settings that may change beside MAY_CHANGE: those that say how long the run is.
        fix: what to do where the config is of another run.

    Raises UserError where what differs changes the meaning of the run.
    """
    if not (folder / "config.yaml").exists():
        return {}
    before, now = read_config(folder), yaml.safe_load(resolved)
    if parser:
        # What this parser does not know is a run of another kind, and differs as it is.
        with suppress(ArgumentError, ValueError):
            completed = parser.dump(parser.parse_object(before), skip_link_targets=True)
            before = yaml.safe_load(completed)
    before, now = _flat(before), _flat(now)
    changed = {
        key: [before.get(key), now.get(key)]
        for key in sorted(before.keys() | now.keys())
        if not _same(key, before.get(key), now.get(key))
    }
    for key, (held, asked) in changed.items():
        if not any(f"{key}.".startswith(f"{free}.") for free in (*MAY_CHANGE, *length)):
            raise UserError(f"{folder} holds a run with {key} = {held}, not {asked}: {fix}")
    return {key: values for key, values in changed.items() if key != "run"}


Content = dict[str, str]
"""{what: its SHA-256} of what lies at a place, such as each game's recording."""
Read = Callable[[Any, Namespace], Content]
"""Reads the content of what a setting names, within a whole config."""


def contents(places: Mapping[str, Read], config: Namespace) -> dict[str, Content]:
    """What lies where the settings `places` lead, of those that are given and can be read."""
    found = {}
    for place, read in places.items():
        if asked := config.get(place):
            with suppress(UserError, OSError):  # it is gone: what needs it says so
                found[place] = read(asked, config)
    return {place: content for place, content in found.items() if content}


def other_content(
    folder: Path,
    places: Iterable[str],
    changed: Changed,
    held: Mapping[str, Content],
    found: Mapping[str, Content],
) -> None:
    """Refuse to go on with other content than a run began with, wherever it lies now.

    Args:
        folder: of the run.
        places: settings that name places.
        changed: see `changes`.
        held: what they named when the run began, as far as its record knows.
        found: what they name now, as far as it can be read.

    Raises UserError where it differs, and where a place is another and cannot be compared.
    """
    for place in places:
        difference = ""
        if held.get(place) and found.get(place):
            difference = other_data(held[place], found[place])
        elif place in changed:
            before, now = changed[place]
            difference = f"{before} cannot be compared with {now}"
        if difference:
            raise UserError(
                f"{folder} began with other content of {place}: {difference}; give what it began "
                "with, or another --run"
            )


def recorded(folders: Sequence[str] | str, games: Sequence[str] = ()) -> Content:
    """The recordings in folders, of these games or of all.

    Raises UserError where a folder holds none.
    """
    found: dict[str, list[str]] = {}
    for path in find_recordings([folders] if isinstance(folders, str) else folders):
        dataset = open_dataset(path)
        if not games or dataset.origin.game in games:
            found.setdefault(dataset.origin.game, []).append(dataset.sha256)
    return {game: "+".join(of) for game, of in found.items()}


def other_data(before: Mapping[str, str], now: Mapping[str, str]) -> str:
    """How recordings differ from those that a run began with, in words; empty: not at all.

    Args:
        before: {game: SHA-256 of its recording}, in the order in which they were read.
        now: the same of what lies there now.
    """
    for game in before.keys() | now.keys():
        was, is_now = before.get(game), now.get(game)
        if was != is_now:
            return f"{game} was {_short(was)} and is {_short(is_now)}"
    if list(before) != list(now):
        return f"the games were {', '.join(before)} and are {', '.join(now)}, in this order"
    return ""


def _short(digest: str | None) -> str:
    return f"{digest[:12]}..." if digest else "not there"


def grown(history: list[dict], step: int, changed: Changed, schedule: int) -> list[dict]:
    """The history of a run, with what is asked for now if that is new; the command is to be added.

    Args:
        history: of run.json; empty at first.
        step: how far the run is.
        changed: see `changes`.
        schedule: the length that its schedules are of.
    """
    if history and not changed:
        return history
    asked = {
        "at": timestamp(),
        "step": step,
        "changed": changed,
        "schedule": schedule,
    }
    return [*history, asked]


def effect(
    length: int, schedule: int, before: Mapping[str, float], now: Mapping[str, float]
) -> str:
    """What another length does to the schedules of a run, and what else could be done.

    Args:
        length: of the run so far.
        schedule: the length that the schedules have from now on.
        before: {name: value} of each schedule where the run goes on, had it kept its length.
        now: the same as it will be.
    """
    if not before:
        return "nothing in it depends on its length"
    if before == now:
        values = ", ".join(f"{name} {value:.3g}" for name, value in now.items())
        return (
            f"its schedules stay those of {schedule:,} steps, and their last values hold after: it "
            f"goes on with {values}"
        )
    values = ", ".join(f"{name} {now[name]:.3g}, not {value:.3g}" for name, value in before.items())
    return (
        f"its schedules are stretched to the new length: it goes on with {values} "
        f"(--keep_schedule true keeps those of {length:,} steps and then holds their last values; "
        "another --run begins anew)"
    )


def _same(key: str, before: object, now: object) -> bool:
    """Whether a setting is as it was; a class is also where it has another path."""
    if key.endswith("class_path") and isinstance(before, str) and isinstance(now, str):
        return imported(before) is imported(now)
    return before == now


def _flat(tree: object, prefix: str = "") -> dict[str, object]:
    """{"a": {"b": 1}} as {"a.b": 1}."""
    if not isinstance(tree, dict):
        return {prefix: tree}
    leaves: dict[str, object] = {}
    for key, value in tree.items():
        leaves |= _flat(value, f"{prefix}.{key}" if prefix else str(key))
    return leaves
