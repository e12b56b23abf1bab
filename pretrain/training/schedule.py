"""The learning rate that a run goes on with."""

from __future__ import annotations

from lightning import Callback
from torch.optim.lr_scheduler import LambdaLR


class RateOfSchedule(Callback):
    """Begins with the learning rate of the schedule as it is now.

    A checkpoint holds the rate of its own schedule, which may have had another length.
    """

    def on_train_start(self, trainer, module) -> None:
        for config in trainer.lr_scheduler_configs:
            schedule = config.scheduler
            if isinstance(schedule, LambdaLR):
                shares = [share(schedule.last_epoch) for share in schedule.lr_lambdas]
                groups = schedule.optimizer.param_groups
                for group, base, share in zip(groups, schedule.base_lrs, shares, strict=True):
                    group["lr"] = base * share
