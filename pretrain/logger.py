"""Lightning's metrics into the run folder's metrics.csv."""

from __future__ import annotations

from collections.abc import Mapping

from lightning.pytorch.loggers import Logger

from pretrain.run import Run


class RunLogger(Logger):
    """Appends what Lightning logs to metrics.csv and keeps run.json's step up to date."""

    name = version = ""

    def __init__(self, run: Run):
        super().__init__()
        self.run = run

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        self.run.log(step, {name: value for name, value in metrics.items() if name != "epoch"})
        self.run.update(step=step + 1)

    def log_hyperparams(self, params, *args, **kwargs) -> None:
        """The resolved config is a file of the run; nothing to log."""
