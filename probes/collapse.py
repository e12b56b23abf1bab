"""Collapse: whether the features of a game's screens still differ from each other."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import normalize

from fovea.figures import Comparison, Verdict
from fovea.pretrain.encoders.encoder import Encoder
from fovea.pretrain.terms.feature_std import feature_std
from fovea.probes.features import NotMeasured, Splits, neighbours
from fovea.results import Measured
from fovea.tables import Table

TITLE = "Collapse: do features differ?"
ABOUT = (
    "Measured on held-out episodes. Std: of the features at unit length, times √D (1: they fill "
    "the sphere evenly, 0: all are one). RankMe: effective rank, at most D; compare it between "
    "runs of one method. LiDAR: effective rank of what tells moments apart, beside what differs "
    "between two neighbours in time. Cosine: of random pairs (near 1: collapse) and of neighbours."
)
ORDER = 5
FIGURES = [
    Comparison(
        table="features",
        along="game",
        choice="place",
        measures={
            "rankme": "RankMe, effective rank",
            "lidar": "LiDAR, rank beside noise",
            "std": "Std, of features",
            "cosine_random": "Cosine random, pairs of screens",
            "cosine_neighbours": "Cosine neighbours, in time",
        },
    )
]
VERDICT = Verdict(
    table="features",
    measure="rankme",
    where={"place": "summary"},
    sentence="effective rank (RankMe) of the summary",
)


def probe(encoder: Encoder, games: dict[str, Splits]) -> Measured:
    """Std, RankMe, LiDAR and cosines of the summary and of the mean token, game by game.

    Raises NotMeasured for an encoder that gives every screen the zero vector.
    """
    rows = []
    for game, splits in games.items():
        test = splits.test
        for place, z in (("summary", test.summary), ("mean token", test.mean_token)):
            if z.shape[1]:
                if not z.any():
                    raise NotMeasured("its features are zero")
                rows.append([game, place, *measure(z, neighbours(test))])
    table = Table(
        name="features",
        title="Features by game",
        columns=[
            "game",
            "place",
            "std",
            "rankme",
            "lidar",
            "cosine_random",
            "cosine_neighbours",
        ],
        rows=rows,
        note="Cosines of random pairs are the exact mean over all pairs.",
    )
    return Measured([table])


def measure(z: Tensor, first: Tensor) -> tuple[float, float, float, float, float]:
    """Std, RankMe, LiDAR, mean cosine of all pairs and of neighbours (k, k + 1), k in `first`.

    Args:
        z: (n, D) features; computed in float64.
        first: (m,) int64.
    """
    unit = normalize(z.double(), dim=1)
    pairs = torch.stack([first, first + 1], 1).flatten()
    return (
        float(feature_std(z.double())),
        rankme(z),
        lidar(z[pairs], views=2),
        cosine_of_pairs(z),
        _mean_cosine(unit[first], unit[first + 1]),
    )


def rankme(z: Tensor, eps: float = 1e-7) -> float:
    """Effective rank of the features (n, D), not centred (Garrido et al. 2023, equation 1)."""
    singular = torch.linalg.svdvals(z.double())
    share = singular / singular.sum() + eps
    return float(torch.exp(-(share * share.log()).sum()))


def lidar(z: Tensor, views: int, delta: float = 1e-4, eps: float = 1e-8) -> float:
    """Effective rank of what sets groups of features apart (Thilak et al. 2024, arXiv 2312.04000).

    Of the covariance of the groups' means, whitened by that inside the groups plus `delta`.

    Args:
        z: (n * views, D); each `views` rows in turn are one moment, seen several times.
    """
    groups = z.double().unflatten(0, (-1, views))
    means = groups.mean(1)
    inside = (groups - means[:, None]).flatten(0, 1)
    within = inside.T @ inside / (len(means) * (views - 1))
    values, axes = torch.linalg.eigh(within)
    whiten = axes / (values + delta).sqrt()
    spectrum = torch.linalg.eigvalsh(whiten.T @ means.T.cov() @ whiten).clamp(min=0) + eps
    share = spectrum / spectrum.sum()
    return float(torch.exp(-(share * share.log()).sum()))


def cosine_of_pairs(z: Tensor) -> float:
    """Mean cosine of all pairs of different rows of (n, D)."""
    unit = normalize(z.double(), dim=1)
    own = unit.square().sum()
    return float((unit.sum(0).square().sum() - own) / (len(z) * (len(z) - 1)))


def _mean_cosine(a: Tensor, b: Tensor) -> float:
    return float((a * b).sum(1).mean())
