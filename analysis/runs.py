"""Run folders, read through their files alone, whatever state a run was left in.

A run may be training at this moment, have failed, or have been killed in the middle of a line:
what is readable is read, and what is not is listed in `problems`, which the page shows. A page is
sent to others, so that only what lies in a run's folder is read, and no link that leads out of it.
"""

from __future__ import annotations

import math
import os
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TypeVar

import numpy as np

from fovea import metrics
from fovea.analysis.html import slug
from fovea.analysis.older import completed
from fovea.command import UserError
from fovea.foreign import open_file, printable, read_text
from fovea.progress import bar
from fovea.results import ProbeResult, read_arrays, read_result
from fovea.runs import config_problem, metrics_problem, parse_record, run_folders
from fovea.schema import RunRecord

MEDIA = (".webm", ".mp4", ".png", ".jpg")
SEED = re.compile(r"seed-\d+")
LARGEST = 2**30  # bytes of a video or picture, which are copied
DAMAGE = (OSError, ValueError, TypeError, KeyError, AttributeError)

Content = TypeVar("Content")


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
        parts: the end of its path, see `name`.
        group: its method, where another run of that name has its seed and game; else empty.
    """

    folder: Path
    slug: str
    record: RunRecord
    problems: list[str] = field(default_factory=list)
    parts: tuple[str, ...] = ()
    group: str = ""

    def __post_init__(self) -> None:
        if not self.parts:
            object.__setattr__(self, "parts", ends(self.folder, 1))

    @property
    def name(self) -> str:
        """The shortest end of its path that no other run has; with the folder above a seed's."""
        return "/".join(self.parts)

    @property
    def method(self) -> str:
        """What it shares with runs that differ from it in their seed alone.

        Its folder's name, as in OUT/seed-0/GAME/NAME of a study, or NAME of NAME/seed-0. Where two
        runs of that name have one seed and game, as in two studies, it is what tells these apart.
        """
        if self.group:
            return self.group
        *above, last = self.parts
        return above[-1] if above and SEED.fullmatch(last) else last

    @property
    def odd_evaluation(self) -> str:
        """What is wrong with its evaluation; empty where nothing is, or there is none."""
        found = self.record.evaluation
        if not found:
            return ""
        numbers = [*_numbers(found.returns), *_numbers(found.lengths), found.mean]
        whole = all(_is_number(one) for one in numbers)
        return "" if whole else "its evaluation holds what is no number, and is left out"

    @property
    def kind(self) -> str:
        return str(self.record.kind)

    @property
    def state(self) -> str:
        return str(self.record.state)

    @cached_property
    def config(self) -> str:
        """The resolved configuration as text; empty where there is none."""
        name = self.record.config or "config.yaml"
        if Path(name).name != name:
            self.problems.append(f"config {name!r} is no name of a file in the run folder")
            return ""
        return self._read(name, read_text) or ""

    @cached_property
    def metrics(self) -> dict[str, metrics.Curve]:
        """The curves of metrics.csv by name."""
        return self._read("metrics.csv", metrics.read_metrics) or {}

    @cached_property
    def probes(self) -> dict[str, Probe]:
        found = {}
        for path in sorted(self.folder.glob("probes/*.json")):
            name = printable(path.stem)
            try:
                result = read_result(inside(self.folder, path))
                arrays = read_arrays(inside(self.folder, path.with_suffix(".npz")))
                found[name] = Probe(completed(name, result), arrays)
            except DAMAGE as fault:
                self.problems.append(f"probes/{name}.json is damaged: {fault!r}")
        return found

    @cached_property
    def media(self) -> list[Path]:
        """Videos and pictures in media/; what is no file of the run is named and left out."""
        paths = [path for path in sorted(self.folder.glob("media/*")) if path.suffix in MEDIA]
        return [path for path in paths if self._read(f"media/{path.name}", _can_be_copied)]

    def unread(self) -> Run:
        """The same run with its problems alone: none of its files is read, not even again."""
        run = replace(self, record=RunRecord(state="unreadable"))
        run.__dict__.update(config="", metrics={}, probes={}, media=[])  # as if read before
        return run

    def _read(self, name: str, read: Callable[[Path], Content]) -> Content | None:
        """A file of the folder; None where it is not there, and where it is named as a problem."""
        path = self.folder / name
        try:
            return read(inside(self.folder, path))
        except FileNotFoundError:
            if path.is_symlink():
                self.problems.append(f"{name} is a link to what is not there")
        except UserError as fault:
            self.problems.append(str(fault))
        except (OSError, ValueError) as fault:
            self.problems.append(f"{name} cannot be read: {fault}")
        return None


