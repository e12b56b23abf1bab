"""Shows and logs the progress of an agent's training, counted in agent steps."""

from __future__ import annotations

import time
from collections import deque

from lightning import Callback, LightningModule, Trainer

from fovea.agents.experience.base import Experience
from fovea.metrics import LENGTH, RETURN, STEPS_PER_SECOND, WINDOW
from fovea.progress import bar, interval


class PlayProgress(Callback):
    """A line with steps, speed, time left, loss and the mean return of the last episodes.

    It logs `return` and `length` of every episode, what the agent has noted, and
    `steps_per_second`, all of them over agent steps.
    """

    def __init__(self, title: str, experience: Experience):
        self.title, self.experience = title, experience
        self.returns: deque[float] = deque(maxlen=WINDOW)

    def on_train_start(self, trainer: Trainer, module: LightningModule) -> None:
        played = self.experience.played
        total = self.experience.task.total_steps
        self.bar = bar(self.title, "steps", total, played)
        self.shown = self.since = time.monotonic()
        self.interval = interval()
        self.from_step = played
        self.experience.watch = lambda played: self.bar.update(min(played, total) - self.bar.n)

    def on_train_batch_end(self, trainer, module, outputs, batch, batch_idx) -> None:
        for step, total, length in self.experience.episodes:
            self.returns.append(total)
            write(trainer, {RETURN: total, LENGTH: length}, step)
        self.experience.episodes.clear()
        now, played = time.monotonic(), self.experience.played
        if trainer.global_step % trainer.log_every_n_steps == 0:
            numbers = {name: float(value) for name, value in module.notes.items()}
            if contexts := self.experience.envs.contexts:
                for own, chance in zip(contexts.settings, contexts.chances(), strict=True):
                    name = ",".join(f"{what}:{number:g}" for what, number in own.items())
                    numbers[f"context/{name}"] = float(chance)
            if played > self.from_step:  # else this is one more update on the same rollout
                numbers[STEPS_PER_SECOND] = (played - self.from_step) / (now - self.since)
                self.from_step, self.since = played, now
            write(trainer, numbers, played)
        if now - self.shown >= self.interval:
            shown = {k: float(module.notes[k]) for k in ("loss", "epsilon") if k in module.notes}
            if self.returns:
                shown[RETURN] = sum(self.returns) / len(self.returns)
            self.bar.set_postfix({k: f"{v:.3g}" for k, v in shown.items()}, refresh=False)
            self.shown = now

    def on_train_end(self, trainer: Trainer, module: LightningModule) -> None:
        self.bar.close()

    def on_exception(self, trainer, module, exception) -> None:
        if hasattr(self, "bar"):
            self.bar.close()


def write(trainer: Trainer, numbers: dict[str, float], step: int) -> None:
    """Give `numbers` to every logger, at agent step `step`."""
    for logger in trainer.loggers:
        logger.log_metrics(numbers, step)
