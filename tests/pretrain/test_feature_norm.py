"""Features are brought to a scale that heads can learn from."""

from __future__ import annotations

import math

import pytest
import torch

from fovea.pretrain.encoders.feature_norm import FeatureNorm, whitening


def correlated(count: int, places: int = 5, dim: int = 6) -> torch.Tensor:
    """(count, places, dim) tokens whose numbers are correlated and whose places differ."""
    generator = torch.Generator().manual_seed(0)
    mix = torch.randn(dim, dim, generator=generator)
    drawn = torch.randn(count, places, dim, generator=generator)
    return drawn @ mix + 10 * torch.randn(places, dim, generator=generator)


def test_none_leaves_features_as_they_are_whatever_it_is_fitted_to() -> None:
    norm, features = FeatureNorm("none", torch.Size([5, 6]), 6), correlated(50)
    norm.fit(features)
    assert torch.equal(norm(features), features)
    assert norm.screens == 0


def test_standard_by_hand() -> None:
    norm = FeatureNorm("standard", torch.Size([2]), 2)
    norm.fit(torch.tensor([[1.0, 4.0], [3.0, 4.0]]))  # std sqrt 2 and 0: the mean is sqrt 2 / 2
    shown = norm(torch.tensor([[3.0, 5.0]]))
    least = 0.1 * math.sqrt(2) / 2  # what does not vary is divided by a tenth of the mean
    torch.testing.assert_close(shown, torch.tensor([[1 / math.sqrt(2), 1 / least]]))


def test_whitening_by_hand() -> None:
    # Along (1, 1) the variance is 4, along (1, -1) it is 1.
    x = torch.tensor([[2.0, 2.0], [-2.0, -2.0], [1.0, -1.0], [-1.0, 1.0]])
    axes = whitening(x)
    along = torch.tensor([[1.0, 1.0], [1.0, -1.0]]) / math.sqrt(2)
    variances = ((x @ along.T) ** 2).mean(dim=0)
    assert variances.tolist() == pytest.approx([4.0, 1.0])
    # The smaller axis first, each divided by its standard deviation; signs are free.
    expected = torch.stack([along[1] / 1.0, along[0] / 2.0], dim=1)
    torch.testing.assert_close(axes.abs(), expected.abs())
    torch.testing.assert_close((x @ axes).T @ (x @ axes) / 4, torch.eye(2))


def test_what_hardly_varies_is_not_blown_up() -> None:
    x = torch.zeros(2000, 4)
    generator = torch.Generator().manual_seed(0)
    x[:, 0] = torch.randn(2000, generator=generator)
    x[:, 1] = 1e-6 * torch.randn(2000, generator=generator)
    white = x @ whitening(x)
    variances = white.square().mean(dim=0).sort().values
    # The mean variance is a quarter of the first; a thousandth of it is the floor.
    assert variances[-1] == pytest.approx(1.0, abs=1e-3)
    assert variances[-2] == pytest.approx(1e-12 / (1e-3 * 0.25), rel=0.2)
    assert not variances[:2].any()


@pytest.mark.parametrize("flat", [False, True])
def test_whitened_tokens_have_no_correlation_on_what_they_were_fitted_to(flat: bool) -> None:
    features = correlated(400)
    given = features.flatten(1) if flat else features
    norm = FeatureNorm("whiten", given.shape[1:], 6)
    norm.fit(given)
    white = norm(given)
    assert white.shape == given.shape
    white = white.reshape(400, 5, 6)
    torch.testing.assert_close(white.mean(dim=0), torch.zeros(5, 6), rtol=0, atol=1e-4)
    pooled = white.flatten(0, 1)
    torch.testing.assert_close(pooled.T @ pooled / len(pooled), torch.eye(6), rtol=0, atol=1e-3)
    assert norm.screens == 400


def test_whitened_vectors_have_no_correlation_either() -> None:
    features = correlated(400)[:, 0]
    norm = FeatureNorm("whiten", features.shape[1:], 6)
    norm.fit(features)
    white = norm(features)
    torch.testing.assert_close(white.T @ white / 400, torch.eye(6), rtol=0, atol=1e-3)


def test_a_fitted_norm_is_restored_from_its_state() -> None:
    norm, features = FeatureNorm("whiten", torch.Size([5, 6]), 6), correlated(50)
    norm.fit(features)
    again = FeatureNorm("whiten", torch.Size([5, 6]), 6)
    again.load_state_dict(norm.state_dict())
    assert torch.equal(again(features), norm(features))
