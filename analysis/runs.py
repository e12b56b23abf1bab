"""Run folders, read through their files alone, whatever state a run was left in.

A run may be training at this moment, have failed, or have been killed in the middle of a line:
what is readable is read, and what is not is listed in `problems` for the page to tell.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from tqdm import tqdm

from fovea.analysis.html import slug
from fovea.command import UserError

MEDIA = (".webm", ".mp4", ".png", ".jpg")
DAMAGE = (OSError, ValueError, TypeError, KeyError, AttributeError, BadZipFile)


@dataclass(frozen=True)
class Curve:
    """One metric: steps int64 (N,), ascending, and values float64 (N,), which may be NaN."""

    steps: np.ndarray
    values: np.ndarray


@dataclass(frozen=True)
class Table:
    """A table of one encoder: rows of strings and numbers, None where there is no number."""

    title: str
    columns: list[str]
    rows: list[list]
    note: str = ""


@dataclass(frozen=True)
class Probe:
    """What a probe found: tables by encoder and by name, and arrays "ENCODER/ARRAY"."""

    name: str
    title: str
    about: str
    settings: Mapping[str, object]
    encoders: dict[str, dict[str, Table]]
    arrays: Mapping[str, np.ndarray]

    def tables(self) -> dict[str, Table]:
        """The tables of all encoders joined: one of each name, "encoder" as its first column."""
        joined: dict[str, Table] = {}
        for encoder, tables in self.encoders.items():
            for name, table in tables.items():
                whole = joined.setdefault(
                    name, Table(table.title, ["encoder", *table.columns], [], table.note)
                )
                whole.rows.extend([encoder, *row] for row in table.rows)
        return joined


@dataclass(frozen=True)
class Run:
    """A run folder. `slug` names it in file names and is unique among the runs read together."""

    folder: Path
    slug: str
    record: dict
    problems: list[str] = field(default_factory=list)

    @property
    def name(self) -> str:
        return str(self.record.get("name") or self.folder.name)

    @property
    def kind(self) -> str:
        return str(self.record.get("kind") or "unknown")

    @property
    def state(self) -> str:
        return str(self.record.get("state") or "unknown")

    @cached_property
    def config(self) -> str:
        """The resolved configuration as text; empty where there is none."""
        return self._read(self.folder / str(self.record.get("config") or "config.yaml")) or ""

    @cached_property
    def metrics(self) -> dict[str, Curve]:
        """metrics.csv by name; a line without its end or without three fields is left out."""
        text = self._read(self.folder / "metrics.csv") or ""
        points: dict[str, dict[int, float]] = {}
        for line in text.splitlines(keepends=True):
            step, _, rest = line.partition(",")
            name, _, value = rest.rpartition(",")
            if step.isdecimal() and name and line.endswith("\n"):
                try:
                    points.setdefault(name, {})[int(step)] = float(value)
                except ValueError:
                    continue
        return {name: _curve(values) for name, values in points.items()}

    @cached_property
    def probes(self) -> dict[str, Probe]:
        found = {}
        for path in sorted(self.folder.glob("probes/*.json")):
            try:
                found[path.stem] = _probe(path)
            except DAMAGE as fault:
                self.problems.append(f"probes/{path.name} is damaged: {fault!r}")
        return found

    @cached_property
    def media(self) -> list[Path]:
        """Videos and pictures in media/, links out of the folder left aside."""
        inside = self.folder.resolve()
        return [
            path
            for path in sorted(self.folder.glob("media/*"))
            if path.suffix in MEDIA and path.resolve().is_relative_to(inside)
        ]

    def _read(self, path: Path) -> str | None:
        try:
            return path.read_text(encoding="utf-8", errors="replace")
        except FileNotFoundError:
            return None
        except OSError as fault:
            self.problems.append(f"{path.name} cannot be read: {fault.strerror}")
            return None


def read(places: list[Path]) -> list[Run]:
    """All runs in or below `places`, the first started first.

    Raises UserError where a place is missing or no run is found.
    """
    for place in places:
        if not place.is_dir():
            raise UserError(f"{place} is no folder: give run folders, or a folder that holds some")
    folders = dict.fromkeys(folder for place in places for folder in _find(place))
    if not folders:
        raise UserError(
            f"no run (a folder with run.json) in {', '.join(map(str, places))}: "
            "give the folder that training or probing wrote, or one above it"
        )
    taken: Counter[str] = Counter()
    runs = [_run(f, taken) for f in tqdm(folders, desc="reading runs", unit="run", delay=2)]
    return sorted(runs, key=lambda run: str(run.record.get("started") or ""))


def _find(place: Path) -> Iterator[Path]:
    for parent, below, files in os.walk(place):
        if "run.json" in files:
            below.clear()  # what lies inside a run belongs to it
            yield Path(parent)
        below[:] = sorted(name for name in below if not name.startswith("."))


def _run(folder: Path, taken: Counter[str]) -> Run:
    plain = slug(folder.resolve().name)
    taken[plain] += 1
    own = plain if taken[plain] == 1 else f"{plain}.{taken[plain]}"
    try:
        record = json.loads((folder / "run.json").read_text(encoding="utf-8"))
        if not isinstance(record, dict):
            raise ValueError("not an object")
        return Run(folder, own, record)
    except (OSError, ValueError) as fault:
        return Run(folder, own, {"state": "unreadable"}, [f"run.json is damaged: {fault}"])


def _curve(points: dict[int, float]) -> Curve:
    steps = np.array(sorted(points), dtype=np.int64)
    return Curve(steps, np.array([points[step] for step in steps], dtype=np.float64))


def _probe(path: Path) -> Probe:
    found = json.loads(path.read_text(encoding="utf-8"))
    arrays = {}
    if (packed := path.with_suffix(".npz")).exists():
        with np.load(packed, allow_pickle=False) as file:
            arrays = dict(file)
    return Probe(
        name=path.stem,
        title=str(found.get("title") or path.stem),
        about=str(found.get("about") or ""),
        settings=dict(found.get("settings") or {}),
        encoders={
            encoder: {table["name"]: _table(table) for table in result.get("tables", [])}
            for encoder, result in found["encoders"].items()
        },
        arrays=arrays,
    )


def _table(found: dict) -> Table:
    columns, rows = list(found["columns"]), [list(row) for row in found["rows"]]
    for row in rows:
        if len(row) != len(columns) or not all(
            cell is None or isinstance(cell, str | int | float) for cell in row
        ):
            raise ValueError(f"table {found['name']} has the odd row {row}")
    return Table(str(found.get("title") or found["name"]), columns, rows, found.get("note") or "")
