"""Trials of faults, each written down as soon as it has ended, and the table of their counts."""

from __future__ import annotations

import csv
import io
import os
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from fovea.checkout import commit
from fovea.files import write_text
from fovea.progress import bar

COLUMNS = "fault", "trial", "seconds", "commit", "lost"
RESULT = "fault", "trials", "of", "losses", "minutes", "commit", "promise"


@dataclass(frozen=True)
class Fault:
    """A way to fail, and what is promised of it.

    Attributes:
        name: of both, such as "kill pretrain".
        count: trials that are asked for.
        promise: what holds in each.
        trial: (folder of all trials, number) to what was lost; empty where the promise held.
    """

    name: str
    count: int
    promise: str
    trial: Callable[[Path, int], str]


def run(faults: Sequence[Fault], out: Path, results: Path, share: float = 1.0) -> int:
    """Run the trials that are not written down yet.

    Args:
        faults: whose trials.
        out: folder of everything that is made for them, with trials.csv.
        results: folder of faults.csv.
        share: of the trials of each.

    Returns how many lost something.
    """
    out.mkdir(parents=True, exist_ok=True)
    asked = {fault.name: max(1, round(share * fault.count)) for fault in faults}
    done = read(out)
    due = [
        (fault, number)
        for fault in faults
        for number in range(asked[fault.name])
        if (fault.name, number) not in done
    ]
    with bar("faults", "trials", len(due)) as shown:
        for fault, number in due:
            shown.set_description(f"{fault.name} {number}")
            began = time.monotonic()
            lost = apart(fault.trial, out, number)
            seconds = time.monotonic() - began
            row = [fault.name, number, f"{seconds:.2f}", commit() or "", lost]
            _append(out / "trials.csv", row)
            if lost:
                shown.write(f"{fault.name} {number}: {lost}", file=sys.stderr)
            shown.update()
            if number + 1 == asked[fault.name]:
                write_results(faults, out, results)
    return write_results(faults, out, results)


def read(out: Path) -> dict[tuple[str, int], tuple[float, str, str]]:
    """{(fault, trial): (seconds, commit, what was lost)} of trials.csv."""
    path = out / "trials.csv"
    if not path.exists():
        return {}
    with open(path, encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["lost"] is not None]
    return {
        (row["fault"], int(row["trial"])): (float(row["seconds"]), row["commit"], row["lost"])
        for row in rows
    }


def write_results(faults: Sequence[Fault], out: Path, results: Path) -> int:
    """Write faults.csv anew; how many trials lost something. Other faults' rows stay."""
    path, rows = results / "faults.csv", {}
    if path.exists():
        with open(path, encoding="utf-8", newline="") as file:
            rows = {row["fault"]: row for row in csv.DictReader(file)}
    done, losses = read(out), 0
    for fault in faults:
        mine = [of for (name, _), of in done.items() if name == fault.name]
        if mine:
            lost = sum(bool(what) for *_, what in mine)
            losses += lost
            rows[fault.name] = {
                "fault": fault.name, "trials": len(mine), "of": fault.count, "losses": lost,
                "minutes": f"{sum(seconds for seconds, *_ in mine) / 60:.1f}",
                "commit": mine[-1][1], "promise": fault.promise,
            }  # fmt: skip
    lines = [",".join(RESULT)]
    lines += [_line([str(row[name]) for name in RESULT]) for row in rows.values()]
    write_text(path, "\n".join(lines) + "\n")
    return losses


def apart(trial: Callable[[Path, int], str], out: Path, number: int) -> str:
    """What a trial returns, run in a process of its own: what it starts and imports stays there."""
    reader, writer = os.pipe()
    sys.stdout.flush()
    sys.stderr.flush()
    process = os.fork()
    if process == 0:
        try:
            lost = trial(out, number)
        except BaseException as fault:
            traceback.print_exc()
            lost = f"{type(fault).__name__}: {fault}"
        os.write(writer, " ".join(lost.split()).encode()[:4000])
        os._exit(0)
    os.close(writer)
    with open(reader, "rb") as file:
        said = file.read().decode("utf-8", "replace")
    _, status = os.waitpid(process, 0)
    return said if status == 0 else f"the trial itself ended with {status}: {said}"


@contextmanager
def once(made: Path) -> Iterator[bool]:
    """Whether `made` is still to be made: what is made inside counts once it is there whole."""
    ready = made.with_name(f".{made.name}.ready")
    if ready.exists():
        yield False
        return
    yield True
    ready.touch()


def _append(path: Path, row: Sequence[object]) -> None:
    new = not path.exists()
    with open(path, "a", encoding="utf-8") as file:
        if new:
            file.write(",".join(COLUMNS) + "\n")
        file.write(_line([str(cell) for cell in row]) + "\n")


def _line(cells: Sequence[str]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="").writerow(cells)
    return text.getvalue()
