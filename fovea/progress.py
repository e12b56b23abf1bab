"""Progress bars: what runs, how far it is, how fast, and how long it will take."""

from __future__ import annotations

import io
import os
import sys
import time
from typing import IO

from tqdm import tqdm

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
        file=None if sys.stderr.isatty() else Log(sys.stderr),
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
