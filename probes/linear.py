"""Linear read-outs of fixed features: ridge regression, and softmax heads.

Both work in the principal axes of the standardised features. For the heads that is what makes
convergence affordable: the function class is the same, but of an untrained ViT's features (2,800
stacks each of Breakout, Freeway and Pong) heads stop at a mean F1 of 0.591 on the features as they
are, and at 0.678 on their principal axes at unit variance, sooner (15 epochs in the mean, 46 at
most, for 20). There F1 stays within 0.003 whether SETTLED is 0.01 or 0.0001.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

from fovea.seeding import Stream, keyed

VALUES = 256  # of a byte
RIDGES = tuple(10 ** (power / 2) for power in range(-14, 5))  # beside a mean variance of 1
PENALTIES = (
    *RIDGES,
    *(10 ** (power / 2) for power in range(5, 11)),
)  # with few labels, larger ones
SETTLED = 0.01  # nats; where classes are separable the loss falls for ever, the predictions settle
NEWTON = 50  # steps at most; some five are enough
FARTHEST = 5.0  # that one of them may move the log odds of a sample, or it might overshoot
FLOOR = 1e-4  # added to the variance of an axis before it is scaled to one


class Axes(NamedTuple):
    """Standardisation and principal axes of some training features."""

    mean: Tensor
    scale: Tensor
    directions: Tensor
    """(D, D) float64, a column an axis; or fewer axes."""
    variances: Tensor
    """(D,) float64, or fewer, of the standardised features along the axes."""

    @staticmethod
    def of(features: Tensor) -> Axes:
        """Of training features (n, D). A feature that does not vary stays zero."""
        x = features.double()
        mean, scale = x.mean(0), x.std(0, unbiased=False)
        scale = torch.where(scale > 1e-9, scale, torch.inf)
        x = (x - mean) / scale
        variances, directions = torch.linalg.eigh(x.T @ x / len(x))
        return Axes(mean, scale, directions, variances.clamp(min=0))

    @staticmethod
    def plain(features: Tensor) -> Axes:
        """The same, but of features that keep their sizes beside each other, and what varies alone.

        One scale for all makes their mean variance 1. Where there are fewer samples than
        features, axes are found through the (n, n) products of samples.
        """
        x = features.double()
        mean = x.mean(0)
        x = x - mean
        scale = x.square().mean().sqrt()
        scale = torch.where(scale > 1e-9, scale, torch.inf)
        x = x / scale
        few = len(x) < x.shape[1]
        variances, axes = torch.linalg.eigh((x @ x.T if few else x.T @ x) / len(x))
        varies = variances > 1e-10 * variances[-1:]
        variances, axes = variances[varies], axes[:, varies]
        directions = x.T @ axes / (len(x) * variances).sqrt() if few else axes
        return Axes(mean, scale.expand_as(mean), directions, variances)

    def project(self, features: Tensor) -> Tensor:
        """(n, D) float64, uncorrelated on the training features, with `variances`."""
        return (features.double() - self.mean) / self.scale @ self.directions

    def whiten(self, features: Tensor) -> Tensor:
        """(n, D) float32 of about unit variance; axes of less than FLOOR stay small."""
        return (self.project(features) / (self.variances + FLOOR).sqrt()).float()


class Fit(NamedTuple):
    """Features (n, D) and the targets: bytes (n, V), or (n,) of one variable."""

    features: Tensor
    labels: Tensor


def ridge(
    axes: Axes,
    training: Fit,
    validation: Fit,
    features: Tensor,
    penalties: Sequence[float] = RIDGES,
) -> Tensor:
    """(n, V) float64: predictions for `features` of V ridge regressions with an intercept.

    Each variable has the one of `penalties` that has the least squared error on validation.
    """
    mean = training.labels.double().mean(0)
    moments = axes.project(training.features).T @ (training.labels - mean) / len(training.features)
    added = torch.tensor(penalties, dtype=torch.float64, device=mean.device)
    weights = moments / (axes.variances[:, None] + added[:, None, None])  # (penalties, D, V)
    errors = axes.project(validation.features) @ weights + mean - validation.labels
    best = errors.square().sum(1).argmin(0)
    chosen = weights[best, :, torch.arange(len(best), device=best.device)].T
    return axes.project(features) @ chosen + mean


def linear(training: Fit, validation: Fit, features: Tensor, _draw: int = 0) -> Tensor:
    """(n, V) float64: predictions of ridge regressions on features that keep their sizes.

    As `ridge`, in the axes of the training samples, however few they are, with PENALTIES.
    """
    axes = Axes.plain(training.features)
    return ridge(axes, training, validation, features, PENALTIES)


def logistic(
    axes: Axes,
    training: Fit,
    validation: Fit,
    features: Tensor,
    penalties: Sequence[float] = (1.0, 0.1, 0.01, 0.001),
) -> Tensor:
    """(n,) float64: log odds for `features` of a logistic regression with an intercept.

    Its labels (n,) are bool. Newton's steps to the optimum, with the one of the penalties on
    squared weights, of axes at unit variance, that has the least loss on validation.
    """

    def whitened(features: Tensor) -> Tensor:
        z = axes.whiten(features).double()
        return torch.cat([z, torch.ones_like(z[:, :1])], dim=1)

    x, held_out, asked = map(whitened, (training.features, validation.features, features))
    y, held_out_y = training.labels.double(), validation.labels.double()
    share = y.mean().clamp(1e-6, 1 - 1e-6)
    weights = torch.zeros_like(x[0])
    weights[-1] = (share / (1 - share)).log()
    kept, lowest = weights, math.inf
    for penalty in penalties:
        added = torch.full_like(weights, penalty)
        added[-1] = 1e-9  # the intercept is free
        for _ in range(NEWTON):
            odds = x @ weights
            p = odds.sigmoid()
            slope = x.T @ (p - y) / len(y) + added * weights
            curvature = (x * (p * (1 - p))[:, None]).T @ x / len(y) + added.diag()
            step = torch.linalg.solve(curvature, slope)
            weights = weights - step / max(1.0, float((x @ step).abs().max()) / FARTHEST)
            if float(slope.abs().max()) < 1e-8:
                break
        loss = float(binary_cross_entropy_with_logits(held_out @ weights, held_out_y))
        if loss < lowest:
            kept, lowest = weights, loss
    return asked @ kept


class Head(NamedTuple):
    """A softmax over the bytes `values` (C,), the logits linear in whitened features."""

    values: Tensor
    weight: Tensor
    """(D, C) float32."""
    bias: Tensor
    epochs: int
    """Passes over the training samples that these weights have behind them."""

    def predict(self, whitened: Tensor) -> Tensor:
        """(n,) int64: the likeliest byte for each of (n, D)."""
        return self.values[torch.addmm(self.bias, whitened, self.weight).argmax(1)]

    def loss(self, of: Fit) -> float:
        """Mean cross-entropy; labels that are not among the values count as 0."""
        target = torch.searchsorted(self.values, of.labels).clamp(max=len(self.values) - 1)
        target = torch.where(self.values[target] == of.labels, target, -1)
        logits = torch.addmm(self.bias, of.features, self.weight)
        summed = cross_entropy(logits, target, ignore_index=-1, reduction="sum")
        return float(summed) / len(target)


@contextmanager
def one_thread() -> Iterator[None]:
    """On the CPU, torch works in one thread inside the block.

    A step of a head is too small to share: beside another busy process two threads on two cores
    wait spinning for each other, and 23 heads took over a minute where one thread took 10 s.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@one_thread()
