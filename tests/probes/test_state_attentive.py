"""The attentive read-out finds what stands in one token, wherever it stands."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from fovea.probes.linear import Fit, linear
from fovea.probes.state import r2
from fovea.probes.state_attentive import attentive, trained

PLACES, SAMPLES = 9, (800, 200, 400)


def marked(samples: int, seed: int) -> Fit:
    """Tokens (n, 9, 3): a value, whether it is the one that is asked for, and noise.

    Every token has a value between 0 and 99, and the one at a place that varies is asked for.
    """
    generator = torch.Generator().manual_seed(seed)
    values = torch.randint(0, 100, (samples, PLACES), generator=generator)
    place = torch.randint(0, PLACES, (samples,), generator=generator)
    marks = torch.nn.functional.one_hot(place, PLACES)
    noise = torch.randn(samples, PLACES, generator=generator)
    tokens = torch.stack([values / 30, marks * 3, noise], dim=2)
    return Fit(tokens, values.gather(1, place[:, None]))


@pytest.fixture(scope="module")
def splits() -> list[Fit]:
    return [marked(samples, seed) for seed, samples in enumerate(SAMPLES)]


def scored(test: Fit, predicted: Tensor) -> float:
    return r2(test.labels[:, 0], predicted[:, 0])


@pytest.mark.slow
def test_it_reads_the_token_that_is_marked_which_no_linear_read_out_can(splits: list[Fit]) -> None:
    training, validation, test = splits
    assert scored(test, attentive(training, validation, test.features)) > 0.9
    # The mean token has a ninth of the variable's variance, and all tokens know no more linearly.
    for pooled in (lambda tokens: tokens.mean(1), lambda tokens: tokens.flatten(1)):
        known, held_out, asked = (Fit(pooled(of.features), of.labels) for of in splits)
        assert scored(test, linear(known, held_out, asked.features)) < 0.25


@pytest.mark.slow
@pytest.mark.parametrize("norm", ["scaled", "mixed"])
def test_neither_scale_nor_correlation_of_numbers_hinders_it(splits: list[Fit], norm: str) -> None:
    mix = torch.diag(torch.tensor([1.0, 0.01, 10.0]))
    if norm == "mixed":
        mix = torch.tensor([[1.0, 0.9, 0.9], [0.9, 1.0, 0.9], [0.9, 0.9, 1.0]])
    training, validation, test = (Fit(of.features @ mix, of.labels) for of in splits)
    assert scored(test, attentive(training, validation, test.features)) > 0.9


@pytest.mark.slow
def test_a_seed_and_a_draw_give_the_same_numbers_again(splits: list[Fit]) -> None:
    few = [Fit(of.features[:100], of.labels[:100]) for of in splits]
    first = attentive(*few[:2], few[2].features, 1, seed=3)
    torch.rand(5)
    assert torch.equal(attentive(*few[:2], few[2].features, 1, seed=3), first)
    assert not torch.equal(attentive(*few[:2], few[2].features, 2, seed=3), first)
    assert not torch.equal(attentive(*few[:2], few[2].features, 1, seed=4), first)


@pytest.mark.slow
def test_a_label_that_never_varies_disturbs_no_other(splits: list[Fit]) -> None:
    constant = [
        Fit(of.features, torch.cat([of.labels, torch.full_like(of.labels, 7)], 1)) for of in splits
    ]
    predicted = attentive(*constant[:2], constant[2].features)
    assert scored(constant[2], predicted) > 0.9
    assert predicted[:, 1].sub(7).abs().max() < 1e-6


@pytest.mark.slow
def test_its_module_is_the_one_that_agents_learn(splits: list[Fit]) -> None:
    read_out = trained(*splits[:2], seed=0, draw=0)
    assert type(read_out).__name__ == "MultiQueryReadOut"
    assert (read_out.shape.queries, read_out.shape.outputs) == (8, 16)
