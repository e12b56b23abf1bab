"""Stops a run whose loss or weights are no longer finite, or whose features have collapsed."""

from __future__ import annotations

import torch
from lightning import Callback, LightningModule, Trainer

from fovea.metrics import FEATURE_STD
from fovea.runs import RunWriter

HUGE = 1e6
"""A loss above it is remarked: those of what learns lie between 0.001 and 1,000."""
FIX = "lower the learning rate, or clip gradients (--trainer.gradient_clip_val 1)"


class Collapsed(RuntimeError):
    """The run is lost from a step on; its text says which and why."""


class FiniteMonitor(Callback):
    """Watches every step without waiting for the device, and looks at the result now and then.

    It looks before every checkpoint too, so that none is ever written of a lost run. A loss that
    grows beyond HUGE and stays finite is remarked in run.json.

    Args:
        run: whose record gets the remark; None for none.
        every: steps between two looks.
    """

    def __init__(self, run: RunWriter | None = None, every: int = 25):
        self.run, self.every = run, every
        self.lost_at = torch.tensor(-1)  # of a run that goes on from its last step, too

    def on_train_start(self, trainer: Trainer, module: LightningModule) -> None:
        self.lost_at = torch.full((), -1, device=module.device)

    def on_train_batch_end(self, trainer, module, outputs, batch, batch_idx) -> None:
        lost = ~torch.isfinite(outputs["loss"]) & (self.lost_at < 0)
        self.lost_at = torch.where(lost, trainer.global_step, self.lost_at)
        if trainer.global_step % self.every == 0:
            self.look(trainer, module, outputs)

    def on_save_checkpoint(self, trainer, module, checkpoint) -> None:
        self.look_back()
        for name, weight in module.state_dict().items():
            if not torch.isfinite(weight).all():
                raise Collapsed(
                    f"weight {name} is not finite after step {trainer.global_step}: {FIX}"
                )

    def look(self, trainer: Trainer, module: LightningModule, outputs: dict) -> None:
        """Raise Collapsed where the run is lost, and remark what looks as if it will be."""
        self.look_back()
        loss = float(outputs["loss"])
        if abs(loss) > HUGE:
            self.remark("the loss is", f"{loss:.1e} at step {trainer.global_step}: {FIX}")

    def remark(self, what: str, rest: str) -> None:
        """Remark it, unless the run has a remark that begins with `what` already."""
        if self.run and not any(one.startswith(what) for one in self.run.record.remarks):
            self.run.remark(f"{what} {rest}")

    def look_back(self) -> None:
        """Raise Collapsed if the loss was not finite at any step so far."""
        if (step := int(self.lost_at)) >= 0:
            raise Collapsed(f"the loss is not finite at step {step}: {FIX}")


class CollapseMonitor(FiniteMonitor):
    """Watches that an objective's features differ too.

    Those of an objective that may collapse are only remarked in run.json.

    Args:
        run: whose record gets remarks; None for none.
        every: steps between two looks.
        least: the smallest `feature_std` (see `terms.feature_std`) that is no collapse.
            An untrained vit_micro on real screens has about 0.1.
        patience: looks in a row below `least`.
    """

    def __init__(
        self,
        run: RunWriter | None = None,
        every: int = 25,
        least: float = 1e-3,
        patience: int = 2,
    ):
        super().__init__(run, every)
        self.least, self.patience = least, patience
        self.low = 0

    def look(self, trainer: Trainer, module: LightningModule, outputs: dict) -> None:
        super().look(trainer, module, outputs)
        spread = module.notes.get(FEATURE_STD)
        self.low = self.low + 1 if spread is not None and spread < self.least else 0
        if self.low < self.patience:
            return
        what = "the features have collapsed"
        where = (
            f"at step {trainer.global_step} "
            f"(feature_std {spread:.1e}, the least is {self.least:.0e})"
        )
        if not module.may_collapse:
            raise Collapsed(
                f"{what} {where}: lower the learning rate, or raise what holds the features apart"
            )
        self.remark(what, f"{where}: nothing holds those of this control apart")
