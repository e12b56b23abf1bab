"""Run folders, read through their files alone, whatever state a run was left in.

A run may be training at this moment, have failed, or have been killed in the middle of a line:
what is readable is read, and what is not is listed in `problems`, which the page shows.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from fovea import metrics
from fovea.analysis.html import slug
from fovea.analysis.older import completed
from fovea.command import UserError
from fovea.progress import bar
from fovea.results import ProbeResult, read_arrays, read_result
from fovea.runs import run_folders
from fovea.schema import RunRecord

MEDIA = (".webm", ".mp4", ".png", ".jpg")
SEED = re.compile(r"seed-\d+")
DAMAGE = (OSError, ValueError, TypeError, KeyError, AttributeError, BadZipFile)


@dataclass(frozen=True)
class Probe:
    """The results of a probe: tables, and arrays "ENCODER/ARRAY"."""

    result: ProbeResult
    arrays: dict[str, np.ndarray]


@dataclass(frozen=True)
class Run:
    """A run folder, to be read.

    Attributes:
        folder: where it lies.
        slug: what names it in file names, unique among the runs that were read together.
        record: what run.json says.
        problems: what could not be read.
    """

    folder: Path
    slug: str
    record: RunRecord
    problems: list[str] = field(default_factory=list)

    @property
    def name(self) -> str:
        """As its record or folder says; of NAME/seed-0 with the folder above."""
        return f"{self.method}/{self._own}" if SEED.fullmatch(self._own) else self._own

    @property
    def method(self) -> str:
        """What it shares with runs that differ from it in their seed alone.

        Its name, as in OUT/seed-0/GAME/NAME of a study, or NAME of NAME/seed-0.
        """
        return self.folder.resolve().parent.name if SEED.fullmatch(self._own) else self._own

    @property
    def _own(self) -> str:
        return str(self.record.name or self.folder.name)

    @property
    def kind(self) -> str:
        return str(self.record.kind)

    @property
    def state(self) -> str:
        return str(self.record.state)

    @cached_property
    def config(self) -> str:
        """The resolved configuration as text; empty where there is none."""
        return self._read(self.folder / str(self.record.config or "config.yaml")) or ""

    @cached_property
    def metrics(self) -> dict[str, metrics.Curve]:
        """The curves of metrics.csv by name."""
        return metrics.parse(self._read(self.folder / "metrics.csv") or "")

    @cached_property
    def probes(self) -> dict[str, Probe]:
        found = {}
        for path in sorted(self.folder.glob("probes/*.json")):
            try:
                found[path.stem] = Probe(completed(path.stem, read_result(path)), read_arrays(path))
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


Signature = tuple[tuple[str, int, int], ...]
Kept = dict[Path, tuple[Signature, Run]]
"""Runs that were read before, with what their files were like then."""


def read_runs(places: Sequence[str | Path], kept: Kept | None = None) -> list[Run]:
    """All runs in or below `places`, the first started first.

    Where `kept` is given, runs in it whose files have not changed are not read again, and it
    becomes what was read.

    Raises UserError where a place is missing, or, without `kept`, where no run is found.
    """
    for place in places:
        if not Path(place).is_dir():
            raise UserError(f"{place} is no folder: give run folders, or a folder that holds some")
    folders = dict.fromkeys(folder for place in places for folder in run_folders(place))
    if not folders and kept is None:
        raise UserError(
            f"no run (a folder with run.json) in {', '.join(map(str, places))}: "
            "give the folder that training or probing wrote, or one above it"
        )
    taken: Counter[str] = Counter()
    read: Kept = {}
    with bar("reading runs", "runs", len(folders), delay=2) as progress:
        for folder in folders:
            own, now = _name(folder, taken), signature(folder)
            before = (kept or {}).get(folder)
            same = before is not None and before[0] == now and before[1].slug == own
            read[folder] = before if before and same else (now, _run(folder, own))
            progress.update()
    if kept is not None:
        kept.clear()
        kept.update(read)
    return sorted((run for _, run in read.values()), key=lambda run: str(run.record.started))


def signature(folder: Path) -> Signature:
    """Name, time of writing and size of each file of a run that a report reads."""
    files = [folder / name for name in ("run.json", "metrics.csv", "config.yaml")]
    found = []
    for path in (*files, *folder.glob("probes/*"), *folder.glob("media/*")):
        try:
            status = path.stat()
        except OSError:  # not there, or no longer
            continue
        found.append((str(path), status.st_mtime_ns, status.st_size))
    return tuple(sorted(found))


def _name(folder: Path, taken: Counter[str]) -> str:
    plain = slug(folder.resolve().name)
    taken[plain] += 1
    return plain if taken[plain] == 1 else f"{plain}.{taken[plain]}"


def _run(folder: Path, own: str) -> Run:
    try:
        text = (folder / "run.json").read_text(encoding="utf-8")
        return Run(folder, own, RunRecord.read(json.loads(text)))
    except DAMAGE as fault:
        return Run(folder, own, RunRecord(state="unreadable"), [f"run.json is damaged: {fault}"])
