"""A mean over some of the values."""

from __future__ import annotations

from torch import Tensor


def weighted_mean(values: Tensor, weight: Tensor | None) -> Tensor:
    """The mean of values, of any shape, where a weight of that shape is 1; 0 where it is nowhere.

    Without a weight it is the mean of all.
    """
    if weight is None:
        return values.mean()
    return (values * weight).sum() / weight.sum().clamp(min=1)
