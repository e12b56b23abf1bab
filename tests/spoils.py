"""Callbacks that spoil a run as bad numbers would."""

from __future__ import annotations

import torch
from lightning import Callback


class SpoilGradients(Callback):
    """Makes a gradient NaN in the update after some step.

    Args:
        step: after which.
    """

    def __init__(self, step: int = 2):
        self.step = step

    def on_before_optimizer_step(self, trainer, module, optimizer) -> None:
        if trainer.global_step == self.step:
            weight = next(each for each in module.parameters() if each.grad is not None)
            weight.grad = torch.full_like(weight, torch.nan)
