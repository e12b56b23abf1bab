"""Tokens: how much more of the state all tokens know than the summary of them."""

from __future__ import annotations

import torch
from torch import Tensor

from fovea.pretrain.encoders.encoder import Encoder
from fovea.pretrain.terms.principal import principal
from fovea.probes.features import BATCH, NotMeasured, Part, Parts, at_rest, shown, stacks
from fovea.probes.linear import Axes, Fit, ridge
from fovea.probes.state import asked_of, by_category, r2
from fovea.seeding import Stream, seeded

TITLE = "Tokens: what of the features to give to heads"
ABOUT = (
    "R² of the state as in the probe state, of ridge regressions on what an agent's heads may be "
    "given: the summary (CLS), the mean token, both, or all tokens side by side (as their "
    "principal components, at most 1024). Mean of categories, on held-out episodes; 1 is perfect."
)
KEPT = 1024  # components; of regressions on more, the axes alone take minutes
LEAST = 1e-4  # deviation along a component, beside that of the first; the rest is rounding


def probe(encoder: Encoder, seen: dict[str, Parts], *, seed: int = 0) -> dict:
    """R2 of the state from each of what `given` says, by game.

    `seed` is that of the sketch of the components.

    Raises NotMeasured for an encoder without tokens, and where no game has a table of variables.
    """
    if not all(part.mean_token.shape[1] for parts in seen.values() for part in parts):
        raise NotMeasured("it has no tokens")
    rows = []
    for game in shown(seen, "reading tokens"):
        if asked := asked_of(game, seen[game]):
            of_bytes = [variable.byte for variable in asked]
            for reading, features in given(encoder, seen[game], seed).items():
                scores = measure(seen[game], features, of_bytes)
                rows.append([game, reading, by_category(asked, scores)[-1][2]])
    if not rows:
        raise NotMeasured(f"no table names the memory of {', '.join(seen)}")
    table = {
        "name": "r2",
        "title": "R² of the state",
        "columns": ["game", "features", "r2"],
        "rows": rows,
        "note": "The names are those that agents have for their setting `features`.",
    }
    return {"tables": [table]}


def given(encoder: Encoder, parts: Parts, seed: int) -> dict[str, list[Tensor]]:
    """{reading: features (n, F) of each part}."""
    every = [tokens(encoder, part) for part in parts]
    with seeded(Stream.PROBE_SKETCH, seed):
        centre, directions, std = principal(every[0], KEPT)
    directions = directions[:, std > LEAST * std[0]]
    return {
        "summary": [part.summary for part in parts],
        "tokens_mean": [part.mean_token for part in parts],
        "summary_and_mean": [part.both for part in parts],
        "tokens": [(features - centre) @ directions for features in every],
    }


def tokens(encoder: Encoder, part: Part) -> Tensor:
    """(n, N * D) float32 all tokens of each stack of the part, side by side."""
    with at_rest(encoder):
        return torch.cat(
            [
                encoder(stacks(encoder, part.frames, some)).tokens.flatten(1).float()
                for some in part.at.split(BATCH)
            ]
        )


def measure(parts: Parts, features: list[Tensor], of_bytes: list[int]) -> list[tuple]:
    """(R2, NaN) of each byte on the test part, as rows of scores are."""
    truth = [part.ram[:, of_bytes].to(part.summary.device) for part in parts]
    fits = [Fit(*pair) for pair in zip(features, truth, strict=True)]
    said = ridge(Axes.of(features[0]), fits[0], fits[1], features[2])
    return [(r2(y, value), float("nan")) for y, value in zip(truth[2].T, said.T, strict=True)]
