"""Inverse dynamics: the action between two windows, told among those of its own game."""

from __future__ import annotations

import torch

from atari.games import ACTIONS, GAMES
from pretrain.draws import Draws
from pretrain.inverse_dynamics import InverseDynamics, of_game
from pretrain.vit import Shape


def test_no_game_has_more_actions_than_there_is_room_for() -> None:
    from ale_py import Action

    assert len(Action.__members__) == ACTIONS


def test_a_sample_has_the_logits_of_its_game() -> None:
    logits = torch.arange(2.0 * len(GAMES) * ACTIONS).view(2, -1)
    rows = of_game(logits, torch.tensor([0, 2]))
    assert torch.equal(rows[0], logits[0, :ACTIONS])
    assert torch.equal(rows[1], logits[1, 2 * ACTIONS : 3 * ACTIONS])


def test_the_action_is_the_one_between() -> None:
    objective = InverseDynamics(width=8, encoder=Shape(patch=42))
    windows = torch.randint(0, 256, (4, 2, 4, 84, 84)).to(torch.uint8)
    action, game = torch.tensor([[3, 1]] * 4), torch.tensor([[2, 2]] * 4)
    draws = Draws(0, 0, 4, "cpu")
    now, later, taken, played = objective.views(windows, draws, action=action, game=game)
    assert torch.equal(now, windows[:, 0])
    assert torch.equal(later, windows[:, 1])
    assert taken.tolist() == [3] * 4
    assert played.tolist() == [2] * 4


def test_it_is_learned_from_what_changed() -> None:
    """A bar that moves left or right: told right after some steps on the same eight samples."""
    objective = InverseDynamics(width=32, encoder=Shape(patch=42))
    windows = torch.zeros(8, 2, 4, 84, 84, dtype=torch.uint8)
    action, game = torch.tensor([0, 1] * 4), torch.zeros(8, dtype=torch.long)
    for sample in range(8):
        begin = 10 + 6 * sample
        windows[sample, 0, :, 20:60, begin : begin + 8] = 200
        begin += 12 if action[sample] else -8
        windows[sample, 1, :, 20:60, begin : begin + 8] = 200
    optimiser = torch.optim.AdamW(objective.parameters(), lr=1e-3)
    for _ in range(30):
        optimiser.zero_grad()
        objective.losses(*windows.unbind(1), action, game)["action"].backward()
        optimiser.step()
    assert objective.notes["action_accuracy"] == 1
