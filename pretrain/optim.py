"""Optimisers and schedules: AdamW or LARS, linear warm-up, half-cosines."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from jsonargparse.typing import NonNegativeFloat, NonNegativeInt
from torch import Tensor, nn


@dataclass(frozen=True)
class Optimisation:
    """How an objective is optimised.

    Args:
        name: adamw or lars.
        lr: peak learning rate; it is not scaled by the batch size.
        weight_decay: of matrices; biases, norms and other vectors are not decayed.
        warmup: steps of linear warm-up.
        last_weight_decay: the weight decay at the end of a half-cosine; None: it is constant.
    """

    name: Literal["adamw", "lars"] = "adamw"
    lr: NonNegativeFloat = 1e-3
    weight_decay: NonNegativeFloat = 0.05
    warmup: NonNegativeInt = 20
    last_weight_decay: NonNegativeFloat | None = None


class LARS(torch.optim.Optimizer):
    """SGD with momentum whose rate is scaled layer by layer (You et al. 2017).

    As in facebookresearch/vicreg: vectors (biases, norms) are neither decayed nor adapted.

    Args:
        params: parameters or groups.
        lr: learning rate.
        weight_decay: added to the gradient before the ratio is taken.
        momentum: of the scaled gradient.
        eta: trust coefficient.
    """

    def __init__(
        self, params, lr: float, weight_decay: float = 0.0, momentum: float = 0.9, eta: float = 1e-3
    ):
        super().__init__(
            params, {"lr": lr, "weight_decay": weight_decay, "momentum": momentum, "eta": eta}
        )

    @torch.no_grad()
    def step(self, closure=None):
        """Update every parameter that has a gradient; returns the closure's loss, if any."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                update = parameter.grad
                if parameter.ndim > 1:
                    update = update.add(parameter, alpha=group["weight_decay"])
                    update = update * _trust(parameter, update, group["eta"])
                state = self.state[parameter]
                if "momentum" not in state:
                    state["momentum"] = torch.zeros_like(parameter)
                state["momentum"].mul_(group["momentum"]).add_(update)
                parameter.add_(state["momentum"], alpha=-group["lr"])
        return loss


def _trust(parameter: Tensor, update: Tensor, eta: float) -> Tensor:
    """eta * |parameter| / |update|, and 1 where either is zero."""
    size, change = parameter.norm(), update.norm()
    return torch.where((size > 0) & (change > 0), eta * size / change, torch.ones_like(size))


def configure(module: nn.Module, how: Optimisation, steps: int) -> dict:
    """What Lightning's `configure_optimizers` returns for the parameters of `module`.

    The rate rises linearly over the warm-up and falls along a half-cosine to 0 at `steps`; that of
    the last step holds where a run is longer.
    """
    trained = [p for p in module.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": how.weight_decay},
        {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
    ]
    if how.name == "lars":
        optimiser = LARS(groups, lr=how.lr)
    else:
        optimiser = torch.optim.AdamW(groups, lr=how.lr, fused=True)
        # A fused step may unscale the gradients of float16 itself, and Lightning then refuses to
        # clip them, in bfloat16 too, which scales nothing. So they are unscaled before the step.
        optimiser._step_supports_amp_scaling = False
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimiser, lambda step: rate(min(step, steps - 1), how.warmup, steps)
    )
    return {"optimizer": optimiser, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def decay(optimiser: torch.optim.Optimizer, how: Optimisation, progress: float) -> None:
    """Set the weight decay of matrices for the share `progress` of the run; others have none."""
    if how.last_weight_decay is not None:
        for group in optimiser.param_groups:
            if any(weight.ndim > 1 for weight in group["params"]):
                group["weight_decay"] = cosine(how.weight_decay, how.last_weight_decay, progress)


def cosine(first: float, last: float, progress: float) -> float:
    """From `first` (progress 0) to `last` (progress 1) along a half-cosine."""
    return last + (first - last) * 0.5 * (1 + math.cos(math.pi * progress))


def share(step: int, steps: int) -> float:
    """The share of so many steps that is over at a step, counted from 0; less than 1."""
    return min(step, steps - 1) / steps


def rate(step: int, warmup: int, steps: int) -> float:
    """The share of the peak rate at `step`, counted from 0."""
    if step < warmup:
        return (step + 1) / warmup
    return cosine(1, 0, (step - warmup) / max(1, steps - warmup))
