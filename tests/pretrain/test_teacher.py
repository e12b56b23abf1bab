"""Teachers: copies that nothing trains and that follow their students, in every objective alike."""

from __future__ import annotations

from copy import deepcopy

import pytest
import torch
from torch import nn

from fovea.pretrain.encoders.vit import Shape
from fovea.pretrain.objectives.base import Objective
from fovea.pretrain.objectives.byol import BYOL
from fovea.pretrain.objectives.dino import DINO
from fovea.pretrain.objectives.moco_v3 import MoCoV3
from fovea.pretrain.optim import configure
from fovea.pretrain.terms.teacher import ema_update, make_teacher
from fovea.seeding import Draws, Stream

SMALL = {
    BYOL: {"projector": 8, "out": 4},
    DINO: {"hidden": 8, "bottleneck": 4, "prototypes": 8},
    MoCoV3: {"projector": 8, "out": 4},
}


def linear(weight: float) -> nn.Linear:
    layer = nn.Linear(2, 2, bias=False)
    nn.init.constant_(layer.weight, weight)
    return layer


def test_a_teacher_is_a_deep_copy_that_nothing_trains() -> None:
    student = linear(1.0)
    teacher = make_teacher(student)
    with torch.no_grad():
        student.weight.fill_(3.0)
    assert (teacher.weight == 1).all()
    assert student.weight.requires_grad
    assert not teacher.weight.requires_grad


def test_it_follows_by_its_momentum() -> None:
    teacher, student = make_teacher(linear(1.0)), linear(2.0)
    ema_update(teacher, student, 0.75)
    assert (teacher.weight == 1.25).all()
    ema_update(teacher, student, 1.0)
    assert (teacher.weight == 1.25).all()
    ema_update(teacher, student, 0.0)
    assert (teacher.weight == 2.0).all()


def test_what_both_have_alike_does_not_move_by_a_bit() -> None:
    student = nn.Linear(50, 50)
    teacher = make_teacher(student)
    for momentum in (0.99, 0.9931, 1.0):
        ema_update(teacher, student, momentum)
    assert torch.equal(teacher.weight, student.weight)


@pytest.fixture(params=SMALL, ids=lambda kind: kind.__name__)
def objective(request: pytest.FixtureRequest) -> Objective:
    kind = request.param
    return kind(encoder=Shape(patch=42, positions="sincos"), momentum=0.75, **SMALL[kind])


def heads(objective: Objective) -> tuple[nn.Module, nn.Module]:
    """The teacher's head, and the student's of the same kind."""
    if isinstance(objective, DINO):
        return objective.teacher_head, objective.head
    return objective.teacher_projector, objective.projector


def learn(objective: Objective) -> None:
    """One step of the optimiser, without what comes after it."""
    windows = torch.randint(0, 256, (8, 1, 4, 84, 84)).to(torch.uint8)
    optimiser = configure(objective, objective.optimisation, 10)["optimizer"]
    (loss,) = objective.losses(
        *objective.views(windows, Draws(Stream.VIEWS, 0, 0, 8, "cpu"))
    ).values()
    loss.backward()
    optimiser.step()


def test_no_gradient_reaches_an_objectives_teacher(objective: Objective) -> None:
    teachers = [objective.teacher, heads(objective)[0]]
    before = deepcopy(teachers)
    learn(objective)
    assert objective.encoder.vit.blocks[0].attn.qkv.weight.grad.abs().sum() > 0
    for teacher, same in zip(teachers, before, strict=True):
        for weight, was in zip(teacher.parameters(), same.parameters(), strict=True):
            assert weight.grad is None
            assert torch.equal(weight, was)


def test_an_objectives_teacher_follows_encoder_and_head(objective: Objective) -> None:
    pairs = (objective.teacher, objective.encoder), heads(objective)
    before = deepcopy([teacher for teacher, _ in pairs])
    learn(objective)
    objective.after_optimizer_step()
    for (teacher, student), was in zip(pairs, before, strict=True):
        moved = False
        for now, theirs, then in zip(
            teacher.parameters(), student.parameters(), was.parameters(), strict=True
        ):
            torch.testing.assert_close(now, 0.75 * then + 0.25 * theirs)
            moved |= not torch.equal(now, then)
        assert moved


def test_an_objectives_teacher_rests_at_the_end(objective: Objective) -> None:
    learn(objective)
    before = deepcopy(objective.teacher.state_dict())
    objective.progress = 1.0
    objective.after_optimizer_step()
    for name, weight in objective.teacher.state_dict().items():
        assert torch.equal(weight, before[name])
