"""Lightning's metrics into the run folder's metrics.csv."""

from __future__ import annotations

import time
from collections.abc import Mapping

from lightning.pytorch.loggers import Logger

from fovea.runs import RunWriter

UPDATE = 5.0  # seconds between two updates of run.json, each of which waits for the disk


class RunLogger(Logger):
    """Appends what Lightning logs to metrics.csv and keeps run.json's step up to date."""

    name = version = ""
    first = 0  # the number of the first step

    def __init__(self, run: RunWriter):
        super().__init__()
        self.run, self.updated = run, float("-inf")

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        assert step is not None, "Lightning's own loops say which"
        self.run.log(step, {name: value for name, value in metrics.items() if name != "epoch"})
        self.run.record.step = step + 1 - self.first  # for whoever updates run.json next
        if time.monotonic() > self.updated + UPDATE:
            self.run.update()
            self.updated = time.monotonic()

    def log_hyperparams(self, params, *args, **kwargs) -> None:
        """The resolved config is a file of the run; nothing to log."""
