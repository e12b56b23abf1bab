"""Distributions over bins have the mean that they were made of, and the losses of their papers."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fovea.agents.networks.value_heads import (
    C51,
    HLGauss,
    centres,
    cross_entropy,
    histogram,
    make_value_head,
    mean,
)
from fovea.command import UserError


def logits(*rows: list[float]) -> torch.Tensor:
    """Outputs whose softmax is `rows`."""
    return torch.tensor(rows).log()


def test_a_moved_distribution_is_shared_out_over_its_neighbours() -> None:
    """Atoms at -1, 0, 1; what follows is 0 or 1 evenly: it moves to 0.25 and 0.75, or to 0.25."""
    c51, outputs = C51(-1.0, 1.0, 3), logits([0.2, 0.3, 0.5]).repeat(3, 1).requires_grad_()
    lost = c51.loss(
        outputs,
        reward=torch.tensor([0.25, 0.25, 7.0]),
        discount=torch.tensor([0.5, 0.0, 0.5]),
        next_outputs=logits([0.0, 0.5, 0.5]).repeat(3, 1),
    )
    target = torch.tensor([[0.0, 0.5, 0.5], [0.0, 0.75, 0.25], [0.0, 0.0, 1.0]])
    logp = torch.tensor([0.2, 0.3, 0.5]).log()
    torch.testing.assert_close(lost.loss, -(target * logp).sum(dim=1))
    entropy = torch.distributions.Categorical(target).entropy()
    torch.testing.assert_close(lost.td_errors, lost.loss.detach() - entropy, atol=1e-6, rtol=0)
    torch.testing.assert_close(c51.value(outputs[0]).item(), 0.3)
    lost.loss.sum().backward()
    torch.testing.assert_close(outputs.grad, outputs.detach().softmax(dim=1) - target)


@given(st.floats(-10, 10), st.integers(8, 200), st.floats(0.3, 1.0))
def test_a_histogram_says_the_value_that_it_is_of_up_to_the_ends(
    value: float, bins: int, sigma: float
) -> None:
    head = HLGauss(-10.0, 10.0, bins, sigma)
    assert len(head.edges) == bins + 1
    probabilities = histogram(torch.tensor([value]), head.edges, head.sigma)
    torch.testing.assert_close(probabilities.sum().item(), 1.0)
    width = (head.edges[1] - head.edges[0]).item()
    assert head.sigma == pytest.approx(sigma * width, rel=1e-4)
    # Cut off at three standard deviations, and told apart by the bin.
    slack = 0.02 * head.sigma + (0.1 if sigma < 0.5 else 0.01) * width
    assert mean(probabilities, centres(head.edges)).item() == pytest.approx(value, abs=slack)


def test_without_the_bins_beyond_it_the_ends_would_be_drawn_inwards() -> None:
    edges = torch.linspace(-10, 10, 52)
    bare = histogram(torch.tensor([10.0]), edges, 0.75 * 20 / 51)
    assert mean(bare, centres(edges)).item() == pytest.approx(9.73, abs=0.01)
    padded = HLGauss(-10.0, 10.0, 51)
    full = histogram(torch.tensor([10.0]), padded.edges, padded.sigma)
    assert mean(full, centres(padded.edges)).item() == pytest.approx(10, abs=0.01)


def test_a_target_beyond_the_range_counts_as_its_end() -> None:
    head, nothing = HLGauss(-1.0, 1.0, 21), torch.zeros(2, 21)
    lost = head.loss(nothing, torch.tensor([1.0, 30.0]), torch.zeros(2), nothing)
    assert lost.loss[0] == lost.loss[1]


def test_there_is_nothing_to_learn_where_the_outputs_are_what_is_target() -> None:
    target = torch.tensor([[0.25, 0.25, 0.5, 0.0]])
    outputs = target.clamp(min=1e-12).log()
    assert cross_entropy(outputs, target).td_errors.item() == pytest.approx(0, abs=1e-6)
    regression = make_value_head("regression", -1, 1, 51)
    same = regression.loss(torch.tensor([[0.5]]), torch.tensor([0.2]), torch.tensor([0.5]),
                           torch.tensor([[0.6]]))  # fmt: skip
    assert same.td_errors.item() == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("kind", ["c51", "hl_gauss"])
def test_a_range_without_values_is_refused_in_one_line(kind: str) -> None:
    for low, high, bins in ((1.0, 1.0, 51), (2.0, -2.0, 51), (-1.0, 1.0, 3)):
        with pytest.raises(UserError, match=f"{bins} bins from {low:g} to {high:g} hold no"):
            make_value_head(kind, low, high, bins)
