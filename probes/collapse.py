"""Collapse: whether the features of a game's screens still differ from each other."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import accumulate
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import normalize

from fovea.figures import Comparison, Verdict
from fovea.pretrain.encoders.encoder import Encoder, inference
from fovea.pretrain.encoders.feature_norm import FeatureNorm, FeatureNormKind
from fovea.pretrain.terms.feature_std import feature_std
from fovea.probes.features import (
    BATCH,
    NotMeasured,
    Split,
    Splits,
    evenly_spaced,
    neighbours,
    stacks,
    with_progress,
)
from fovea.probes.spread import (
    alignment,
    alpha_req,
    constant,
    cosine_across,
    cosine_of_pairs,
    effective_rank,
    lidar,
    participation,
    rankme,
    uniformity,
)
from fovea.probes.state_read_outs import block_features
from fovea.results import Measured
from fovea.tables import Table

TITLE = "Collapse: do features differ?"
ABOUT = (
    "Measured on held-out episodes. Std: of the features at unit length, times √D (1: they fill "
    "the sphere evenly, 0: all are one). RankMe: effective rank, at most D; compare it between "
    "runs of one method. LiDAR: effective rank of what tells moments apart, beside what differs "
    "between two neighbours in time. Cosine: of random pairs (near 1: collapse) and of neighbours."
)
ORDER = 7
SPREAD = {
    "std": "Std, of features",
    "rankme": "RankMe, effective rank",
    "effective_rank": "Effective rank, of singular values",
    "alpha_req": "α-ReQ, fall of the spectrum",
    "lidar": "LiDAR, rank beside noise",
    "participation": "Participation, directions",
    "uniformity": "Uniformity, lower is more even",
    "alignment": "Alignment, of neighbours in time",
    "cosine_random": "Cosine random, pairs of screens",
    "cosine_across": "Cosine across games",
}
CENTRED = ("no", "yes")
PLACES = ("summary", "mean token")
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
    ),
    *(
        Comparison(
            table="spread",
            along="game",
            choice="place",
            averaged=False,
            where={"centred": centred},
            title=f"Spread, {title}",
            about=about,
            measures=SPREAD,
        )
        for centred, title, about in (
            (
                "no",
                "features as they are",
                "Effective rank (Roy and Vetterli 2007), at most D. α-ReQ (Agrawal et al. 2022): "
                "the eigenvalues of the covariance fall as i to the power of −α; about 1 is good, "
                "far above it few directions hold all. Uniformity and alignment (Wang and Isola "
                "2020) of unit vectors: lower is more even, and closer in time. Cosine across "
                "games: near 1 where a game cannot be told from another.",
            ),
            (
                "yes",
                "centred",
                "The same less the mean, which is what all screens have in common: what is left "
                "tells them apart.",
            ),
        )
    ),
    Comparison(
        table="participation",
        along="game",
        choice="place",
        averaged=False,
        title="Participation ratio before and after the norm",
        about="In how many directions features vary, about: (Σλ)² / Σλ² of the eigenvalues λ of "
        "their covariance, from 1 (one direction holds all) to D (all hold as much). Before the "
        "norm that heads are given features through, with the norm `standard`, and with `whiten`. "
        "Where it is low, features are strongly correlated.",
        measures={
            "before": "Before, participation ratio",
            "standardised": "Standardised, participation ratio",
            "whitened": "Whitened, participation ratio",
        },
    ),
    *(
        Comparison(
            table="blocks",
            along="block",
            choice="game",
            kind="lines",
            averaged=False,
            where={"place": place},
            title=f"By block, {place}",
            about=about,
            measures={
                "std": "Std, of features",
                "rankme": "RankMe, effective rank",
                "cosine_random": "Cosine random, pairs of screens",
            },
        )
        for place, about in zip(
            PLACES,
            (
                "After each block, through the encoder's last norm. Block 0 is the patch "
                "embedding; its CLS token saw nothing, so that it is the same on all screens.",
                "Of the patch tokens, which have seen the screen in block 0 already.",
            ),
            strict=True,
        )
    ),
]
VERDICT = Verdict(
    table="features",
    measure="rankme",
    where={"place": "summary"},
    sentence="effective rank (RankMe) of the summary",
)


POOLED = "all games"
STACKS = 512  # of which all tokens are looked at, a split and game
COLUMNS: dict[str, FeatureNormKind] = {
    "before": "none",
    "standardised": "standard",
    "whitened": "whiten",
}
WIDEST = 1024  # numbers that are looked at; the eigenvectors of 4,096 would take minutes
WIDE = f"Of features of more than {WIDEST:,} numbers, {WIDEST:,} evenly spread ones are looked at."


def probe(encoder: Encoder, games: dict[str, Splits]) -> Measured:
    """Std, RankMe, LiDAR and cosines of the summary and of the mean token, game by game.

    And of each game and of all games together: the participation ratio of these and of the single
    tokens, before and after the norm; and std, RankMe and cosine after each block, where there are
    blocks.

    Raises NotMeasured for an encoder that gives every screen the zero vector.
    """
    rows = []
    for game, splits in games.items():
        test = splits.test
        for place, z in zip(PLACES, (test.summary, test.mean_token), strict=True):
            if z.shape[1]:
                if not z.any():
                    raise NotMeasured("its features are zero")
                rows.append([game, place, *measure(narrowed(z), neighbours(test))])
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
        note=f"Cosines of random pairs are the exact mean over all pairs. {WIDE}",
    )
    seen = {
        game: (_seen(encoder, games[game].training), _seen(encoder, games[game].test))
        for game in with_progress(games, "looking at tokens")
        if games[game].test.mean_token.shape[1]
    }
    by_block = _blocks({game: test.by_block for game, (_, test) in seen.items()})
    return Measured([table, _spread(games), _participation(games, seen), *by_block])


def _spread(games: dict[str, Splits]) -> Table:
    """Of each game and of all together, as they are and less their mean."""
    places: dict[str, dict[str, Tensor]] = {}
    for game, (_, _, test) in games.items():
        for place, z in zip(PLACES, (test.summary, test.mean_token), strict=True):
            if z.shape[1]:
                places.setdefault(place, {})[game] = narrowed(z)
    rows = [
        [game, place, centred, *scores]
        for place, found in places.items()
        for centred in CENTRED
        for game, scores in spread_of(
            found, {game: neighbours(games[game].test) for game in found}, centred == "yes"
        )
    ]
    return Table(
        name="spread",
        title="Spread, by game and of all games together, centred and not",
        columns=["game", "place", "centred", *SPREAD],
        rows=rows,
        note="Centred: less the mean of the test features, of a game or, across games and of all "
        f"games together, of all. Of few eigenvalues there is no alpha-ReQ. {WIDE}",
    )


def spread_of(
    found: dict[str, Tensor], first: dict[str, Tensor], centred: bool
) -> Iterator[tuple[str, list[float]]]:
    """(game, each of SPREAD) of each game, and of all together where they are equally wide."""

    def less_mean(z: Tensor, mean: Tensor) -> Tensor:
        if not centred:
            return z
        # What is left of a constant is rounding, which spreads in all directions.
        rounding = constant(z) and (z.mean(0) - mean).norm() <= 1e-6 * mean.norm()
        return torch.zeros_like(z) if rounding else z - mean

    together = len(found) > 1 and len({z.shape[1] for z in found.values()}) == 1
    mean = torch.cat([*found.values()]).mean(0) if together else None
    across: dict[str, float] = dict.fromkeys(found, math.nan)
    if mean is not None:
        every = {game: less_mean(z, mean) for game, z in found.items()}
        for game in found:
            others = torch.cat([z for name, z in every.items() if name != game])
            across[game] = cosine_across(every[game], others)
    for game, z in found.items():
        yield game, [*spread(less_mean(z, z.mean(0)), first[game]), across[game]]
    if mean is not None:
        begins = accumulate((len(z) for z in found.values()), initial=0)
        pairs = torch.cat([b + of for b, of in zip(begins, first.values(), strict=False)])
        of_all = sum(across.values()) / len(across)
        yield POOLED, [*spread(torch.cat([*every.values()]), pairs), of_all]


def spread(z: Tensor, first: Tensor) -> list[float]:
    """Each of SPREAD but the last, of features (n, D); `first`: see `measure`."""
    pairs = torch.stack([first, first + 1], 1).flatten()
    return [
        float(feature_std(z.double())),
        rankme(z),
        effective_rank(z),
        alpha_req(z),
        lidar(z[pairs], views=2),
        participation(z),
        uniformity(z),
        alignment(z, first),
        cosine_of_pairs(z),
    ]


class Seen(NamedTuple):
    """What an encoder gives of STACKS stacks of a split, evenly spaced, in one pass."""

    tokens: Tensor
    """(n, N, D) float32, of its last block."""
    by_block: dict[str, list[Tensor]]
    """{each of PLACES: (n, D) float32 after each block}."""


def _participation(games: dict[str, Splits], seen: dict[str, tuple[Seen, Seen]]) -> Table:
    """Of each game and of all together; `seen` are training and test of games with tokens."""
    found: dict[str, dict[str, tuple[Tensor, Tensor]]] = {}
    for game, (training, _, test) in games.items():
        found[game] = {"summary": (training.summary, test.summary)}
        if game in seen:
            before, after = seen[game]
            found[game]["mean token"] = training.mean_token, test.mean_token
            found[game]["tokens"] = before.tokens, after.tokens
    widths = {z.shape[-1] for of in found.values() for z, _ in of.values()}
    if len(found) > 1 and len(widths) == 1:  # games may have fewer components of pixels than others
        pairs = {place: [of[place] for of in found.values()] for place in found[game]}
        found[POOLED] = {
            place: (torch.cat([a for a, _ in of]), torch.cat([b for _, b in of]))
            for place, of in pairs.items()
        }
    rows = [
        [
            game,
            place,
            *(participation(normed(kind, *map(narrowed, pair))) for kind in COLUMNS.values()),
        ]
        for game, of in found.items()
        for place, pair in of.items()
    ]
    return Table(
        name="participation",
        title="Participation ratio",
        columns=["game", "place", *COLUMNS],
        rows=rows,
        note="The norm is that of agents (`features.norm`), fitted to training episodes; tokens "
        "are standardised place by place, and whitened by axes that all places share. "
        f"{POOLED.capitalize()}: one norm for all. Pixels have components of each game apart, so "
        f"that there theirs say nothing. {WIDE}",
    )


def _blocks(by_block: dict[str, dict[str, list[Tensor]]]) -> list[Table]:
    """Of {game: {place: (n, D) after each block}}; no table of encoders without blocks."""
    if not any(len(blocks) > 1 for of in by_block.values() for blocks in of.values()):
        return []
    if len(by_block) > 1:
        pairs = {place: [of[place] for of in by_block.values()] for place in PLACES}
        by_block = by_block | {
            POOLED: {
                place: [torch.cat(block) for block in zip(*of, strict=True)]
                for place, of in pairs.items()
            }
        }
    rows = [
        [game, place, block, float(feature_std(z.double())), rankme(z), cosine_of_pairs(z)]
        for game, of in by_block.items()
        for place, blocks in of.items()
        for block, z in enumerate(map(narrowed, blocks))
    ]
    return [
        Table(
            name="blocks",
            title="By block",
            columns=["game", "place", "block", "std", "rankme", "cosine_random"],
            rows=rows,
            note="Block 0 is the patch embedding; the last norm follows each, as in the probe "
            f"state. Of {STACKS} test stacks of a game at most. {WIDE}",
        )
    ]


def _seen(encoder: Encoder, split: Split) -> Seen:
    tokens: list[Tensor] = []
    pooled: dict[str, list[list[Tensor]]] = {place: [] for place in PLACES}
    with inference(encoder):
        for some in evenly_spaced(split.at, STACKS).split(BATCH):
            blocks = list(block_features(encoder, stacks(encoder, split.frames, some)))
            tokens.append(blocks[-1].tokens.float())
            pooled["summary"].append([of.summary.float() for of in blocks])
            pooled["mean token"].append([of.tokens.float().mean(1) for of in blocks])
    return Seen(
        torch.cat(tokens),
        {place: [*map(torch.cat, zip(*of, strict=True))] for place, of in pooled.items()},
    )


def normed(kind: FeatureNormKind, training: Tensor, z: Tensor) -> Tensor:
    """`z` (n, ..., D) through the agents' norm of this kind, fitted to `training` (m, ..., D)."""
    norm = FeatureNorm(kind, training.shape[1:], training.shape[-1]).to(training.device)
    norm.fit(training)
    return norm(z)


def narrowed(z: Tensor) -> Tensor:
    """(..., D) as it is, or WIDEST of the D numbers, evenly spread."""
    return z[..., evenly_spaced(torch.arange(z.shape[-1]), WIDEST)] if z.shape[-1] > WIDEST else z


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


def _mean_cosine(a: Tensor, b: Tensor) -> float:
    return float((a * b).sum(1).mean())
