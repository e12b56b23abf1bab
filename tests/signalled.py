"""Callbacks that end a run: by a signal to its own process, and as if it were lost."""

from __future__ import annotations

import os

from lightning import Callback, Trainer


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


class Lost(Callback):
    """Loses the run at a hook after some step, as a kill would."""

    def __init__(self, moment: str, step: int):
        def lose(trainer: Trainer, *_: object) -> None:
            if trainer.global_step == step:
                raise RuntimeError("lost")

        setattr(self, moment, lose)