def inside(folder: Path, path: Path) -> Path:
    """The path of a file in a folder. Raises UserError where it is a link that leads out."""
    if not Path(os.path.realpath(path)).is_relative_to(os.path.realpath(folder)):
        raise UserError(f"{path} leads out of the run folder: put there what it leads to")
    return path


def _can_be_copied(path: Path) -> bool:
    """True. Raises OSError or UserError for what cannot."""
    with open_file(path) as file:
        size = os.fstat(file.fileno()).st_size
    if size > LARGEST:
        raise UserError(f"{path} has more than {LARGEST:,} bytes: make it shorter")
    if printable(path.name) != path.name:
        raise UserError(f"{path} has a name that is no UTF-8: rename it")
    return True


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
    there = (folder for place in places for folder in run_folders(place))
    folders = list({folder.resolve(): folder for folder in there}.values())
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
    named = dict(zip(read, told_apart([run for _, run in read.values()]), strict=True))
    if kept is not None:
        kept.clear()
        kept.update({folder: (seen, named[folder]) for folder, (seen, _) in read.items()})
    return sorted(named.values(), key=lambda run: str(run.record.started))


def told_apart(runs: Sequence[Run]) -> list[Run]:
    """The runs with names of their own: copies, and those of one name in several folders."""
    parts = {run.folder: ends(run.folder, 1) for run in runs}
    for count in range(2, 1 + max((len(run.folder.absolute().parts) for run in runs), default=0)):
        taken = Counter(parts.values())
        again = [folder for folder, own in parts.items() if taken[own] > 1]
        if not again:
            break
        parts |= {folder: ends(folder, count) for folder in again}
    named = [_named(run, parts[run.folder], "") for run in runs]
    groups: dict[tuple[str, str], list[Run]] = {}
    for run in named:
        groups.setdefault((run.kind, run.method), []).append(run)
    methods = {run.folder: name for group in groups.values() for run, name in _methods(group)}
    return [_named(run, run.parts, methods[run.folder]) for run in named]


def _methods(group: Sequence[Run]) -> Iterator[tuple[Run, str]]:
    """The method of each of some runs of one name; empty where they differ in seed and game."""
    played = [(str(run.record.seed), str(run.record.game)) for run in group]
    if len(set(played)) == len(group):
        yield from ((run, "") for run in group)
        return
    shared = Path(os.path.commonpath([run.folder.absolute() for run in group])).parts
    for run in group:
        path = run.folder.absolute().parts[len(shared) :]
        own = [printable(part) for part in path if not SEED.fullmatch(part)]
        yield run, "/".join(part for part in own if part != run.record.game) or run.method


def _named(run: Run, parts: tuple[str, ...], group: str) -> Run:
    """The run with these names; itself where it has them."""
    same = (run.parts, run.group) == (parts, group)
    return run if same else replace(run, parts=parts, group=group)


def ends(folder: Path, count: int) -> tuple[str, ...]:
    """The last `count` names of a folder's path, one more where that begins with a seed's."""
    every = tuple(part for part in folder.absolute().parts if part != "/")
    if folder.name in ("", "..", "."):
        every = tuple(part for part in folder.resolve().parts if part != "/")
    while count < len(every) and SEED.fullmatch(every[-count]):
        count += 1
    return tuple(map(printable, every[-count:]))


def _numbers(values: object) -> Sequence[object]:
    return values if isinstance(values, list) else [None]


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


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
        record, changed = parse_record(read_text(inside(folder, folder / "run.json")))
        run = Run(folder, own, record)
        wrong = changed, metrics_problem(folder, record), config_problem(folder, record)
        run.problems.extend(filter(None, wrong))
        remarks = run.record.remarks if isinstance(run.record.remarks, list) else []
        run.problems.extend(map(str, remarks))
        if odd := run.odd_evaluation:
            run.problems.append(odd)
        return run
    except DAMAGE as fault:
        return Run(folder, own, RunRecord(state="unreadable"), [f"run.json is damaged: {fault}"])
