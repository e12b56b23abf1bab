"""Centred kernel alignment: how alike two encoders order the same screens."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike


def gram(features: ArrayLike) -> np.ndarray:
    """(n, n) float64 U-centred products of features (n, D) (Székely and Rizzo 2014).

    Its diagonal is zero, and so are the sums of its rows: what a sample has in common with itself
    says nothing of how samples lie to each other, and would make any two wide features alike.
    """
    x = np.asarray(features, dtype=np.float64)
    x = x - x.mean(0)
    products = x @ x.T
    np.fill_diagonal(products, 0)
    count = len(x)
    means = products.sum(0) / (count - 2)
    centred = products - means - means[:, None] + means.sum() / (count - 1)
    np.fill_diagonal(centred, 0)
    return centred


def cka(a: np.ndarray, b: np.ndarray) -> float:
    """Debiased linear CKA of two `gram` matrices of the same samples, at most 1.

    Kornblith et al. 2019 (arXiv 1905.00414) with the unbiased estimator of HSIC (Song et al. 2012),
    as Nguyen et al. 2021 (arXiv 2010.15327) have it: about 0 for unrelated features, however wide;
    it can be slightly below. NaN where one of them does not vary.
    """
    own, other = (a * a).sum(), (b * b).sum()
    return float((a * b).sum() / np.sqrt(own * other)) if own > 0 and other > 0 else float("nan")
