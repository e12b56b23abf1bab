"""MoCo v3: its loss by hand, what of the encoder stays as it was drawn, and how its heads end."""

from __future__ import annotations

import math

import pytest
import torch

from fovea.pretrain.encoders.vit import Shape, sincos
from fovea.pretrain.objectives.moco_v3 import MoCoV3, moco_loss
from fovea.pretrain.optim import Optimisation, configure
from fovea.seeding import Draws, Stream


def test_loss_by_hand() -> None:
    """Keys at right angles: right ones have cosine 1 and the others 0, or the reverse."""
    own = torch.eye(2)
    right, wrong = (math.log1p(math.exp(-x / 0.2)) for x in (1, -1))
    aligned = moco_loss(own, own, own, own, temperature=0.2)
    assert aligned == pytest.approx(2 * 0.2 * 2 * right, rel=1e-4)
    swapped = moco_loss(own, own, own.flip(0), own, temperature=0.2)
    assert swapped == pytest.approx(2 * 0.2 * (right + wrong), rel=1e-4)


def test_each_query_looks_for_the_key_of_the_other_view() -> None:
    q1, q2 = torch.randn(2, 16, 8)
    crossed = moco_loss(q1, q2, q2, q1, temperature=0.2)
    assert crossed < 0.5 * moco_loss(q1, q2, q1, q2, temperature=0.2)
    longer = moco_loss(3 * q1, q2, 5 * q2, q1, temperature=0.2)
    torch.testing.assert_close(longer, crossed)


def test_patches_and_positions_stay_as_they_were_drawn() -> None:
    how = Optimisation(lr=0.1, weight_decay=1.0, warmup=1)
    shape = Shape(patch=42, positions="sincos")
    objective = MoCoV3(encoder=shape, projector=8, out=4, optimisation=how)
    before = {name: w.clone() for name, w in objective.encoder.vit.state_dict().items()}
    assert torch.equal(before["pos_embed"][0, 1:], sincos(2, 2, 96))
    optimiser = configure(objective, how, 10)["optimizer"]
    for number in range(2):
        windows = torch.randint(0, 256, (8, 1, 4, 84, 84)).to(torch.uint8)
        optimiser.zero_grad()
        crops = objective.views(windows, Draws(Stream.VIEWS, 0, number, 8, "cpu"))
        objective.losses(*crops)["contrast"].backward()
        optimiser.step()
        objective.after_optimizer_step()
    frozen = {"pos_embed", "patch_embed.proj.weight", "patch_embed.proj.bias"}
    for eyes in (objective.encoder, objective.teacher):
        still = {n for n, w in eyes.vit.state_dict().items() if torch.equal(w, before[n])}
        assert still == frozen


def test_its_positions_are_sines_and_cosines_where_nothing_else_is_said() -> None:
    assert torch.equal(MoCoV3(projector=8, out=4).encoder.vit.pos_embed[0, 1:], sincos(6, 6, 96))


def test_projector_and_predictor_end_in_a_norm_without_scale() -> None:
    objective = MoCoV3(encoder=Shape(patch=42), projector=16, out=4)
    layers = [[type(layer).__name__ for layer in head]
              for head in (objective.projector, objective.predictor)]  # fmt: skip
    hidden, last = ["Linear", "BatchNorm1d", "ReLU"], ["Linear", "BatchNorm1d"]
    assert layers == [2 * hidden + last, hidden + last]
    projected = objective.projector(torch.randn(64, 96))
    torch.testing.assert_close(projected.mean(0), torch.zeros(4), rtol=0, atol=1e-5)
    torch.testing.assert_close(projected.var(0, unbiased=False), torch.ones(4), rtol=0, atol=1e-2)
    assert not list(objective.projector[-1].parameters())
