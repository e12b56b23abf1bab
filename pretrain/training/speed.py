"""`fovea pretrain speed`: samples a second of fit, and of the bare step of the same objective."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from pathlib import Path

import lightning
import torch
from torch import Tensor

from fovea.files import write_json
from fovea.pretrain.objectives.base import Objective
from fovea.pretrain.optim import configure
from fovea.pretrain.training.fit import PretrainCLI
from fovea.pretrain.training.monitor import CollapseMonitor
from fovea.seeding import Stream

DESCRIPTION = """Measure how fast an objective is pretrained with the settings of a config, which
can be given here as for fit. Nothing is kept but the numbers: samples a second, once warm, and how
many seconds were measured. The rest of the time is what a run takes beside its steps: to start, to
read recordings, to compile, and for the held-out numbers at its end."""

WARM_UP = 5
"""Steps before the clock starts; the first may compile."""

FIT, BARE = "fit", "bare step"


class SpeedCLI(PretrainCLI):
    command = "speed"
    description = DESCRIPTION

    def add_arguments_to_parser(self, parser) -> None:
        super().add_arguments_to_parser(parser)
        parser.add_argument(
            "--seconds", type=float, default=5.0, help="that each measurement takes, about"
        )
        parser.add_argument(
            "--bare",
            type=bool,
            default=False,
            help="measure the bare step as well: forward, backward and optimiser, on one batch of "
            "views that is there already",
        )
        parser.add_argument("--out", type=str | None, help="JSON file for the numbers")

    def own_callbacks(self) -> list[lightning.Callback]:
        asked = self.config
        self.clock = Clock(self.datamodule.batch_size, asked.seconds, asked.bare)
        return [CollapseMonitor(), self.clock]


class Clock(lightning.Callback):
    """Times the steps of fit, then those of the bare step where asked to, and ends the run.

    Args:
        batch: samples a step.
        seconds: of each measurement, about.
        bare: whether to time the bare step.

    Attributes:
        rates: samples a second, {"fit": ..., "bare step": ...}.
        measured: seconds that all of it took.
    """

    def __init__(self, batch: int, seconds: float, bare: bool):
        self.batch, self.seconds, self.bare = batch, seconds, bare
        self.rates: dict[str, float] = {}
        self.measured = 0.0
        self.begin = 0.0

    def on_train_batch_end(self, trainer, module, outputs, batch, batch_idx) -> None:
        steps = batch_idx + 1 - WARM_UP
        if steps == 0:
            self.begin = now(module.device)
        # Whether it is over is asked without waiting for the device, as that would slow it down.
        if steps <= 0 or time.perf_counter() < self.begin + self.seconds:
            return
        self.rates[FIT] = self.batch * steps / (now(module.device) - self.begin)
        if self.bare:
            self.rates[BARE] = self._bare(trainer, module, batch)
        self.measured = now(module.device) - self.begin
        trainer.should_stop = True

    def _bare(self, trainer, module: Objective, batch) -> float:
        step = stepper(module, trainer.precision_plugin.forward_context)
        views = module.views_of(batch, Stream.VIEWS)
        for _ in range(WARM_UP):
            step(views)
        steps, begin = 0, now(module.device)
        while time.perf_counter() < begin + self.seconds:
            step(views)
            steps += 1
        return self.batch * steps / (now(module.device) - begin)


def stepper(
    objective: Objective, autocast: Callable[[], AbstractContextManager]
) -> Callable[[Iterable[Tensor]], None]:
    """The bare step of training on views: forward within `autocast`, backward, optimiser."""
    optimiser = configure(objective, objective.optimisation, 10**6)["optimizer"]

    def step(views: Iterable[Tensor]) -> None:
        with autocast():
            loss = torch.stack(list(objective.losses(*views).values())).sum()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        objective.after_optimizer_step()

    return step


def now(device: torch.device) -> float:
    """Seconds, once the device has done all it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def speed(args: list[str]) -> None:
    """Run `fovea pretrain speed` with these arguments."""
    with tempfile.TemporaryDirectory() as folder:
        # The last of two settings of a name counts: this run ends when it has been measured.
        own = {"run": f"{folder}/run", "trainer.max_steps": 10**6,
               "trainer.enable_checkpointing": False}  # fmt: skip
        cli = SpeedCLI([*args, *(f"--{name}={value}" for name, value in own.items())])
        with cli.stack:
            cli.fit(save=False)
        for name, rate in cli.clock.rates.items():
            print(f"{name}: {rate:,.1f} samples/s")
        if cli.config.out:
            found = {"samples_per_second": cli.clock.rates, "measured": cli.clock.measured}
            write_json(Path(cli.config.out), found)
