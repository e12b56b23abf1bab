"""Progress bars: what runs, how far it is, how fast, and how long it will take."""

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
    """Seconds between two updates of a bar; in a log file each of them is a line."""
    return 0.5 if sys.stderr.isatty() else 10.0


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
