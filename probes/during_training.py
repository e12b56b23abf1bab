"""Probes while an encoder is pretrained: a Lightning callback that changes nothing of the run."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import suppress
from types import ModuleType

import torch
from lightning import Callback, LightningModule, Trainer

from fovea.atari.frames import Frames
from fovea.command import UserError
from fovea.pretrain.encoders.encoder import Encoder
from fovea.probes import state
from fovea.probes.declared import check_found
from fovea.probes.features import Drawn, NotMeasured, Splits, draw, encode
from fovea.probes.loggers import show
from fovea.probes.run import check_finite, check_fit, choose
from fovea.results import Measured


class DuringTraining(Callback):
    """Logs what an encoder knows, every so many steps and at the end, as probe/NAME/MEASURE.

    In the run's metrics.csv and whatever other loggers there are; TensorBoard, W&B and MLflow get
    the tables of the probes too, and attention over screens as a picture. Weights, random numbers
    and the loss stay what they are without it, bit for bit; an encoder is in eval mode while it is
    looked at. On several ranks the first one measures.

        fovea pretrain fit -c vicreg --run runs/mine --data.recordings '[runs/recordings]' \\
            --trainer.callbacks+=fovea.probes.DuringTraining \\
            --trainer.callbacks.recordings '[runs/recordings]' --trainer.callbacks.every 100

    Args:
        recordings: folders of the games that are looked at; each needs three episodes or more.
        every: steps between two looks.
        probes: names of probes; of each the number is logged that its sentence in the report is of.
            Most take seconds, attention and state longer.
        memory: log the R2 of a ridge regression on the games' memory as well, the mean of games
            that have a table (probe/state/r2); it takes a moment, where the probe `state` takes
            minutes for its curves.
        samples: screen stacks a game.
        seed: of the division into episodes and the draws.

    Raises UserError for recordings that do not fit the encoder, and an unknown probe.
    """

    def __init__(
        self,
        recordings: list[str],
        every: int = 100,
        probes: Sequence[str] = ("collapse",),
        memory: bool = True,
        samples: int = 1000,
        seed: int = 0,
    ):
        if every < 1:
            raise UserError(f"every {every}: give a number of steps of at least 1")
        self.recordings, self.every, self.probes = list(recordings), every, list(probes)
        self.memory, self.samples, self.seed = memory, samples, seed
        self.drawn: dict[str, list[Drawn]] = {}
        self.chosen: dict[str, ModuleType] = {}

    def on_fit_start(self, trainer: Trainer, module: LightningModule) -> None:
        self.chosen = choose(self.probes) if self.probes else {}
        for name, of in self.chosen.items():
            if not hasattr(of, "VERDICT"):
                raise UserError(f"the probe {name} declares no number of its own: leave it out")
        frames = Frames.load(self.recordings)
        check_fit({"pretrained": module.encoder}, frames)
        self.drawn = draw(frames, module.encoder.stack, samples=self.samples, seed=self.seed)

    def on_train_batch_end(self, trainer, module, outputs, batch, batch_idx) -> None:
        if trainer.global_step % self.every == 0:
            self._look(trainer, module)

    def on_train_end(self, trainer: Trainer, module: LightningModule) -> None:
        if trainer.global_step % self.every:
            self._look(trainer, module)

    def _look(self, trainer: Trainer, module: LightningModule) -> None:
        if trainer.is_global_zero:
            devices = [module.device] if module.device.type == "cuda" else []
            with torch.random.fork_rng(devices=devices):
                values, found = self.measure(module.encoder)
            step = trainer.global_step - 1  # numbered from 0
            for logger in trainer.loggers:
                logger.log_metrics(values, step=step)
                for name, measured in found.items():
                    show(logger, f"probe/{name}", measured, step)

    def measure(self, encoder: Encoder) -> tuple[dict[str, float], dict[str, Measured]]:
        """What an encoder knows as it is.

        Returns {probe/NAME/MEASURE: its mean over games}, NaN where none is, and by NAME all that
        the probe measured.
        """
        games = encode(encoder, self.drawn)
        names = {name: f"probe/{name}/{of.VERDICT.measure}" for name, of in self.chosen.items()}
        values = dict.fromkeys(names.values(), math.nan)
        found: dict[str, Measured] = {}
        try:
            check_finite(games)
        except NotMeasured:
            return values, found
        for name, of in self.chosen.items():
            with suppress(NotMeasured):
                found[name] = check_found(of, of.probe(encoder, games))
                values[names[name]] = of.VERDICT.value(found[name].tables)
        if self.memory:
            values["probe/state/r2"] = state.mean(
                [_memory(game, splits) for game, splits in games.items()]
            )
        return values, found


def _memory(game: str, splits: Splits) -> float:
    """R2 of the game's memory, mean of categories; NaN where no table names it."""
    try:
        asked = state.scored_variables(game, splits)
    except NotMeasured:
        return math.nan
    return state.game_score(splits.test, asked, state.regressed(splits, asked))
