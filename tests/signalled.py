"""A callback that sends its own process a signal."""

from __future__ import annotations

import os

from lightning import Callback


class Signalled(Callback):
    """Sends this process a signal in the middle of a step, as an impatient user does.

    Args:
        number: of the signal.
        times: how often.
    """

    def __init__(self, number: int = 15, times: int = 1):
        self.number, self.times = number, times

    def on_before_optimizer_step(self, trainer, module, optimizer) -> None:
        if trainer.global_step == 2:
            for _ in range(self.times):
                os.kill(os.getpid(), self.number)
