"""Progress bars: what runs, how far it is, how fast, and how long it will take."""

from __future__ import annotations

import io
import os
import re
import sys
import time
from contextlib import AbstractContextManager, nullcontext, redirect_stderr
from typing import IO, Any, cast

from tqdm import tqdm

from fovea.foreign import shown

RANKS = ("RANK", "LOCAL_RANK", "SLURM_PROCID", "JSM_NAMESPACE_RANK")
"""Where launchers (torchrun, Lightning, SLURM, jsrun) say which process of a run this is."""


def rank() -> int:
    """This process's number among those of a run; 0 for the first and for a process alone."""
    return next((int(os.environ[name]) for name in RANKS if name in os.environ), 0)


def interval() -> float:
    """Seconds between two updates of a bar; in a log file each of them is a line."""
    return 0.5 if sys.stderr.isatty() else 10.0


class Log(io.TextIOBase):
    """A file or pipe that a bar writes lines to, in place of one line over and over.

    At most one every `interval()` seconds, and one each fiftieth of the time so far: a log of a
    week has some hundreds more than that of an hour.

    Args:
        stream: that is written to.
    """

    def __init__(self, stream: IO[str]):
        self.stream, self.waiting = stream, ""
        self.began = time.monotonic()
        self.last = float("-inf")

    def write(self, text: str) -> int:
        """Take what tqdm writes: a state after a carriage return, and the end of a line at last."""
        if line := text.replace("\x1b[A", "").strip():
            self.waiting = line
        now = time.monotonic()
        if "\n" in text or now - self.last >= max(interval(), (now - self.began) / 50):
            self._show(now)
        return len(text)

    def _show(self, now: float) -> None:
        if self.waiting:
            self.stream.write(self.waiting + "\n")
            self.waiting, self.last = "", now

    def flush(self) -> None:
        self.stream.flush()


MOVES = re.compile(r"(?:\r|\n|\x1b\[A)*")
"""What tqdm writes to go to the line of a bar and back."""


class Moves(io.TextIOBase):
    """A terminal in which bars go from line to line; what they say is `shown`, as all else is.

    It is equal to the stream that it stands for, by which `tqdm.write` knows which bars to move.

    Args:
        stream: what others print to: a `fovea.foreign.Shown`, or a terminal itself.
    """

    def __init__(self, stream: IO[str]):
        self.stream = stream
        self.terminal = getattr(stream, "stream", stream)

    def write(self, text: str) -> int:
        """Take what tqdm writes: moves alone, or a state after a carriage return."""
        whole = MOVES.fullmatch(text)
        start = "" if whole or not text.startswith("\r") else "\r"
        self.terminal.write(text if whole else start + shown(text[len(start) :]))
        return len(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.terminal, name)

    def __eq__(self, other: object) -> bool:
        return other is self or other is self.stream

    def __hash__(self) -> int:
        return hash(self.stream)

    def flush(self) -> None:
        self.terminal.flush()

    def fileno(self) -> int:
        return self.terminal.fileno()

    def isatty(self) -> bool:
        return self.terminal.isatty()


def bars_of_others() -> AbstractContextManager:
    """Let the bars of a library that is called inside go from line to line as ours do."""
    if not sys.stderr.isatty():
        return nullcontext()
    return redirect_stderr(cast(IO[str], Moves(sys.stderr)))


def bar(
    title: str,
    unit: str,
    total: int | None,
    initial: int = 0,
    delay: float = 0,
    *,
    inner: bool = False,
) -> tqdm:
    """A tqdm bar, shown by the first rank alone.

    Args:
        title: what runs.
        unit: what is counted, in the plural.
        total: how many there will be, or None until it is known.
        initial: how many are done already.
        delay: seconds before it is shown, if the work is not done by then.
        inner: whether it is of a part of what another bar counts: below that, and gone afterwards.
    """
    return tqdm(
        file=(Moves if sys.stderr.isatty() else Log)(sys.stderr),
        desc=title,
        total=total,
        initial=initial,
        unit=f" {unit}",
        unit_scale=total is None or total >= 1000,  # 12.8k samples, but 3 games
        mininterval=interval(),
        maxinterval=interval(),
        dynamic_ncols=True,
        delay=delay,
        leave=not inner,
        position=1 if inner else None,
        disable=rank() > 0,
    )
