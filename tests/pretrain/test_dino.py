"""DINO: its loss by hand, who sees which crops, and what is fixed, is centred and warms up when."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from fovea.pretrain.encoders.vit import Shape
from fovea.pretrain.objectives.dino import DINO, Head, dino_loss, next_centre
from fovea.pretrain.optim import configure
from fovea.seeding import Draws, Stream

SMALL = {"encoder": Shape(patch=42), "hidden": 8, "bottleneck": 4, "prototypes": 8}


def views(objective: DINO, batch: int = 4) -> tuple[Tensor, ...]:
    windows = torch.randint(0, 256, (batch, 1, 4, 84, 84)).to(torch.uint8)
    return objective.views(windows, Draws(Stream.VIEWS, 0, 0, batch, "cpu"))


def test_loss_by_hand() -> None:
    """The first teacher view is sure of prototype 0, the second of 1; the same view is left out."""
    teacher = torch.tensor([[[9.0, 0.0]], [[0.0, 9.0]]])
    student = torch.tensor([[[1.0, 0.0]], [[0.0, 2.0]], [[3.0, 0.0]]])
    settings = {"student_temperature": 0.5, "teacher_temperature": 0.1}
    loss = dino_loss(student, teacher, torch.zeros(2), **settings)
    # -log softmax of the right prototype, whose logit is ahead by this much after division.
    ahead = {"first, of 2": -4, "first, of 3": 6, "second, of 1": -2, "second, of 3": -6}
    expected = [math.log1p(math.exp(-by)) for by in ahead.values()]
    assert loss == pytest.approx(sum(expected) / 4, abs=1e-5)
    # A centre that lies on what both say equally often leaves the first unsure, the second as is.
    centre = torch.tensor([9.0, 0.0])
    unsure = [(math.log1p(math.exp(-by)) + math.log1p(math.exp(by))) / 2 for by in (-4, 6)]
    assert dino_loss(student, teacher, centre, **settings) == pytest.approx(
        (sum(unsure) + sum(expected[2:])) / 4, abs=1e-5
    )


def test_the_centre_follows_the_mean_of_all_teacher_logits() -> None:
    teacher = torch.tensor([[[1.0, 4.0], [3.0, 0.0]], [[2.0, 2.0], [2.0, 2.0]]])
    centre = next_centre(torch.tensor([10.0, 0.0]), teacher, momentum=0.9)
    assert centre.tolist() == pytest.approx([9.2, 0.2])


def test_the_centre_moves_after_the_step_only() -> None:
    objective = DINO(**SMALL)
    crops = views(objective)
    objective.losses(*crops)
    assert not objective.centre.any()
    objective.after_optimizer_step()
    torch.testing.assert_close(objective.centre, 0.1 * objective.teacher_logits.mean((0, 1)))
    assert objective.centre.any()
    assert "centre" in objective.state_dict()


def test_views_are_two_of_the_screen_and_smaller_local_ones() -> None:
    objective = DINO(**SMALL, local_crops=3)
    shapes = [tuple(view.shape) for view in views(objective)]
    assert shapes == [(4, 4, 84, 84)] * 2 + [(4, 4, 42, 42)] * 3
    assert len({bytes(view.numpy().tobytes()) for view in views(objective)}) == 5


def test_the_teacher_sees_the_globals_only_and_each_size_takes_one_forward() -> None:
    objective = DINO(**SMALL, local_crops=3)
    seen: dict[str, list] = {"student": [], "teacher": []}
    for name, encoder in (("student", objective.encoder), ("teacher", objective.teacher)):
        encoder.vit.patch_embed.proj.register_forward_hook(
            lambda _module, inputs, _output, name=name: seen[name].append(tuple(inputs[0].shape))
        )
    objective.losses(*views(objective))
    assert seen["teacher"] == [(8, 4, 84, 84)]
    assert seen["student"] == [(8, 4, 84, 84), (12, 4, 42, 42)]


def test_it_can_do_without_local_crops() -> None:
    objective = DINO(**SMALL, local_crops=0)
    crops = views(objective)
    assert len(crops) == 2
    assert torch.isfinite(objective.losses(*crops)["distillation"])


def step(objective: DINO) -> tuple[Tensor, Tensor]:
    """How far prototypes and the layer before them move in one step, decay and all."""
    weights = objective.head.prototypes, objective.head.mlp[-1].weight
    before = [weight.detach().clone() for weight in weights]
    optimiser = configure(objective, objective.optimisation, 10)["optimizer"]
    objective.losses(*views(objective))["distillation"].backward()
    objective.on_after_backward()
    optimiser.step()
    return tuple((w - was).abs().max() for w, was in zip(weights, before, strict=True))


def test_the_prototypes_rest_at_first() -> None:
    objective = DINO(**SMALL, frozen=0.1)
    moved = step(objective)
    assert moved[0] == 0
    assert moved[1] > 0
    objective.progress = 0.1
    assert min(step(objective)) > 0


def test_the_teachers_temperature_rises_to_its_end_and_stays() -> None:
    objective = DINO(**SMALL, teacher_temperatures=(0.04, 0.07), warmup=0.3)
    course = {0.0: 0.04, 0.15: 0.055, 0.3: 0.07, 1.0: 0.07}
    for objective.progress, temperature in course.items():
        assert objective.teacher_temperature == pytest.approx(temperature)
    at_once = DINO(**SMALL, teacher_temperatures=(0.04, 0.07), warmup=0.0)
    assert at_once.teacher_temperature == 0.07


def test_logits_are_cosines_whatever_the_length_of_the_prototypes() -> None:
    head, features = Head(6, 8, 4, 16), torch.randn(2, 8, 6)
    logits = head(features)
    assert logits.shape == (2, 8, 16)
    assert logits.abs().max() <= 1
    with torch.no_grad():
        head.prototypes.mul_(7)
    torch.testing.assert_close(head(features), logits)


@torch.no_grad()
def test_the_head_tells_features_apart_that_hardly_differ() -> None:
    """As an untrained encoder's do on screens of one game: a large part is common to all."""
    head, features = Head(6, 32, 8, 16), torch.randn(2, 64, 6)
    alike = 5 + 0.02 * features
    spread_out, alike_too = (head(x).std((0, 1)).mean() for x in (features, alike))
    torch.testing.assert_close(alike_too, spread_out, rtol=0.1, atol=0)
    head.norm = nn.Identity()
    assert head(alike).std((0, 1)).mean() < 0.1 * spread_out
