"""The cells of a study: what each run's commands are, and that one process at a time runs them."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import ExitStack, nullcontext, suppress
from pathlib import Path
from threading import Event
from typing import IO, Protocol

from fovea.analysis.study_done import contents, has_ended, is_done, keep_contents, typed
from fovea.analysis.study_kinds import Command
from fovea.command import UserError
from fovea.files import exclusive
from fovea.progress import bar

Cells = Mapping[Path, Sequence[Command]]
"""{the folder of each: its commands, one after the other}."""

ENDED, BUSY = "ended", "busy"
"""What became of a cell: its commands have ended well, or another process runs them."""

AGAIN = 3
"""Times that a command which was killed, as where memory runs out, runs again."""

GRACE = 30.0
"""Seconds in which a command may end by itself once it is asked to."""


class Workers(Protocol):
    """What runs cells: `Processes` here, or `fovea.analysis.study_ray.Tasks`."""

    def submit(self, folder: Path, commands: Sequence[Command], log: Path | None) -> Future[str]:
        """Run a cell now or later; the result is ENDED, BUSY, or what failed, in a sentence."""


class Processes:
    """Runs cells on this machine. On leaving it by an exception what runs is stopped.

    Args:
        most: cells at once; each has its share of the cores.
    """

    def __init__(self, most: int):
        self.threads = max(1, (os.cpu_count() or 1) // most) if most > 1 else 0
        self.pool, self.stop = ThreadPoolExecutor(most), Event()

    def __enter__(self) -> Processes:
        return self

    def __exit__(self, kind: type | None, *_: object) -> None:
        if kind and not issubclass(kind, UserError):  # cells beside one that failed may end
            self.stop.set()
        self.pool.shutdown(cancel_futures=True)

    def submit(self, folder: Path, commands: Sequence[Command], log: Path | None) -> Future[str]:
        return self.pool.submit(run_cell, folder, commands, log, self.threads, self.stop)


def run_cells(
    cells: Cells,
    workers: Workers,
    title: str,
    logs: bool,
    ended: Callable[[Path], object] = lambda folder: None,
) -> None:
    """Run all cells, each once: one that another process runs is waited for.

    Args:
        cells: what is run.
        workers: what runs them.
        title: of the progress bar, where there are logs.
        logs: whether each cell writes to a log beside its folder, such as OUT/seed-0/NAME.log.
        ended: called with the folder of each that has ended well.

    Raises UserError for the first that fails; then no other begins.
    """

    def submit(folder: Path) -> Future[str]:
        return workers.submit(folder, cells[folder], log_of(folder) if logs else None)

    with bar(title, "runs", len(cells)) if logs else nullcontext() as progress:
        pending = {submit(folder): folder for folder in cells}
        while pending:
            done, _ = wait(pending, return_when=FIRST_COMPLETED)
            for future in done:
                folder, outcome = pending.pop(future), future.result()
                if outcome == BUSY:
                    pending[submit(folder)] = folder
                elif outcome != ENDED:
                    raise UserError(outcome)
                else:
                    ended(folder)
                    if progress:
                        progress.update()


def run_cell(
    folder: Path, commands: Sequence[Command], log: Path | None, threads: int, stop: Event
) -> str:
    """Run a cell's commands in turn but those that are done: ENDED, BUSY, or what failed.

    The commands hold the cell's lock too: where the process that runs them is killed, the cell
    stays taken until its command has ended.

    Args:
        folder: of the run.
        commands: of the cell.
        log: what they print goes there; where it is None, to the terminal.
        threads: of each command; 0 leaves that open.
        stop: when it is set, the command that runs is asked to end, and no other begins.
    """
    with ExitStack() as stack:
        try:
            lock = stack.enter_context(exclusive(lock_of(folder)))
        except UserError:
            time.sleep(0.2)
            return BUSY
        if log:
            output = stack.enter_context(open(log, "ab"))
        else:
            output = None
            print(f"== {folder}", flush=True)
        env = os.environ | ({"OMP_NUM_THREADS": str(threads)} if threads else {})
        for words in map(typed, commands):
            if is_done(words):
                if not log:
                    print(f"already done: {shlex.join(words[:3])}", flush=True)
                continue
            found = contents(words)
            if fault := _run(words, lock, output, env, stop):
                return (
                    f"`{' '.join(words)}` {fault}: see the last line "
                    f"{f'of {log}' if log else 'above'}, mend that and run the same command again"
                )
            keep_contents(words, found)
    return ENDED


def _run(
    words: list[str], lock: int, output: IO[bytes] | None, env: dict[str, str], stop: Event
) -> str:
    """Run a command, again where it is killed; what went wrong, else the empty text."""
    for again in range(1 + AGAIN):
        if stop.is_set():
            return "was stopped"
        code = _call([sys.executable, "-m", *words], lock, output, env, stop)
        if code >= 0 or stop.is_set():
            # Probes end with 1 where they left something out: what they measured is whole.
            return f"ended with {code}" if code and not (code == 1 and has_ended(words)) else ""
        said = f"`{shlex.join(words[:3])}` was killed by {signal.Signals(-code).name}"
        if again < AGAIN:
            print(f"{said} and runs again", file=sys.stderr, flush=True)
    return f"was killed {1 + AGAIN} times, the last time by {signal.Signals(-code).name}"


def _call(
    words: list[str], lock: int, output: IO[bytes] | None, env: dict[str, str], stop: Event
) -> int:
    """The exit code of a command, which ends when `stop` is set or this is interrupted."""
    process = subprocess.Popen(
        words, env=env, stdout=output, stderr=output and subprocess.STDOUT, pass_fds=[lock]
    )
    try:
        while not stop.is_set():
            with suppress(subprocess.TimeoutExpired):
                return process.wait(timeout=0.2)
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(GRACE)
            except subprocess.TimeoutExpired:
                process.kill()
    return process.wait()


def lock_of(folder: Path) -> Path:
    """The folder of a cell's lock, beside its own, which its commands lock themselves."""
    return folder.with_name(f".{folder.name}.cell")


def log_of(folder: Path) -> Path:
    """What the commands of a cell print, where they have a log."""
    return folder.with_name(f"{folder.name}.log")
