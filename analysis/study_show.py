"""How far a study is: its cells done, running, failed and waiting, and the time that is left."""

from __future__ import annotations

import datetime
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from fovea.analysis.study_cells import lock_of
from fovea.analysis.study_done import is_done, typed
from fovea.analysis.study_kinds import Command, Study
from fovea.analysis.study_results import Key, Results
from fovea.command import ACCELERATORS
from fovea.files import in_use
from fovea.runs import read_run
from fovea.schema import RunRecord
from fovea.tables import aligned

STATES = "done", "running", "failed", "waiting"
STOPPED = "KeyboardInterrupt", "SIGTERMException", "Terminated"
"""Reasons for the end of a run that is no failure: the same command goes on."""


@dataclass(frozen=True)
class Cell:
    """How a run of a study stands.

    Attributes:
        key: of the run.
        state: of STATES.
        step: how far it is, and `steps`, how far it goes; None where that is not known yet.
        seconds: of work until now.
        note: why it failed, or that it was stopped.
    """

    key: Key
    state: str
    step: int | None = None
    steps: int | None = None
    seconds: float = 0.0
    note: str = ""

    @property
    def left(self) -> float | None:
        """Seconds that are left, if it goes on as until now; None where that is not known."""
        if self.state == "done":
            return 0.0
        if not (self.step and self.steps and self.seconds):
            return None
        return self.seconds * max(0, self.steps - self.step) / self.step


def look(
    study: Study, out: Path, names: list[str], seeds: Iterable[int], kept: Results
) -> list[Cell]:
    """How each cell of a study stands, from its run folder, its lock and the kept results."""
    made_by, cells = study.made_by(), []
    for seed in seeds:
        # With which accelerator it was called, nobody needs to say once more.
        asked = [study.jobs(out, names, seed, accelerator) for accelerator in ACCELERATORS]
        for folder in asked[0]:
            each = [jobs[folder] for jobs in asked]
            key = Key.of(folder.relative_to(out))
            if key in kept and kept[key].command == made_by[key]:
                cells.append(Cell(key, "done", seconds=kept[key].seconds))
            else:
                cells.append(_look(key, folder, each))
    return cells


def _look(key: Key, folder: Path, each: Sequence[Sequence[Command]]) -> Cell:
    """How a cell stands; `each` is its commands for one accelerator."""
    record = read_run(folder) or RunRecord()
    state, note, reason = "waiting", "", record.reason or ""
    if in_use(lock_of(folder)):
        state = "running"
    elif any(all(is_done(typed(command)) for command in commands) for commands in each):
        state = "done"
    elif record.state == "failed" and not reason.startswith(STOPPED):
        state, note = "failed", reason
    elif record.state == "done":
        note = "has ended; what is left to do is found out when it runs"
    elif record.step:
        note = "was stopped; goes on from its newest checkpoint"
    return Cell(key, state, record.step, record.steps, record.seconds, note)


def lines(title: str, cells: Sequence[Cell]) -> list[str]:
    """The table of cells, for a terminal."""
    counts = Counter(cell.state for cell in cells)
    rows = [("run", "state", "steps", "time", "left", "")]
    for cell in cells:
        steps = "" if cell.step is None else f"{cell.step:,}"
        if cell.steps and cell.state != "done":
            steps = f"{cell.step or 0:,} of {cell.steps:,}"
        left = cell.left if cell.state in ("running", "waiting") else None
        rows.append(
            (str(cell.key.place), cell.state, steps, _time(cell.seconds), _time(left), cell.note)
        )
    said = ", ".join(f"{counts[state]} {state}" for state in STATES)
    return [*aligned(rows, (2, 3, 4)), f"{title}: {said}{_remaining(cells)}"]


def _remaining(cells: Sequence[Cell]) -> str:
    """How long the rest takes, in words: a cell that has not begun takes as long as others."""
    due = [cell for cell in cells if cell.state in ("running", "waiting")]
    if not due:
        return ""
    took = {
        cell.key: cell.seconds + left
        for cell in cells
        if cell.seconds and (left := cell.left) is not None
    }
    if not took:
        return "; how long that takes is known once one has run for a while"
    work = 0.0
    for cell in due:
        if cell.left is not None:
            work += cell.left
        else:
            alike = [took[key] for key in took if key.run == cell.key.run]
            work += fmean(alike or took.values())
    running = max(1, sum(cell.state == "running" for cell in due))
    return f"; {_time(max(1, work / running))} are left with {running} at once"


def _time(seconds: float | None) -> str:
    return "" if not seconds else str(datetime.timedelta(seconds=round(seconds)))
