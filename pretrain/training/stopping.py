"""How a run stops before its end: Ctrl-C, SIGTERM and the Trainer's `max_time`."""

from __future__ import annotations

import signal
import threading
from pathlib import Path
from typing import Any, NoReturn

from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import Timer

from fovea.command import ENDING, Terminated
from fovea.pretrain.training.checkpoint import NAME, is_validated

PATIENCE = 3.0
"""Seconds in which a step may end, and be saved, after a signal; then the run stops where it is."""


class Stopping(Callback):
    """Saves the step in which Ctrl-C or SIGTERM arrives, and then stops the run as they do.

    A step that takes longer than PATIENCE, or a second signal, is not waited for: the run then goes
    on from the checkpoint before. Of several ranks none waits: they could not agree on a step.

    Args:
        folder: of the checkpoints; None to save nothing.
    """

    def __init__(self, folder: Path | None):
        self.folder = folder
        self.asked: int | None = None
        self.before: dict[int, Any] = {}
        self.step = 0

    def on_save_checkpoint(self, trainer, module, checkpoint: dict) -> None:
        # Lightning's timer goes on from where it was: a run that has had its time would stop at
        # once whenever it is asked to go on. Nor is what it keeps plain data.
        checkpoint.get("callbacks", {}).pop("Timer", None)

    def on_train_start(self, trainer: Trainer, module: LightningModule) -> None:
        if trainer.world_size == 1 and threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, *ENDING):
                if signal.getsignal(number) is not signal.SIG_IGN:
                    self.before[number] = signal.signal(number, self._ask)

    def on_train_batch_start(self, trainer, module, batch, batch_idx) -> None:
        self.step = trainer.global_step

    def on_train_batch_end(self, trainer, module, outputs, batch, batch_idx) -> None:
        if self.asked is None or trainer.global_step == self.step:  # in the middle of a step
            return
        if not is_validated(trainer):
            # Lightning logs a step after its callbacks: its numbers would be lost, since the run
            # goes on with the step after.
            trainer._logger_connector.update_train_step_metrics()
            self._save_and_stop(trainer)

    def on_validation_end(self, trainer: Trainer, module: LightningModule) -> None:
        if self.asked is not None and not trainer.sanity_checking:
            self._save_and_stop(trainer)

    def _save_and_stop(self, trainer: Trainer) -> NoReturn:
        if self.folder:
            trainer.save_checkpoint(self.folder / f"{NAME.format(step=trainer.global_step)}.ckpt")
        self._stop()

    def on_train_end(self, trainer: Trainer, module: LightningModule) -> None:
        self._give_back()
        if self.asked is not None:
            self._stop()

    def on_exception(self, trainer, module, exception) -> None:
        self._give_back()

    def _ask(self, number: int, frame: object) -> None:
        if self.asked is not None:
            self._stop()
        self.asked = number
        self.before[signal.SIGALRM] = signal.signal(signal.SIGALRM, lambda *_: self._stop())
        signal.setitimer(signal.ITIMER_REAL, PATIENCE)

    def _stop(self) -> NoReturn:
        if self.asked in (None, signal.SIGINT):
            raise KeyboardInterrupt
        raise Terminated(self.asked)

    def _give_back(self) -> None:
        """Handle signals as before."""
        if signal.SIGALRM in self.before:
            signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in self.before.items():
            signal.signal(number, handler)
        self.before.clear()


def stopped_early(trainer: Trainer) -> str:
    """Why a fit has returned before the end of its run; empty where it has reached it.

    The end is also where a callback of the user's, such as EarlyStopping, has found it.
    """
    steps, passes = trainer.max_steps, trainer.max_epochs or -1
    if 0 < steps <= trainer.global_step or 0 < passes <= trainer.current_epoch:
        return ""
    timers = [one for one in trainer.callbacks if isinstance(one, Timer)]
    if any((left := timer.time_remaining()) is not None and left <= 0 for timer in timers):
        why = "trainer.max_time is over"
    elif trainer.should_stop:
        return ""
    else:
        why = "the Trainer ended it"
    of = f" of {steps:,}" if steps > 0 else ""
    return f"stopped at step {trainer.global_step:,}{of}: {why}; the same command goes on"
