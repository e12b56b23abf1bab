"""The read-outs are what they say: a ridge in closed form, and a softmax that has converged."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fovea.probes import softmax
from fovea.probes.linear import Axes, Fit, ridge
from fovea.probes.softmax import softmax_head, softmax_heads


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_axes_are_uncorrelated_and_of_unit_variance() -> None:
    x = normal(500, 6) @ normal(6, 6, seed=1) + 3
    axes = Axes.of(x)
    covariance = torch.cov(axes.project(x).T, correction=0)
    torch.testing.assert_close(covariance, axes.variances.diag(), atol=1e-10, rtol=0)
    assert float(axes.variances.mean()) == pytest.approx(1)
    torch.testing.assert_close(
        axes.whiten(x).std(0, unbiased=False), torch.ones(6), atol=0.05, rtol=0
    )


def test_a_feature_that_never_varies_says_nothing() -> None:
    x = torch.cat([normal(50, 3), torch.full((50, 1), 7.0)], dim=1)
    other = x.clone()
    other[:, 3] = -1e6
    axes = Axes.of(x)
    assert torch.equal(axes.whiten(x), axes.whiten(other))


@pytest.mark.parametrize("penalty", [1e-7, 0.1])
def test_ridge_is_the_closed_form(penalty: float) -> None:
    x, new = normal(80, 5), normal(30, 5, seed=2)
    y = torch.randint(0, 256, (80, 3), generator=torch.Generator().manual_seed(3))
    said = ridge(Axes.of(x), Fit(x, y), Fit(x, y), new, [penalty])
    scaled = (x - x.mean(0)).double() / x.double().std(0, unbiased=False)
    asked = (new - x.mean(0)).double() / x.double().std(0, unbiased=False)
    # Least squares with rows sqrt(n penalty) I below, which penalise the weights alone.
    rows = np.vstack([scaled, np.sqrt(80 * penalty) * np.eye(5)])
    values = np.vstack([y.double() - y.double().mean(0), np.zeros((5, 3))])
    weights = np.linalg.lstsq(rows, values, rcond=None)[0]
    expected = asked.numpy() @ weights + y.double().mean(0).numpy()
    np.testing.assert_allclose(said.numpy(), expected, rtol=1e-5)


def test_each_variable_has_the_penalty_that_validation_likes_best() -> None:
    x, held_out, new = normal(40, 30), normal(200, 30, seed=1), normal(50, 30, seed=2)
    weights = normal(30, seed=3).double()
    clear = (
        Fit(x, (x.double() @ weights)[:, None]),
        Fit(held_out, (held_out.double() @ weights)[:, None]),
    )
    noise = [fit._replace(labels=normal(len(fit.labels), 1, seed=4).double()) for fit in clear]
    both = [
        Fit(c.features, torch.cat([c.labels, n.labels], 1))
        for c, n in zip(clear, noise, strict=True)
    ]
    said = ridge(Axes.of(x), *both, new)
    torch.testing.assert_close(said[:, 0], new.double() @ weights, atol=1e-2, rtol=0)
    assert float(said[:, 1].std()) < 0.1  # the mean alone, from the largest penalty
    for column, of_it in enumerate((clear, noise)):
        alone = ridge(Axes.of(x), *of_it, new)[:, 0]
        torch.testing.assert_close(said[:, column], alone)


def separable(count: int, seed: int) -> Fit:
    """Five clusters on a circle, named by the bytes 3, 50, 77, 200 and 255."""
    generator = torch.Generator().manual_seed(seed)
    cluster = torch.randint(0, 5, (count,), generator=generator)
    angle = cluster * (2 * torch.pi / 5)
    noise = 0.1 * torch.randn(count, 2, generator=generator)
    points = torch.stack([angle.cos(), angle.sin()], dim=1) + noise
    return Fit(points, torch.tensor([3, 50, 77, 200, 255])[cluster])


@pytest.mark.slow
def test_a_separable_problem_is_solved() -> None:
    head = softmax_head(separable(300, 0), separable(50, 1))
    test = separable(500, 2)
    assert torch.equal(head.predict(test.features), test.labels)
    assert head.values.tolist() == [3, 50, 77, 200, 255]


def test_a_head_says_only_what_training_showed() -> None:
    training, validation = separable(300, 0), separable(50, 1)
    known = training.labels != 77
    head = softmax_head(Fit(training.features[known], training.labels[known]), validation)
    assert 77 not in head.predict(validation.features)


def test_the_gradient_is_that_of_the_cross_entropy(monkeypatch: pytest.MonkeyPatch) -> None:
    first = []

    def step(adam: torch.optim.Adam) -> None:
        first.append([p.grad.clone() for group in adam.param_groups for p in group["params"]])

    monkeypatch.setattr(torch.optim.Adam, "step", step)
    x, labels = separable(40, 0)
    softmax_head(Fit(x, labels), separable(10, 1), patience=1, batch=40)
    weight, bias = torch.zeros(2, 5, requires_grad=True), torch.zeros(5, requires_grad=True)
    target = torch.searchsorted(labels.unique(), labels)
    torch.nn.functional.cross_entropy(x @ weight + bias, target).backward()
    torch.testing.assert_close(first[0], [weight.grad, bias.grad])


def test_training_ends_patience_epochs_after_the_loss_has_settled(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Labels that the features do not tell: the longer it trains, the more it knows by heart.
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(60, 20, generator=generator)
    labels = torch.randint(0, 3, (60,), generator=generator)
    held_out = Fit(torch.randn(40, 20, generator=generator), labels[:40])
    losses = []
    loss = softmax.Head.loss
    monkeypatch.setattr(
        softmax.Head, "loss", lambda head, of: losses.append(loss(head, of)) or losses[-1]
    )
    head = softmax_head(Fit(x, labels), held_out, patience=4)
    assert loss(head, held_out) == losses[head.epochs - 1]
    assert len(losses) == head.epochs + 4
    assert min(losses) > losses[head.epochs - 1] - softmax.SETTLED


def test_the_loss_of_a_byte_that_training_never_showed_is_left_out() -> None:
    head = softmax.Head(torch.tensor([3, 9]), torch.zeros(1, 2), torch.tensor([1.0, 0.0]), 1)
    of = Fit(torch.zeros(4, 1), torch.tensor([3, 9, 5, 200]))
    # -log softmax of (1, 0) at either: log(1 + e) - 1 and log(1 + e).
    assert head.loss(of) == pytest.approx((2 * np.log(1 + np.e) - 1) / 4)
    softmax_head(separable(50, 0), Fit(separable(5, 1).features, torch.full((5,), 8)))  # ends


@pytest.mark.slow
def test_the_same_seed_gives_the_same_head() -> None:
    one, other = (softmax_head(separable(300, 0), separable(50, 1), seed=4) for _ in range(2))
    assert torch.equal(one.weight, other.weight)


@pytest.mark.slow
def test_heads_that_are_trained_together_are_those_that_are_trained_alone() -> None:
    """They settle after different numbers of epochs, and have other numbers of classes."""
    x, held_out = normal(300, 5), normal(60, 5, seed=1)

    def labels(of: torch.Tensor) -> torch.Tensor:
        noise = normal(len(of), seed=len(of))
        return torch.stack(
            [(of[:, 0] > 0) * 7, (of[:, 1] * 3 + noise).round() + 100, (noise * 9).round() + 50], 1
        ).long()

    training, validation = Fit(x, labels(x)), Fit(held_out, labels(held_out))
    together = softmax_heads(training, validation, patience=3, batch=64)
    assert len({head.epochs for head in together}) > 1
    for v, head in enumerate(together):
        fits = (Fit(of.features, of.labels[:, v]) for of in (training, validation))
        alone = softmax_head(*fits, patience=3, batch=64)
        assert head.epochs == alone.epochs
        assert torch.equal(head.values, alone.values)
        torch.testing.assert_close(head.weight, alone.weight, atol=1e-4, rtol=1e-3)
