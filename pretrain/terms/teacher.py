"""A teacher: a copy of a network that follows it as an exponential moving average."""

from __future__ import annotations

import copy

import torch
from torch import nn


def make_teacher(student: nn.Module) -> nn.Module:
    """A deep copy without gradients; it starts with the student's own weights."""
    return copy.deepcopy(student).requires_grad_(False)


@torch.no_grad()
def ema_update(teacher: nn.Module, student: nn.Module, momentum: float) -> None:
    """teacher = momentum * teacher + (1 - momentum) * student, for every parameter."""
    pairs = list(teacher.parameters()), list(student.parameters())
    torch._foreach_lerp_(*pairs, 1 - momentum)
