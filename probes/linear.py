"""Linear read-outs of fixed features, many at once: ridge regression and softmax heads.

Both work in the principal axes of the standardised features. For the heads that is what makes
convergence affordable: the function class is the same, but of a random ViT's features (Pong, 6,000
stacks) 60 epochs of Adam give a mean F1 of 0.68 to 0.73 by learning rate on the features as they
are, and 0.787 on their principal axes at unit variance.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

VALUES = 256  # of a byte
RIDGES = tuple(
    10.0 ** (power / 2) for power in range(-14, 5)
)  # times the mean variance, which is 1
FLOOR = 1e-4  # added to the variance of an axis before it is scaled to one


class Axes(NamedTuple):
    """Standardisation and principal axes of some training features."""

    mean: Tensor
    scale: Tensor
    directions: Tensor
    """(D, D) float64, a column an axis."""
    variances: Tensor
    """(D,) float64, of the standardised features along the axes."""

    @staticmethod
    def of(features: Tensor) -> Axes:
        """Of training features (n, D). A feature that does not vary stays zero."""
        x = features.double()
        mean, scale = x.mean(0), x.std(0, unbiased=False)
        scale = torch.where(scale > 1e-9, scale, torch.inf)
        x = (x - mean) / scale
        variances, directions = torch.linalg.eigh(x.T @ x / len(x))
        return Axes(mean, scale, directions, variances.clamp(min=0))

    def project(self, features: Tensor) -> Tensor:
        """(n, D) float64, uncorrelated on the training features, with `variances`."""
        return (features.double() - self.mean) / self.scale @ self.directions

    def whiten(self, features: Tensor) -> Tensor:
        """(n, D) float32 of about unit variance; axes of less than FLOOR stay small."""
        return (self.project(features) / (self.variances + FLOOR).sqrt()).float()


class Fit(NamedTuple):
    """Features (n, D), and V labels of each: bytes (n, V) int64."""

    features: Tensor
    labels: Tensor


def ridge(axes: Axes, training: Fit, validation: Fit, features: Tensor) -> Tensor:
    """(n, V) float64: predictions for `features` of V ridge regressions with an intercept.

    Each variable has the penalty of RIDGES that has the least squared error on validation.
    """
    mean = training.labels.double().mean(0)
    moments = axes.project(training.features).T @ (training.labels - mean) / len(training.features)
    penalties = torch.tensor(RIDGES, dtype=torch.float64, device=mean.device)
    weights = moments / (axes.variances[:, None] + penalties[:, None, None])  # (ridges, D, V)
    errors = axes.project(validation.features) @ weights + mean - validation.labels
    best = errors.square().sum(1).argmin(0)
    chosen = weights[best, :, torch.arange(len(best), device=best.device)].T
    return axes.project(features) @ chosen + mean


class Heads(NamedTuple):
    """One softmax over the seen values for each of V variables; `classes[v]` are those values."""

    classes: list[Tensor]
    weight: Tensor
    """(D, sum of the classes) float32, for whitened features."""
    bias: Tensor
    epoch: Tensor
    """(V,) the epoch whose weights were kept."""

    def predict(self, whitened: Tensor) -> Tensor:
        """(n, V) int64: the likeliest byte."""
        logits = torch.addmm(self.bias, whitened, self.weight).split(self.sizes, dim=1)
        likeliest = [c[l.argmax(1)] for c, l in zip(self.classes, logits, strict=True)]
        return torch.stack(likeliest, dim=1)

    @property
    def sizes(self) -> list[int]:
        return [len(values) for values in self.classes]


def softmax_heads(
    training: Fit, validation: Fit, *, epochs: int = 40, rate: float = 1e-2, seed: int = 0
) -> Heads:
    """256-way linear softmax heads (AtariARI; Anand et al. 2019), all variables at once.

    A head has logits for the bytes that occur in its training labels alone: others never win, so
    a held-out byte that training never showed counts as wrong. Adam with a rate that falls to zero
    along a cosine; each head ends with the weights of the epoch that was most accurate on
    validation. Its convergence is measured by `python -m probes.convergence`.

    Args:
        training, validation: whitened features float32 and labels.
    """
    x, labels = training
    samples, width = x.shape
    classes = [column.unique() for column in labels.T]
    targets = torch.stack(
        [torch.searchsorted(c, column) for c, column in zip(classes, labels.T, strict=True)]
    )
    sizes = [len(values) for values in classes]
    variable = torch.repeat_interleave(torch.tensor(sizes)).to(x.device)  # of each logit
    weight, bias = x.new_zeros(width, len(variable)), x.new_zeros(len(variable))
    kept = Heads(classes, weight.clone(), bias.clone(), labels.new_full((len(classes),), -1))
    most = x.new_full((len(classes),), -1.0)
    adam = torch.optim.Adam([weight, bias], betas=(0.9, 0.99))
    batch = min(512, max(1, samples // 12))
    total = epochs * math.ceil(samples / batch)
    generator = torch.Generator().manual_seed(seed)
    step = 0
    for epoch in range(epochs):
        for some in torch.randperm(samples, generator=generator).to(x.device).split(batch):
            logits = torch.addmm(bias, x[some], weight)
            residual = _residual(logits, targets[:, some], sizes)
            weight.grad, bias.grad = x[some].T @ residual, residual.sum(0)
            adam.param_groups[0]["lr"] = rate * (1 + math.cos(math.pi * step / total)) / 2
            adam.step()
            step += 1
        now = Heads(classes, weight, bias, kept.epoch)
        accuracy = (now.predict(validation.features) == validation.labels).float().mean(0)
        better = accuracy > most
        most[better], kept.epoch[better] = accuracy[better], epoch
        columns = better[variable]
        kept.weight[:, columns], kept.bias[columns] = weight[:, columns], bias[columns]
    return kept


def _residual(logits: Tensor, targets: Tensor, sizes: list[int]) -> Tensor:
    """Gradient of the mean cross-entropy by the logits (B, sum of sizes); they are overwritten."""
    for some, target in zip(logits.split(sizes, dim=1), targets, strict=True):
        some.copy_(some.softmax(1))
        some[torch.arange(len(some), device=some.device), target] -= 1
    return logits.div_(len(logits))
