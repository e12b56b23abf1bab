"""Returns and advantages, worked by hand."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fovea.agents.experience.returns import gae, n_step, to_go


def column(*numbers: float) -> torch.Tensor:
    return torch.tensor(numbers, dtype=torch.float64)[:, None]


def test_gae_worked_by_hand() -> None:
    """Errors are 1 + 0.5*2 - 1 = 1, 0 + 0.5*4 - 2 = 0 and 2 + 0.5*2 - 4 = -1."""
    advantages = gae(
        column(1, 0, 2),
        column(1, 2, 4),
        column(0, 0, 0),
        next_value=torch.tensor([2.0], dtype=torch.float64),
        next_done=torch.tensor([0.0]),
        gamma=0.5,
        gae_lambda=0.5,
    )
    torch.testing.assert_close(advantages, column(1 + 0.25 * -0.25, 0.25 * -1, -1))


def test_gae_stops_where_an_episode_starts() -> None:
    """Observation 1 starts an episode, so step 0 has no value after it; the last step neither."""
    advantages = gae(
        column(1, 1),
        column(5, 7),
        column(0, 1),
        next_value=torch.tensor([100.0], dtype=torch.float64),
        next_done=torch.tensor([1.0]),
        gamma=0.9,
        gae_lambda=0.9,
    )
    torch.testing.assert_close(advantages, column(1 - 5, 1 - 7))


@pytest.mark.parametrize(("terminal", "truncated", "expected"), [
    ([0, 0, 0], [0, 0, 0], (1 + 0.5 * 2 + 0.25 * 4, 0.125, 3)),
    ([0, 1, 0], [0, 0, 0], (1 + 0.5 * 2, 0.0, 2)),
    ([1, 0, 0], [0, 0, 0], (1, 0.0, 1)),
    ([0, 0, 0], [0, 0, 1], (1 + 0.5 * 2, 0.25, 2)),
    ([0, 0, 0], [0, 1, 0], (1, 0.5, 1)),
    ([0, 1, 0], [0, 0, 1], (1 + 0.5 * 2, 0.0, 2)),
])  # fmt: skip
def test_n_steps_worked_by_hand(terminal: list, truncated: list, expected: tuple) -> None:
    flags = (torch.tensor([flag], dtype=torch.bool) for flag in (terminal, truncated))
    found = n_step(torch.tensor([[1.0, 2.0, 4.0]]), *flags, gamma=0.5)
    assert tuple(number.item() for number in found) == expected


@given(st.lists(st.tuples(st.integers(-2, 2), st.sampled_from(["goes on", "over", "cut"])),
                min_size=1, max_size=6))  # fmt: skip
def test_n_steps_are_a_plain_walk_through_the_window(window: list[tuple[int, str]]) -> None:
    if window[0][1] == "cut":
        window[0] = (window[0][0], "goes on")
    total, discount = 0.0, 1.0
    for number, (reward, then) in enumerate(window):
        if then == "cut":
            break
        total += 0.5**number * reward
        discount *= 0.5
        if then == "over":
            discount = 0.0
            break
    found = n_step(
        torch.tensor([[float(reward) for reward, _ in window]]),
        torch.tensor([[then == "over" for _, then in window]]),
        torch.tensor([[then == "cut" for _, then in window]]),
        gamma=0.5,
    )
    assert (found[0].item(), found[1].item()) == (total, discount)


@given(st.lists(st.tuples(st.integers(-2, 2), st.booleans()), min_size=1, max_size=40),
       st.sampled_from([0.0, 0.5, 1.0]))  # fmt: skip
def test_returns_to_go_are_summed_from_the_end_of_each_episode(steps: list, gamma: float) -> None:
    wanted, running = [], 0.0
    for reward, last in reversed(steps):
        running = reward + gamma * (0.0 if last else running)
        wanted.append(running)
    rewards, last = (torch.tensor(column) for column in zip(*steps, strict=True))
    found = to_go(rewards.float(), last, gamma)
    torch.testing.assert_close(found, torch.tensor(wanted[::-1]))
