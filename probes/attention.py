"""Attention of the CLS token, head by head, and whether it is where things move."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from fovea.command import UserError
from fovea.figures import AttentionMaps, Comparison, Verdict
from fovea.pretrain.encoders.encoder import Encoder, inference
from fovea.probes.features import (
    NotMeasured,
    Split,
    Splits,
    evenly_spaced,
    stacks,
    with_progress,
)
from fovea.probes.places import cells, mean, moving_pixels, object_pixels, share_and_area
from fovea.results import Measured
from fovea.tables import Table

TITLE = "Attention of the CLS token"
ABOUT = (
    "Attention of the CLS token over the patches, on held-out episodes. Entropy in nats: "
    "low is focused, the logarithm of the number of patches is even. On motion: share of the "
    "attention on patches that change within the stack; compare it with their area, the share that "
    "an even spread would have. On objects: the same of patches with objects whose place the "
    "memory of the game tells. Distance: how far patches look, in pixels, weighted by their "
    "attention to patches. The pictures are steps of play in a row, and also show rollout (Abnar "
    "and Zuidema 2020)."
)
ORDER = 3
FIGURES = [
    AttentionMaps(),
    Comparison(
        table="heads",
        along="block",
        choice="game",
        kind="lines",
        title="Attention on what moves",
        about="Share of a head's attention on patches that change from one screen to the next, "
        "over those patches' own share of the screen, mean over the heads of a block. At 1 a head "
        "looks at what moves no more than an even spread would.",
        measures={
            "on_motion / area": "On motion, over an even spread",
            "on_objects / object_area": "On objects, over an even spread",
            "distance": "Distance that patches look over, in pixels",
            "entropy": "Entropy, in nats, of a head's attention",
        },
    ),
]
VERDICT = Verdict(
    table="heads",
    measure="on_motion",
    over="area",
    sentence="share of the attention on what moves, over its share of the screen",
)
BATCH = 64  # maps of all blocks are held at once


def probe(
    encoder: Encoder,
    games: dict[str, Splits],
    *,
    pictures: int = 24,
    stacks_measured: int = 512,
) -> Measured:
    """Maps of `pictures` test stacks in a row, and measures of each head on `stacks_measured`.

    Arrays: screens (M, H, W) uint8, what the encoder sees of the newest of each stack; maps
    (L, heads, M, gh, gw) and rollout (M, gh, gw) float32, CLS to patches, each summing to what the
    CLS token leaves of 1; game (M,) str.

    Raises NotMeasured for an encoder without attention or a grid of patches.
    """
    _check(encoder, next(iter(games.values())).test)
    rows, pictured = [], []
    for game in with_progress(games, "looking at attention"):
        test = games[game].test
        rows += [[game, *row] for row in measure(encoder, game, test, stacks_measured)]
        pictured.append((game, *picture(encoder, test, pictures)))
    names, screens, maps, rollouts = zip(*pictured, strict=True)
    table = Table(
        name="heads",
        title="Heads",
        columns=[
            "game",
            "block",
            "head",
            "entropy",
            "on_motion",
            "area",
            "on_objects",
            "object_area",
            "distance",
        ],
        rows=rows,
        note="Block 0 is the first. Stacks in which nothing moves are left out of on_motion and "
        "area, and those without an object that is known of on_objects and object_area. Attention "
        "on the CLS token itself is left out.",
    )
    arrays = {
        "screens": torch.cat(screens).numpy(),
        "maps": torch.cat(maps, dim=2).numpy(),
        "rollout": torch.cat(rollouts).numpy(),
        "game": [name for name, of in zip(names, screens, strict=True) for _ in of],
    }
    return Measured([table], arrays)


def _check(encoder: Encoder, split: Split) -> None:
    grid_of(encoder)
    try:
        with inference(encoder):
            encoder.attention(stacks(encoder, split.frames, split.at[:1]))
    except UserError as reason:
        raise NotMeasured(str(reason)) from None


class Sums(NamedTuple):
    """Of each head (L, heads), or of all together, over stacks."""

    entropy: Tensor
    on_motion: Tensor
    area: float
    on_objects: Tensor
    object_area: float
    distance: Tensor

    def row(self, block: int, head: int) -> list[float]:
        """The numbers of one head."""
        return [float(of[block, head]) if isinstance(of, Tensor) else of for of in self]


def grid_of(encoder: Encoder) -> tuple[int, int]:
    """Rows and columns of its patches. Raises NotMeasured where it has none."""
    if encoder.grid is None:
        raise NotMeasured("it has no grid of patches to attend to")
    return encoder.grid


def measure(encoder: Encoder, game: str, split: Split, most: int) -> list[list[float]]:
    """[block, head, *numbers of `Sums`] over `most` stacks, evenly spaced in the split."""
    entropies, distances, shares = [], [], []
    with inference(encoder):
        for some in evenly_spaced(split.at, most).split(BATCH):
            screens = stacks(encoder, split.frames, some)
            attention = encoder.attention(screens)
            rows = cls_rows(attention, math.prod(grid_of(encoder)))
            looks = rows / rows.sum(-1, keepdim=True)
            there = cells(object_pixels(encoder, game, split, some), *grid_of(encoder))
            entropies.append(torch.special.entr(looks).sum(-1))
            distances.append(mean_distance(encoder, attention))
            shares.append(
                (
                    *share_and_area(looks, moving(encoder, screens)),
                    *share_and_area(looks, there.to(looks.device)),
                )
            )
    on_motion, area, on_objects, object_area = zip(*shares, strict=True)
    sums = Sums(
        torch.cat(entropies, dim=-1).mean(-1),
        torch.cat(on_motion, dim=-1).mean(-1),
        mean(torch.cat(area)),
        torch.cat(on_objects, dim=-1).mean(-1),
        mean(torch.cat(object_area)),
        torch.cat(distances, dim=-1).mean(-1),
    )
    heads = torch.cartesian_prod(*map(torch.arange, sums.entropy.shape)).tolist()
    return [[block, head, *sums.row(block, head)] for block, head in heads]


def mean_distance(encoder: Encoder, attention: Tensor) -> Tensor:
    """(L, heads, B): how far patches look, in pixels (Dosovitskiy et al. 2020, arXiv 2010.11929).

    The mean over patches of the distance to the patches that they attend to, weighted by that
    attention; of attention (L, B, heads, T, T), without that on other tokens.
    """
    rows, columns = grid_of(encoder)
    height, width = (side / n for side, n in zip(encoder.input_size, (rows, columns), strict=True))
    lines, ranks = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
    centres = torch.stack([lines.flatten() * height, ranks.flatten() * width], dim=1)
    apart = torch.cdist(centres.double(), centres.double()).to(attention)
    among = attention[..., -rows * columns :, -rows * columns :]
    among = among / among.sum(-1, keepdim=True)
    return (among * apart).sum(-1).mean(-1).transpose(1, 2)


def picture(encoder: Encoder, split: Split, count: int) -> tuple[Tensor, Tensor, Tensor]:
    """Screens (M, H, W) as seen, maps (L, heads, M, gh, gw) and rollout (M, gh, gw), on the CPU."""
    with inference(encoder):
        screens = stacks(encoder, split.frames, in_a_row(split, encoder.stack, count))
        attention = encoder.attention(screens).float()
        grid = grid_of(encoder)
        maps = cls_rows(attention, math.prod(grid)).unflatten(-1, grid)
        rolled = rollout(attention)[:, 0, -math.prod(grid) :].unflatten(-1, grid)
    (top, left), (height, width) = encoder.margin, encoder.input_size
    newest = screens[:, -1, top : top + height, left : left + width]
    return newest.cpu(), maps.cpu(), rolled.cpu()


def in_a_row(split: Split, stack: int, most: int) -> Tensor:
    """(M,) int64: at most `most` steps of one episode in a row, from the middle stack drawn on.

    They begin earlier where the episode ends too soon.
    """
    episode, middle = split.frames.episode, int(split.at[len(split.at) // 2])
    whole = (episode == episode[middle]).nonzero().flatten()[stack - 1 :]
    begin = min(middle, max(int(whole[0]), int(whole[-1]) + 1 - most))
    return whole[(whole >= begin) & (whole < begin + most)]


def cls_rows(attention: Tensor, patches: int) -> Tensor:
    """(L, heads, B, patches) from (L, B, heads, T, T): from the CLS token to every patch."""
    return attention[:, :, :, 0, -patches:].transpose(1, 2)


def rollout(attention: Tensor) -> Tensor:
    """(B, T, T): how much of each input token is in each output token (Abnar and Zuidema 2020).

    The product over blocks, the last on the left, of (mean over heads + identity) / 2, of
    attention (L, B, heads, T, T). Rows sum to 1.
    """
    mixing = (attention.mean(2) + torch.eye(attention.shape[-1], device=attention.device)) / 2
    rolled = mixing[0]
    for block in mixing[1:]:
        rolled = block @ rolled
    return rolled


def moving(encoder: Encoder, screens: Tensor) -> Tensor:
    """(B, patches) bool: patches where a pixel changes within the stack."""
    return cells(moving_pixels(encoder, screens), *grid_of(encoder))
