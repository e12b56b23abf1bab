"""Softmax heads: linear classifiers of bytes and actions, trained side by side to convergence.

They work in the principal axes of the standardised features, at unit variance: the function class
is the same, and heads converge sooner and further there. `python -m benchmarks.state` has what they
come to beside scikit-learn's logistic regression.
"""

from __future__ import annotations

import math
from contextlib import nullcontext
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from fovea.probes.linear import Fit
from fovea.seeding import Stream, keyed
from fovea.threads import one_thread

SETTLED = 0.01  # nats; where classes are separable the loss falls for ever, the predictions settle
RATE = 3e-3  # of Adam; with 1e-2 heads of 30,000 samples pass their optimum in the first epoch
SHARED = 200_000  # weights of all heads, above which a step is shared among threads


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


def softmax_head(
    training: Fit,
    validation: Fit,
    *,
    patience: int = 10,
    rate: float = RATE,
    batch: int = 256,
    seed: int = 0,
) -> Head:
    """As `softmax_heads`, of one variable, whose labels are (n,)."""
    fits = (Fit(x, labels[:, None]) for x, labels in (training, validation))
    return softmax_heads(*fits, patience=patience, rate=rate, batch=batch, seed=seed)[0]


def softmax_heads(
    training: Fit,
    validation: Fit,
    *,
    patience: int = 10,
    rate: float = RATE,
    batch: int = 256,
    seed: int = 0,
) -> list[Head]:
    """A 256-way linear softmax (AtariARI; Anand et al. 2019) of each variable, to convergence.

    A head has logits for the bytes of its training labels alone: others never win, so a held-out
    byte that training never showed counts as wrong, and leaves the loss alone. Adam, until its
    validation loss has not fallen by SETTLED for `patience` epochs; the weights from before that
    are kept. All heads learn from the same batches, side by side, and each as it would alone: what
    has settled leaves the others.

    Args:
        training, validation: whitened features float32, and labels (n, V) int64.
    """
    x, labels = training
    every = [
        Learning.of(of, Fit(validation.features, held_out))
        for of, held_out in zip(labels.T, validation.labels.T.contiguous(), strict=True)
    ]
    going, width = every, sum(len(one.values) for one in every)
    weight, bias = x.new_zeros(x.shape[1], width), x.new_zeros(width)
    adam = _adam(weight, bias, rate)
    generator = keyed("cpu", Stream.PROBE_BATCHES, seed)
    epoch = 0
    # A step that is too small to share is slower in two threads than in one.
    with one_thread() if x.shape[1] * width < SHARED else nullcontext():
        while going:
            sizes = [len(one.values) for one in going]
            begins = torch.tensor([0, *sizes[:-1]], device=x.device).cumsum(0)
            targets = torch.stack([one.target for one in going], dim=1) + begins
            for some in torch.randperm(len(x), generator=generator).to(x.device).split(batch):
                batch_x, hits = x[some], targets[some]
                logits = torch.addmm(bias, batch_x, weight)
                residual = torch.cat([of.softmax(1) for of in logits.split(sizes, dim=1)], dim=1)
                residual.scatter_add_(1, hits, x.new_tensor(-1.0).expand_as(hits))  # the gradient
                weight.grad, bias.grad = batch_x.T @ residual / len(some), residual.mean(0)
                adam.step()
            epoch += 1
            parts = zip(going, weight.split(sizes, 1), bias.split(sizes), strict=True)
            for one, own_weight, own_bias in parts:
                one.look(own_weight, own_bias, epoch)
            stays = [not one.settled(epoch, patience) for one in going]
            going = [one for one, stay in zip(going, stays, strict=True) if stay]
            if going and not all(stays):
                columns = torch.tensor(stays).repeat_interleave(torch.tensor(sizes)).to(x.device)
                weight, bias, adam = _of_columns(columns, weight, bias, adam, rate)
    return [one.head for one in every if one.head]


@dataclass
class Learning:
    """How far the head of a variable is."""

    values: Tensor
    """(C,) the bytes of its training labels."""
    target: Tensor
    """(n,) the places of the training labels among these."""
    held_out: Fit
    lowest: float = math.inf
    head: Head | None = None
    """The one with the lowest loss."""

    @staticmethod
    def of(labels: Tensor, held_out: Fit) -> Learning:
        values, target = labels.unique(return_inverse=True)
        return Learning(values, target, held_out)

    def look(self, weight: Tensor, bias: Tensor, epoch: int) -> None:
        """Keep these weights where they are better than those that were kept."""
        head = Head(self.values, weight, bias, epoch)
        loss = head.loss(self.held_out)
        if self.head is None or loss < self.lowest - SETTLED:
            self.lowest, self.head = loss, head._replace(weight=weight.clone(), bias=bias.clone())

    def settled(self, epoch: int, patience: int) -> bool:
        """Whether it has been kept for so many epochs."""
        return self.head is not None and epoch - self.head.epochs >= patience


def _adam(weight: Tensor, bias: Tensor, rate: float) -> torch.optim.Adam:
    return torch.optim.Adam([weight, bias], lr=rate, betas=(0.9, 0.99), fused=True)


def _of_columns(
    columns: Tensor, weight: Tensor, bias: Tensor, adam: torch.optim.Adam, rate: float
) -> tuple[Tensor, Tensor, torch.optim.Adam]:
    """Some columns alone, with what Adam knows of them."""
    fewer = weight[:, columns].contiguous(), bias[columns].contiguous()
    after = _adam(*fewer, rate)
    for old, new in zip((weight, bias), fewer, strict=True):
        state = adam.state[old]
        after.state[new] = {
            "step": state["step"],
            **{k: state[k][..., columns].contiguous() for k in ("exp_avg", "exp_avg_sq")},
        }
    return *fewer, after
