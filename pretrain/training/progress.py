"""One line that says what runs, how far it is, how fast, how long still, and how it goes."""

from __future__ import annotations

import time

from lightning import Callback, LightningModule, Trainer

from fovea.metrics import LOSS, SAMPLES_PER_SECOND
from fovea.progress import bar, interval


class Progress(Callback):
    """A tqdm bar over the run's samples; it logs `samples_per_second` too.

    Args:
        title: what runs.
        per_step: samples in one training step.
    """

    def __init__(self, title: str, per_step: int):
        self.title, self.per_step = title, per_step

    def on_train_start(self, trainer: Trainer, module: LightningModule) -> None:
        total, initial = (n * self.per_step for n in (trainer.max_steps, trainer.global_step))
        self.bar = bar(self.title, "samples", total, initial)
        self.shown = self.since = time.monotonic()
        self.interval = interval()
        self.from_step = trainer.global_step

    def on_train_batch_end(self, trainer, module, outputs, batch, batch_idx) -> None:
        now = time.monotonic()
        if trainer.global_step % trainer.log_every_n_steps == 0:
            samples = (trainer.global_step - self.from_step) * self.per_step
            module.log(SAMPLES_PER_SECOND, samples / (now - self.since))
            self.from_step, self.since = trainer.global_step, now
        if now - self.shown >= self.interval:
            # Reading a number waits for the device: only as often as it is shown.
            self.bar.set_postfix({LOSS: f"{float(outputs['loss']):.3g}"}, refresh=False)
            self.shown = now
        self.bar.update(trainer.global_step * self.per_step - self.bar.n)

    def on_train_end(self, trainer: Trainer, module: LightningModule) -> None:
        self.bar.close()

    def on_exception(self, trainer, module, exception) -> None:
        if hasattr(self, "bar"):
            self.bar.close()
