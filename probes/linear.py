"""Linear read-outs of fixed features, in the principal axes of their standardised numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from fovea.threads import one_thread

VALUES = 256  # of a byte
RIDGES = tuple(10 ** (power / 2) for power in range(-14, 5))  # beside a mean variance of 1
PENALTIES = (
    *RIDGES,
    *(10 ** (power / 2) for power in range(5, 11)),
)  # with few labels, larger ones
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
        products = x.T @ x / len(x)
        with one_thread():
            variances, directions = torch.linalg.eigh(products)
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
        products = (x @ x.T if few else x.T @ x) / len(x)
        with one_thread():
            variances, axes = torch.linalg.eigh(products)
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
    """Features (n, D) and the targets: (n, V) for `ridge` and `linear`, (n,) for `logistic`."""

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


@one_thread()
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
