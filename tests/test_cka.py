"""Debiased linear CKA, against its definition and what it has to be blind to."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest

from fovea.cka import cka, gram


def hsic(x: np.ndarray, y: np.ndarray) -> float:
    """The unbiased estimator by its definition, a mean over all ordered choices of 4 samples."""
    k, m = x @ x.T, y @ y.T
    terms = [
        k[a, b] * (m[a, b] + m[c, d] - 2 * m[a, c]) for a, b, c, d in permutations(range(len(x)), 4)
    ]
    return float(np.mean(terms))


def test_it_is_the_quotient_of_unbiased_hsics() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(7, 3)), rng.normal(size=(7, 2))
    y[:, 0] += x[:, 0]
    expected = hsic(x, y) / np.sqrt(hsic(x, x) * hsic(y, y))
    assert cka(gram(x), gram(y)) == pytest.approx(expected)


def test_rotation_scale_and_mean_change_nothing_and_width_does_not_make_alike() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(50, 200))
    turned = x @ np.linalg.qr(rng.normal(size=(200, 200))).Q * 7 + 3
    assert cka(gram(x), gram(turned)) == pytest.approx(1)
    # Without the correction two wide features of noise have 0.8.
    assert abs(cka(gram(x), gram(rng.normal(size=(50, 200))))) < 0.1
    assert np.isnan(cka(gram(x), gram(np.ones((50, 3)))))
