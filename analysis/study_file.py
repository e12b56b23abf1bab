"""A study's file: what a run would fail of hours later is refused here, in one line."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any, get_type_hints

from jsonargparse import ArgumentError, ArgumentParser
from jsonargparse.typing import ClosedUnitInterval, NonNegativeInt, PositiveFloat, PositiveInt

from fovea.analysis.figures import REFERENCES  # that runs are compared with too
from fovea.analysis.study_cells import Cells
from fovea.analysis.study_done import typed
from fovea.analysis.study_kinds import BASES, Study
from fovea.analysis.study_kinds import KINDS as UNTIMED
from fovea.analysis.timed_study import TimedStudy
from fovea.atari.games import find
from fovea.command import UserError, nearest
from fovea.configs import locate
from fovea.disturbances import Disturbance
from fovea.foreign import load_yaml, read_text
from fovea.runs import read_run

KINDS = UNTIMED | {"timed": TimedStudy}

RUN_KEYS = "config", "settings"
"""Of a run in a study file; one of an agent may name others too, see `study_kinds.BASES`."""

NAME = re.compile(r"\w[\w.-]*")
"""Of a run: a folder's, which commands take as it is."""

FILLED = "games", "seeds", "runs"
"""Keys without which there is nothing to run."""

EXPECTED: dict[object, str] = {
    str: "a text",
    PositiveInt: "a whole number above 0",
    PositiveFloat: "a number above 0",
    ClosedUnitInterval: "a number from 0 to 1",
    list[str]: "a list of names, such as [pong, breakout]",
    Sequence[str]: "a list of names, such as [one, other]",
    list[NonNegativeInt]: "a list of whole numbers of 0 or more, such as [0, 1, 2]",
    list[list[str]]: "a list of pairs of runs, such as [[a, b]], or []",
    dict[str, dict]: "each a name and its config",
    dict[str, object]: "them as DOTTED.NAME: VALUE",
}
"""The types of a study's settings, and what is to be given, in words."""

CHECKS = min(4, os.cpu_count() or 1)
"""Commands at once that say whether they know their settings."""


def read(path: Path) -> Study:
    """A study file, with the rom ids of its games.

    Raises UserError where it lacks or has an unknown key or kind, and for a value that a run would
    fail of; what only `fit` knows, see `check_configs` and `check_settings`.
    """
    content = load_yaml(read_text(path), f"the study {path}") or {}
    if not isinstance(content, dict):
        raise UserError(f"the study {path} holds no settings: write them as KEY: VALUE")
    kind = content.pop("kind", None)
    if kind not in list(KINDS):
        kinds = " or ".join(f"`kind: {name}`" for name in KINDS)
        raise UserError(f"the study {path} is of kind {kind!r}: write {kinds} into it")
    known = {field.name: field for field in fields(KINDS[kind])}
    needed = {name for name, field in known.items() if field.default is MISSING}
    for key in sorted((needed - content.keys()) | (content.keys() - known.keys()), key=str):
        what = "lacks" if key in known else "has an unknown key"
        keys = ", ".join(sorted(known))
        raise UserError(f"the study {path} {what} {key!r}: the keys of {kind} are kind, {keys}")
    hints = get_type_hints(KINDS[kind])
    values = {key: _parsed(path, key, hints[key], value) for key, value in content.items()}
    values["games"] = [find(name).rom_id for name in values["games"]]
    for key in ("games", "seeds"):
        for one in values[key]:
            if values[key].count(one) > 1:
                raise UserError(f"the study {path}: {key} has {one!r} twice: name it once")
    for one in values.get("disturb", ()):
        _check_disturbance(path, one)
    run_keys = (*RUN_KEYS, *BASES) if kind == "agents" else RUN_KEYS
    _check_runs(path, values["runs"], KINDS[kind], run_keys)
    _check_differences(path, values["differences"], values["runs"])
    return KINDS[kind](**values)


