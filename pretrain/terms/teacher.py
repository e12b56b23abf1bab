"""A teacher: a copy of a network that follows it as an exponential moving average."""

from __future__ import annotations

import copy

import torch
from torch import nn

from fovea.pretrain.encoders.encoder import Encoder


def make_teacher(student: nn.Module) -> nn.Module:
    """A deep copy without gradients; it starts with the student's own weights."""
    return copy.deepcopy(student).requires_grad_(False)


@torch.no_grad()
def ema_update(teacher: nn.Module, student: nn.Module, momentum: float) -> None:
    """teacher = momentum * teacher + (1 - momentum) * student, for every parameter.

    The running statistics of an encoder's batch norms are the student's: a teacher works without
    gradients, under which encoders record none (see `encoders.cnn.Norm`).
    """
    pairs = zip(teacher.parameters(), student.parameters(), strict=True)
    apart = [pair for pair in pairs if pair[0] is not pair[1]]  # a frozen encoder is shared
    torch._foreach_lerp_(*map(list, zip(*apart, strict=True)), 1 - momentum)
    for mine, theirs in zip(teacher.modules(), student.modules(), strict=True):
        if isinstance(mine, Encoder):
            for buffer, source in zip(mine.buffers(), theirs.buffers(), strict=True):
                buffer.copy_(source)
