"""Elastic weight consolidation by hand, on an encoder of a few weights."""

from __future__ import annotations

from itertools import repeat

import pytest
import torch

from fovea.agents.adaptation.ewc import EWC
from fovea.pretrain.encoders.encoder import Encoder


class Few(Encoder):
    """An encoder of three weights."""

    dim, grid, stack, screen = 3, None, 4, (84, 84)

    def __init__(self):
        super().__init__()
        self.used = torch.nn.Parameter(torch.tensor([1.0, 2.0]))
        self.unused = torch.nn.Parameter(torch.tensor([5.0]))


def remembered(**settings) -> EWC:
    """One that a game has ended for, whose loss was the square of the first weight."""
    ewc = EWC(Few(), **settings)
    ewc.on_task_end(ewc.encoder.used[0].square() for _ in repeat(None))
    return ewc


def test_nothing_is_held_back_in_the_first_game() -> None:
    ewc = EWC(Few())
    ewc.encoder.used.data += 1
    assert ewc.penalties()["ewc"] == 0


def test_the_penalty_is_half_the_weight_times_fisher_times_squared_distance() -> None:
    ewc = remembered(weight=3.0)
    assert ewc.penalties()["ewc"] == 0
    ewc.encoder.used.data += 0.5
    ewc.encoder.unused.data += 9
    penalty = ewc.penalties()["ewc"]
    # The gradient was 2 at the first weight and 0 at the others.
    assert penalty.item() == pytest.approx(3 / 2 * 2**2 * 0.5**2)
    penalty.backward()
    assert ewc.encoder.used.grad.tolist() == pytest.approx([3 * 2**2 * 0.5, 0.0])


def test_fisher_information_is_the_mean_over_the_batches_that_are_asked_for() -> None:
    ewc, taken = EWC(Few(), batches=4), []

    def losses():
        for factor in (1.0, 2.0, 3.0, 4.0, 5.0):
            taken.append(factor)
            yield factor * ewc.encoder.used[1]

    ewc.on_task_end(losses())
    assert taken == [1, 2, 3, 4]
    assert ewc.fisher_0.tolist() == pytest.approx([0, (1 + 4 + 9 + 16) / 4])


def test_games_add_up_around_the_newest_weights_and_survive_a_state_dict() -> None:
    ewc = remembered()
    ewc.encoder.used.data += 1
    ewc.on_task_end(ewc.encoder.used[0].square() for _ in repeat(None))
    assert ewc.fisher_0.tolist() == pytest.approx([2**2 + 4**2, 0])
    assert ewc.anchor_0.tolist() == [2, 3]
    again = EWC(Few())
    again.load_state_dict(ewc.state_dict())
    for one in (ewc, again):
        one.encoder.used.data -= 2
    assert again.penalties()["ewc"] == ewc.penalties()["ewc"] > 0
