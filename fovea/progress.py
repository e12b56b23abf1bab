"""Progress bars: what runs, how far it is, how fast, and how long still."""

from __future__ import annotations

import os
import sys

from tqdm import tqdm

RANKS = ("RANK", "LOCAL_RANK", "SLURM_PROCID", "JSM_NAMESPACE_RANK")
"""Where launchers (torchrun, Lightning, SLURM, jsrun) say which process of a run this is."""


def rank() -> int:
    """This process's number among those of a run; 0 for the first and for a process alone."""
    return next((int(os.environ[name]) for name in RANKS if name in os.environ), 0)


def interval() -> float:
    """Seconds between two looks of a bar: in a log file it is a line each."""
    return 0.5 if sys.stderr.isatty() else 10.0


def bar(title: str, unit: str, total: int | None, initial: int = 0, delay: float = 0) -> tqdm:
    """A tqdm bar, of the first rank alone; `total` is None until it is known.

    It shows after `delay` seconds, if its work is not done by then.
    """
    return tqdm(
        desc=title,
        total=total,
        initial=initial,
        unit=f" {unit}",
        unit_scale=True,
        mininterval=interval(),
        maxinterval=interval(),
        dynamic_ncols=True,
        delay=delay,
        disable=rank() > 0,
    )