def check_configs(study: Study) -> None:
    """Raise UserError for a run whose config is no file and none that ships."""
    for name, run in study.runs.items():
        try:
            locate(run["config"], f"fovea.{study.room}")
        except UserError as fault:
            raise UserError(f"the config of the run {name!r}: {fault}") from None


def check_settings(every: Iterable[Cells]) -> None:
    """Let `fit` read the settings of runs that have not begun, before the first of them begins.

    A name that nobody knows in the last run of a study would else be found after days. Of the runs
    of one name, which differ in seed and game, one is asked.

    Raises UserError for the first that is refused.
    """
    asked: dict[str, list[str]] = {}
    for cells in every:
        for folder, (command, *_) in cells.items():
            record = read_run(folder)
            if not record or record.command != shlex.join(typed(command)):
                asked.setdefault(folder.name, typed(command))
    if asked:
        print(f"reading the settings of {', '.join(asked)}", flush=True)
    with ThreadPoolExecutor(CHECKS) as pool:
        try:
            for name, said in zip(asked, pool.map(_refusal, asked.values()), strict=True):
                if said:
                    raise UserError(f"the run {name!r} of the study: {said}")
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _refusal(words: list[str]) -> str:
    """What a `fit` says against its settings, none of which it runs here; else the empty text."""
    done = subprocess.run(
        [sys.executable, "-m", *words, "--print_config"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        check=False,
    )
    lines = done.stderr.decode("utf-8", "replace").strip().splitlines()
    return lines[-1].removeprefix("error: ") if done.returncode == 2 and lines else ""


def _parsed(path: Path, key: str, hint: object, value: object) -> Any:
    """A value as its type has it, as the parser of all configs takes it."""
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument(f"--{key}", type=hint)
    try:
        found = parser.parse_object({key: value}, defaults=False)[key]
    except (ArgumentError, OverflowError):
        found = None
    if found is None or (key in FILLED and not found):
        wanted = EXPECTED[hint]
        raise UserError(f"the study {path} has {key}: {value!r}: give {wanted}")
    return found


def _check_disturbance(path: Path, text: str) -> None:
    try:
        if text != "all":
            Disturbance.read(text)
    except UserError as fault:
        raise UserError(f"the study {path}: disturb: {fault}, or all") from None


def _check_runs(
    path: Path, runs: dict[str, dict], kind: type[Study], run_keys: Sequence[str]
) -> None:
    """Raise UserError for what is wrong with a run, which may have `run_keys`."""
    for name, run in runs.items():
        if not isinstance(name, str) or not NAME.fullmatch(name):
            raise UserError(
                f"the study {path}: the run {name!r} would have no folder of its own: name it with "
                "letters, digits, _ . and -, the first a letter, digit or _, in quotes where it is "
                "a number"
            )
        if name in kind.taken:
            raise UserError(
                f"the study {path}: the name of the run {name!r} is taken: give it another one "
                f"than {', '.join(kind.taken)}"
            )
        if "config" not in run:
            raise UserError(f"the study {path}: the run {name!r} lacks its key 'config'")
        for key in run:
            if key not in run_keys:
                raise UserError(
                    f"the study {path}: the run {name!r} has an unknown key "
                    f"{key!r}{nearest(key, run_keys)}"
                )
        if not isinstance(run["config"], str):
            raise UserError(
                f"the study {path}: the config of the run {name!r} is {run['config']!r}: give the "
                f"name of one that ships (fovea {kind.room} configs), or a file"
            )
        settings = run.get("settings", {})
        if not isinstance(settings, dict) or not all(isinstance(key, str) for key in settings):
            raise UserError(
                f"the study {path}: settings of the run {name!r} are {settings!r}: write "
                "them as DOTTED.NAME: VALUE"
            )


def _check_differences(path: Path, differences: list[list[str]], runs: dict[str, dict]) -> None:
    for pair in differences:
        if len(pair) != 2:
            raise UserError(f"the study {path}: differences has {pair!r}: give pairs of runs")
        for name in pair:
            if name not in runs and name not in REFERENCES:
                raise UserError(
                    f"the study {path}: differences has an unknown run "
                    f"{name!r}{nearest(name, runs)}"
                )
