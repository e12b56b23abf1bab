"""Heads add up as their papers say, and noise is the noise of every single weight."""

from __future__ import annotations

import torch

from fovea.agents.networks.heads import head
from fovea.agents.networks.noisy import NoisyLinear, noise


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_a_dueling_head_is_its_value_and_advantages_that_are_0_on_average() -> None:
    dueling, features = head(6, 8, actions=3, outputs=5, dueling=True), torch.randn(4, 6)
    outputs = dueling(features).unflatten(1, (3, 5))
    value, advantage = dueling.value(features), dueling.advantage(features).unflatten(1, (3, 5))
    torch.testing.assert_close(outputs.mean(dim=1), value)
    differences = outputs[:, 1:] - outputs[:, :1]
    torch.testing.assert_close(differences, advantage[:, 1:] - advantage[:, :1])


def test_a_plain_head_has_the_weights_of_two_layers() -> None:
    shapes = {name: tuple(w.shape) for name, w in head(6, 8, 3, 5).state_dict().items()}
    assert shapes == {"0.weight": (8, 6), "0.bias": (8,), "2.weight": (15, 8), "2.bias": (15,)}


def test_noise_is_that_of_every_weight_and_ends_with_its_block() -> None:
    layer, x = NoisyLinear(5, 4, sigma=0.5), torch.randn(3, 5, generator=generator())
    still = layer(x)
    assert torch.equal(still, torch.nn.functional.linear(x, layer.weight, layer.bias))
    with noise(layer, generator()):
        into, out_of = (drawn[0] for drawn in layer.drawn)
        weight = layer.weight + layer.weight_noise * torch.outer(out_of, into)
        bias = layer.bias + layer.bias_noise * out_of
        torch.testing.assert_close(layer(x), torch.nn.functional.linear(x, weight, bias))
        shaken = layer(x)
    assert torch.equal(layer(x), still)
    with noise(layer, generator()):
        assert torch.equal(layer(x), shaken)
    with noise(layer, generator(1)):
        assert not torch.equal(layer(x), shaken)


def test_every_row_can_have_noise_of_its_own() -> None:
    noisy, x = head(5, 8, actions=2, noisy=0.5), torch.ones(3, 5)
    with noise(noisy, generator()):
        torch.testing.assert_close(noisy(x), noisy(x[:1]).expand(3, 2))
    with noise(noisy, generator(), rows=3):
        assert len(noisy(x)[:, 0].unique()) == 3


def test_noise_is_of_unit_variance_and_its_size_is_learnt() -> None:
    layer = NoisyLinear(4, 3, sigma=0.5)
    torch.testing.assert_close(layer.weight_noise, torch.full((3, 4), 0.25))
    with noise(layer, generator(), rows=20_000):
        shaken = layer(torch.ones(20_000, 4)) - layer(torch.zeros(20_000, 4))
        spread = shaken.var(dim=0)
        layer(torch.ones(1, 4)).sum().backward()
    # The mean of |n| is sqrt(2 / pi), which is the variance of its signed root.
    wanted = torch.full((3,), 4 * 0.25**2 * 2 / torch.pi)
    torch.testing.assert_close(spread, wanted, rtol=0.1, atol=0)
    assert layer.weight_noise.grad.abs().min() > 0
