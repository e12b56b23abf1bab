"""Transitions are sampled by their TD errors, and importance weights correct for it."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from fovea.agents.experience.priorities import EPSILON, Priorities, SumTree
from fovea.agents.experience.replay import Replay


@given(
    st.lists(st.floats(0, 1e6), min_size=1, max_size=40),
    st.lists(st.floats(0, 1), min_size=1, max_size=8),
)
def test_a_place_is_where_the_running_sum_passes_the_value(numbers: list, shares: list) -> None:
    tree = SumTree(len(numbers))
    tree[np.arange(len(numbers))] = np.array(numbers)
    np.testing.assert_allclose(tree.total, sum(numbers), rtol=1e-12)
    if tree.total == 0:
        return
    found = tree.find(np.array(shares) * tree.total)
    assert (tree[found] > 0).all()
    sums = np.concatenate([[0], np.cumsum(numbers)])
    slack = 1e-9 * tree.total
    for place, share in zip(found, shares, strict=True):
        assert sums[place] - slack <= share * tree.total <= sums[place + 1] + slack


def test_sums_are_those_of_what_is_there_now() -> None:
    rng = np.random.default_rng(0)
    tree, numbers = SumTree(13), np.zeros(13)
    for _ in range(50):
        places = rng.permutation(13)[:4]
        numbers[places] = tree[places] = rng.random(4) * 10.0 ** rng.integers(-9, 9)
    again = SumTree(13)
    again[np.arange(13)] = numbers
    assert np.array_equal(tree.nodes, again.nodes)


def played(alpha: float) -> Priorities:
    """Twelve steps of one environment, of which the last has no next observation yet."""
    replay = Replay(12, 1, torch.zeros(1), stack=0)
    priorities = Priorities(replay, steps=1, alpha=alpha)
    flag = torch.zeros(1, dtype=torch.bool)
    for number in range(12):
        seen = torch.full((1, 1), float(number))
        replay.append(
            obs=seen, action=flag, reward=flag, terminal=flag, truncated=flag, episode_start=flag
        )
        priorities.appended()
    return priorities


def shares(priorities: Priorities) -> torch.Tensor:
    row, _, _ = priorities.sample(40_000, 1.0, torch.Generator().manual_seed(0))
    return row.bincount(minlength=12) / len(row)


def test_steps_are_sampled_in_proportion_to_their_errors_and_weights_correct_it() -> None:
    priorities = played(alpha=0.5)
    torch.testing.assert_close(shares(priorities), torch.tensor([1 / 11] * 11 + [0.0]),
                               rtol=0, atol=1e-3)  # fmt: skip
    row, errors = torch.arange(11), torch.arange(11) ** 2.0
    priorities.update(row, torch.zeros_like(row), errors)
    expected = (errors.double() + EPSILON).sqrt()
    torch.testing.assert_close(
        shares(priorities)[:11].double(), expected / expected.sum(), rtol=0, atol=1e-3
    )
    row, _, weight = priorities.sample(1000, 1.0, torch.Generator().manual_seed(1))
    torch.testing.assert_close(weight, (expected[row].min() / expected[row]).float())
    assert weight.max() == 1


def test_new_steps_have_the_largest_priority_so_far() -> None:
    priorities = played(alpha=1.0)
    priorities.update(torch.tensor([3]), torch.tensor([0]), torch.tensor([9.0]))
    replay, flag = priorities.replay, torch.zeros(1, dtype=torch.bool)
    replay.append(obs=torch.zeros(1, 1), action=flag, reward=flag, terminal=flag, truncated=flag,
                  episode_start=flag)  # fmt: skip
    priorities.appended()
    found = priorities.sums.leaves
    np.testing.assert_allclose(found, [0, 1, 1, 9 + EPSILON, *[1] * 7, 9 + EPSILON], rtol=0)


def test_priorities_from_a_checkpoint_sample_the_same() -> None:
    ours, theirs = played(0.6), played(0.6)
    ours.update(torch.arange(7), torch.zeros(7, dtype=torch.int64), torch.arange(7.0))
    theirs.load_state_dict(ours.state_dict())
    assert theirs.largest == ours.largest
    for a, b in zip(*(p.sample(64, 0.4, torch.Generator().manual_seed(2)) for p in (ours, theirs)),
                    strict=True):  # fmt: skip
        assert torch.equal(a, b)
