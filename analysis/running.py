"""What runs at this moment: how far, how fast, how long still, and the last lines of its log."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np

from fovea.analysis.html import duration, number
from fovea.analysis.provenance import seconds
from fovea.analysis.runs import Run
from fovea.metrics import NOTHING, SAMPLES_PER_SECOND, STEPS_PER_SECOND

LINES, BYTES = 8, 8192  # of the end of a log
LATEST = 5  # logged speeds, whose median is the speed
SILENT = 180  # seconds without a sign, after which a run may have been killed


def running(runs: list[Run]) -> list[dict[str, object]]:
    """What the live page shows of each run whose record says that it is running."""
    return [_of(run) for run in runs if run.state == "running"]


def _of(run: Run) -> dict[str, object]:
    step, pace = reached(run), speed(run)
    steps = run.record.steps if isinstance(run.record.steps, int) else 0
    left = (steps - step) / pace if pace and steps > step else None
    silent = time.time() - last_sign(run.folder)
    parts = [f"step {number(step)}" + (f" of {number(steps)}" if steps else "")]
    if pace:
        parts.append(f"{number(pace)} steps a second")
    if left is not None:
        parts.append(f"{duration(left)} left")
    if silent > SILENT:
        parts = [parts[0], f"no sign for {duration(silent)}: it may have been killed"]
    return {
        "name": run.name,
        "title": str(run.record.title or run.kind),
        "text": ", ".join(parts),
        "share": min(step / steps, 1.0) if steps > 0 else None,
        "silent": silent > SILENT,
        "log": log(run),
    }


def reached(run: Run) -> int:
    """The step that it has reached, by its record or its metrics, whichever is newer."""
    logged = max((int(of.steps[-1]) for of in run.metrics.values() if len(of.steps)), default=0)
    recorded = run.record.step
    return max(logged, recorded if isinstance(recorded, int) else 0)


def speed(run: Run) -> float | None:
    """Steps a second: as it was logged last, else over the whole run; None where neither is."""
    logged, batch = run.metrics.get(STEPS_PER_SECOND, NOTHING), 1
    if not len(logged.steps) and isinstance(run.record.batch, int):
        logged, batch = run.metrics.get(SAMPLES_PER_SECOND, NOTHING), max(run.record.batch, 1)
    known = logged.values[np.isfinite(logged.values)][-LATEST:]
    if len(known):
        return float(np.median(known)) / batch
    return reached(run) / seconds(run) if seconds(run) > 0 and reached(run) else None


def last_sign(folder: Path) -> float:
    """When a run wrote its record, its metrics or its log last, in seconds since 1970."""
    times = [0.0]
    for path in (folder / "run.json", folder / "metrics.csv", *_logs(folder)):
        try:
            times.append(path.stat().st_mtime)
        except OSError:
            continue
    return max(times)


def log(run: Run) -> list[str]:
    """The last lines of its newest log; without one, what it logged last of each metric.

    A log is a *.log in the run folder, or NAME.log beside it, as a study of several jobs writes.
    """
    logs = sorted(_logs(run.folder), key=lambda path: path.stat().st_mtime, reverse=True)
    for path in logs:
        with open(path, "rb") as file:
            file.seek(max(path.stat().st_size - BYTES, 0))
            text = file.read().decode("utf-8", "replace")
        if lines := [line.rstrip() for line in text.splitlines() if line.strip()][-LINES:]:
            return lines
    return [
        f"{name} {number(float(of.values[-1]))} at step {int(of.steps[-1]):,}"
        for name, of in run.metrics.items()
        if len(of.steps)
    ][:LINES]


def _logs(folder: Path) -> list[Path]:
    beside = folder.resolve()
    found = [*folder.glob("*.log"), beside.with_name(f"{beside.name}.log")]
    return [path for path in found if path.is_file()]