def softmax_head(
    training: Fit,
    validation: Fit,
    *,
    patience: int = 10,
    rate: float = 1e-2,
    batch: int = 256,
    seed: int = 0,
) -> Head:
    """A 256-way linear softmax (AtariARI; Anand et al. 2019) of one variable, to convergence.

    It has logits for the bytes of its training labels alone: others never win, so a held-out byte
    that training never showed counts as wrong, and leaves the loss alone. Adam, until the
    validation loss has not fallen by SETTLED for `patience` epochs; the weights from before that
    are kept.

    Args:
        training, validation: whitened features float32, and labels (n,) int64.
    """
    x, labels = training
    values = labels.unique()
    target = torch.searchsorted(values, labels)
    weight, bias = x.new_zeros(x.shape[1], len(values)), x.new_zeros(len(values))
    adam = torch.optim.Adam([weight, bias], lr=rate, betas=(0.9, 0.99), fused=True)
    generator = keyed("cpu", Stream.PROBE_BATCHES, seed)
    kept, lowest, epoch = None, math.inf, 0
    while kept is None or epoch - kept.epochs < patience:
        for some in torch.randperm(len(x), generator=generator).to(x.device).split(batch):
            batch_x = x[some]
            residual = torch.addmm(bias, batch_x, weight).softmax(
                1
            )  # minus the target: the gradient
            residual[torch.arange(len(some), device=x.device), target[some]] -= 1
            weight.grad, bias.grad = batch_x.T @ residual / len(some), residual.mean(0)
            adam.step()
        epoch += 1
        loss = Head(values, weight, bias, epoch).loss(validation)
        if loss < lowest - SETTLED:
            lowest, kept = loss, Head(values, weight.clone(), bias.clone(), epoch)
    return kept
