"""Measures of how features (n, D) spread: of their spectrum, and of their directions.

Computed in float64. Those of a spectrum say in how many directions features vary, those of
directions how they lie on the unit sphere.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import normalize

from fovea.threads import one_thread

COMPARED = 2048  # features at most, of which all pairs are looked at
FIRST = 10  # eigenvalue at which the slope of alpha-ReQ begins
LEAST = 5  # eigenvalues for a slope


def rankme(z: Tensor, eps: float = 1e-7) -> float:
    """Effective rank of the features (n, D), not centred (Garrido et al. 2023, equation 1)."""
    with one_thread():
        singular = torch.linalg.svdvals(z.double())
    share = singular / singular.sum() + eps
    return float(torch.exp(-(share * share.log()).sum()))


def lidar(z: Tensor, views: int, delta: float = 1e-4, eps: float = 1e-8) -> float:
    """Effective rank of what sets groups of features apart (Thilak et al. 2024, arXiv 2312.04000).

    Of the covariance of the groups' means, whitened by that inside the groups plus `delta`. Where
    all features are one it is 1, and not what `eps`, by which all directions count, would make it.

    Args:
        z: (n * views, D); each `views` rows in turn are one moment, seen several times.
    """
    groups = z.double().unflatten(0, (-1, views))
    means = groups.mean(1)
    if constant(means):
        return 1.0
    inside = (groups - means[:, None]).flatten(0, 1)
    within = inside.T @ inside / (len(means) * (views - 1))
    with one_thread():
        values, axes = torch.linalg.eigh(within)
        whiten = axes / (values + delta).sqrt()
        spectrum = torch.linalg.eigvalsh(whiten.T @ means.T.cov() @ whiten).clamp(min=0) + eps
    share = spectrum / spectrum.sum()
    return float(torch.exp(-(share * share.log()).sum()))


def constant(z: Tensor) -> bool:
    """Whether features (n, D) differ by less than single precision tells of numbers so large."""
    z = z.double()
    return bool((z - z.mean(0)).norm() <= 1e-6 * z.norm())


def effective_rank(z: Tensor) -> float:
    """exp of the entropy of the singular values' shares (Roy and Vetterli 2007), at most D.

    NaN where all features are zero.
    """
    with one_thread():
        singular = torch.linalg.svdvals(z.double())
    share = singular / singular.sum()
    return float(torch.special.entr(share).sum().exp())


def alpha_req(z: Tensor) -> float:
    """How fast the eigenvalues of the covariance fall: i ** -alpha (Agrawal et al. 2022, α-ReQ).

    The slope of their logarithms, by least squares, from number FIRST (a tenth of D where that is
    less) to number D / 2. About 1 is what they find good; far above 1 few directions hold all,
    below 1 there is much noise. NaN where fewer than LEAST of these vary.
    """
    with one_thread():
        values = torch.linalg.svdvals(z.double() - z.double().mean(0)).square()
    first, last = min(FIRST, math.ceil(z.shape[1] / 10)), z.shape[1] // 2
    place = torch.arange(1, len(values) + 1, dtype=torch.float64)
    asked = (place >= first) & (place <= last) & (values > 1e-12 * values.max()).cpu()
    if asked.sum() < LEAST:
        return math.nan
    x, y = place[asked].log(), values.cpu()[asked].log()
    x = x - x.mean()
    return float(-(x * y).sum() / x.square().sum())


def participation(z: Tensor) -> float:
    """(Σλ)² / Σλ² of the eigenvalues λ of the covariance of (..., D), all else being samples.

    That is the square of its trace over the sum of its squared entries. NaN where nothing varies.
    """
    z = z.double().flatten(0, -2)
    z = z - z.mean(0)
    covariance = z.T @ z
    return float(covariance.trace().square() / covariance.square().sum())


def cosine_of_pairs(z: Tensor) -> float:
    """Mean cosine of all pairs of different rows of (n, D)."""
    unit = normalize(z.double(), dim=1)
    own = unit.square().sum()
    return float((unit.sum(0).square().sum() - own) / (len(z) * (len(z) - 1)))


def cosine_across(z: Tensor, others: Tensor) -> float:
    """Mean cosine of all pairs of a row of (n, D) and one of `others` (m, D)."""
    mean, of_others = (normalize(of.double(), dim=1).mean(0) for of in (z, others))
    return float((mean * of_others).sum())


def uniformity(z: Tensor) -> float:
    """log of the mean of exp(-2 d²) over pairs at distance d on the unit sphere.

    Wang and Isola 2020 (arXiv 2005.10242): 0 where all are one point, the lower the more evenly
    they lie; -4 at the lowest. Of at most COMPARED features, evenly spread.
    """
    some = torch.linspace(0, len(z) - 1, min(COMPARED, len(z))).long()
    distance = torch.pdist(normalize(z[some.to(z.device)].double(), dim=1))
    return float(torch.exp(-2 * distance.square()).mean().log())


def alignment(z: Tensor, first: Tensor) -> float:
    """Mean squared distance on the unit sphere of neighbours in time, rows k and k + 1 of (n, D).

    Wang and Isola 2020 have two views of one image in their place. `first` (m,) int64: the k.
    """
    unit = normalize(z.double(), dim=1)
    return float((unit[first] - unit[first + 1]).square().sum(1).mean())
