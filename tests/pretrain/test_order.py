"""Temporal order: the labels are right, the windows are what they are called, no shortcut."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from fovea.pretrain.encoders.vit import Shape
from fovea.pretrain.objectives.tov_vicreg import TOVVICReg
from fovea.pretrain.objectives.tov_vicreg_paper import PaperTOVVICReg
from fovea.pretrain.terms.order import ORDERS, accuracy, order_logits, order_loss
from fovea.seeding import Draws, Stream

SMALL = {"encoder": Shape(patch=42), "expander": 8}


def moments(offsets: tuple[int, ...], batch: int) -> Tensor:
    """(B, K, 4, 84, 84) windows whose newest screen says when it was: 100 + offset."""
    when = torch.tensor(offsets) + 100
    return when[None, :, None, None, None].expand(batch, -1, 4, 84, 84).to(torch.uint8)


def test_windows_are_concatenated_in_the_order_they_are_shown() -> None:
    windows = torch.tensor([[[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]])
    read = torch.nn.Identity()
    shown = order_logits(lambda x: read(x)[:, :1], windows, torch.tensor([[2, 0, 1]]))
    assert shown.tolist() == [5.0]


def test_loss_and_accuracy_by_hand() -> None:
    logits, shuffled = torch.tensor([0.0, 2.0, -2.0]), torch.tensor([True, True, True])
    wanted = (math.log(2) + math.log1p(math.exp(-2)) + math.log1p(math.exp(2))) / 3
    assert order_loss(logits, shuffled) == pytest.approx(wanted)
    assert accuracy(logits, shuffled) == pytest.approx(1 / 3)
    only_second = torch.tensor([0.0, 1.0, 0.0])
    assert order_loss(logits, shuffled, only_second) == pytest.approx(math.log1p(math.exp(-2)))
    assert accuracy(logits, shuffled, only_second) == 1
    assert order_loss(logits, shuffled, torch.zeros(3)) == 0


def test_the_repaired_windows_are_chronological_at_one_gap_a_sample() -> None:
    objective = TOVVICReg(gaps=(2, 5), motion=0.0, **SMALL)
    assert objective.offsets == (-5, 0, 5)
    at = torch.arange(200)
    times = objective.places(at, None, Draws(Stream.VIEWS, 0, 0, 200, "cpu")) - at[:, None]
    assert {tuple(row) for row in times.tolist()} == {(-2, 0, 2), (-5, 0, 5)}


def test_the_repaired_windows_are_shown_as_they_were_seen() -> None:
    objective = TOVVICReg(gaps=(4,), **SMALL)
    windows = torch.randint(0, 256, (8, 3, 4, 84, 84)).to(torch.uint8)
    first, _, three, _, _ = objective.views(windows, Draws(Stream.VIEWS, 0, 0, 8, "cpu"))
    assert torch.equal(three, windows)
    assert not torch.equal(first, windows[:, 1])


def test_the_repaired_labels_are_balanced_and_never_reversed() -> None:
    objective = TOVVICReg(gaps=(4,), **SMALL)
    windows = torch.zeros(4000, 3, 4, 1, 1, dtype=torch.uint8)
    objective.chains = ([], [])
    *_, order, _ = objective.views(windows, Draws(Stream.VIEWS, 0, 0, 4000, "cpu"))
    shown, counts = order.unique(dim=0, return_counts=True)
    assert shown.tolist() == [[0, 1, 2], [0, 2, 1], [1, 0, 2]]
    assert (counts / 4000 - torch.tensor([0.5, 0.25, 0.25])).abs().max() < 0.03


def test_windows_without_motion_do_not_count() -> None:
    objective = TOVVICReg(gaps=(4,), motion=0.5, **SMALL)
    windows = moments((0, 0, 0), 3).clone()
    windows[0, 1] += 1  # the middle differs from both
    windows[1, 2] += 1  # only the last differs
    *_, moved = objective.views(windows, Draws(Stream.VIEWS, 0, 0, 3, "cpu"))
    assert moved.tolist() == [1, 0, 0]


def test_the_order_head_cannot_starve_for_scale() -> None:
    objective = TOVVICReg(gaps=(4,), **SMALL)
    windows, orders = torch.randn(64, 3, 2 * 96), ORDERS[torch.zeros(64, dtype=torch.long)]
    loud = order_logits(objective.task.head, windows, orders)
    quiet = order_logits(objective.task.head, windows * 1e-2, orders)
    torch.testing.assert_close(loud, quiet, rtol=0, atol=0.1)


@pytest.mark.slow
def test_the_papers_slots_and_orders() -> None:
    objective = PaperTOVVICReg(gap=3, encoder=Shape(patch=42), expander=8)
    assert objective.offsets == (0, -3, 3)
    windows = moments(objective.offsets, 3000)[..., :1, :1]
    objective.chains = ([], [])
    first, second, before, after, order = objective.views(
        windows, Draws(Stream.VIEWS, 0, 0, 3000, "cpu")
    )
    shown = (first, second, before, after)
    assert [int(view[0, -1, 0, 0]) - 100 for view in shown] == [0, 0, -3, 3]
    share = (order == torch.arange(3)).all(1).float().mean()
    assert abs(share - 1 / 6) < 0.02


def test_the_papers_trivial_levels() -> None:
    """0.4506 for a constant, 0.2310 for a head that sees only which slot is cropped."""
    shuffled = torch.arange(len(ORDERS)) > 0
    constant = torch.full((6,), math.log(5))
    assert order_loss(constant, shuffled) == pytest.approx(0.4506, abs=1e-4)
    # Slot 0 holds the cropped window in 2 of 6 orders, and one of these two is the true one.
    knows_the_crop = torch.where(ORDERS[:, 0] == 0, 0.0, 30.0)
    assert order_loss(knows_the_crop, shuffled) == pytest.approx(0.2310, abs=1e-4)


@pytest.mark.parametrize("kind", [TOVVICReg, PaperTOVVICReg])
def test_the_order_term_reaches_the_encoder(kind: type) -> None:
    objective = kind(**SMALL)
    windows = torch.randint(0, 256, (8, 3, 4, 84, 84)).to(torch.uint8)
    losses = objective.losses(*objective.views(windows, Draws(Stream.VIEWS, 0, 0, 8, "cpu")))
    assert set(losses) == {"invariance", "variance", "covariance", "order"}
    losses["order"].backward()
    assert objective.encoder.vit.patch_embed.proj.weight.grad.abs().sum() > 0
    assert objective.expander[0].weight.grad is None
