"""Similarity: how alike blocks are, and encoders, on the same screens."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import pad

from fovea.cka import cka, gram
from fovea.figures import Similarity
from fovea.pretrain.encoders.encoder import Encoder, inference
from fovea.probes.features import (
    BATCH,
    NotMeasured,
    Splits,
    again,
    evenly_spaced,
    stacks,
    with_progress,
)
from fovea.probes.references import Blind
from fovea.probes.state_read_outs import block_features
from fovea.results import Measured
from fovea.tables import Table

TITLE = "Similarity of blocks and encoders"
ABOUT = (
    "Debiased linear CKA (Kornblith et al. 2019, with the unbiased HSIC) on the same test screens: "
    "1 where two features order screens alike but for a rotation and a scale, about 0 where they "
    "have nothing in common. Block 0 is the patch embedding. An encoder beside its own start, or "
    "before and after fine-tuning, shows which blocks have changed."
)
ORDER = 8
PLACES = ("summary", "mean token")
FIGURES = [Similarity(places=list(PLACES))]


def probe(encoder: Encoder, games: dict[str, Splits], *, screens_compared: int = 200) -> Measured:
    """CKA of all pairs of blocks, on `screens_compared` test stacks a game.

    Arrays "PLACE/GAME" (blocks, n, D) float32: the features that encoders are compared by. Of an
    encoder with a read-out that is wider than a token, D is its width, and what the blocks before
    have less is zero, which changes no CKA.

    Raises NotMeasured for the reference that sees nothing.
    """
    if isinstance(encoder, Blind):
        raise NotMeasured("its features are the same on all screens")
    of_game = again(encoder, games)
    rows, arrays = [], {}
    for game in with_progress(games, "comparing blocks"):
        test = games[game].test
        at = evenly_spaced(test.at, screens_compared)
        found = of_blocks(of_game(game), stacks(encoder, test.frames, at))
        for place, features in found.items():
            arrays[f"{place}/{game}"] = features.cpu().numpy()
            grams = [gram(block) for block in arrays[f"{place}/{game}"]]
            rows += [
                [game, place, one, other, cka(a, b)]
                for one, a in enumerate(grams)
                for other, b in enumerate(grams[: one + 1])
            ]
    columns = ["game", "place", "block", "other", "cka"]
    return Measured([Table("blocks", "Blocks of one encoder", columns, rows)], arrays)


def of_blocks(encoder: Encoder, screens: Tensor) -> dict[str, Tensor]:
    """{place: (blocks, n, D) float32} after each block; of the last alone where there are none."""
    batches = []
    with inference(encoder):
        for some in screens.split(BATCH):
            every = list(block_features(encoder, some))
            summaries = side_by_side([of.summary.float() for of in every])
            batches.append((summaries, torch.stack([of.tokens.float().mean(1) for of in every])))
    summaries, means = (torch.cat(of, dim=1) for of in zip(*batches, strict=True))
    found = dict(zip(PLACES, (summaries, means), strict=True))
    return {place: z for place, z in found.items() if z.shape[2] and z.isfinite().all()}


def side_by_side(features: list[Tensor]) -> Tensor:
    """(blocks, n, D) of features (n, <= D) of each block, with zeros after narrower ones."""
    width = max(z.shape[1] for z in features)
    return torch.stack([pad(z, (0, width - z.shape[1])) for z in features])
