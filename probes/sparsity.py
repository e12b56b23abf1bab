"""Sparsity: how few numbers a token is made of, block by block."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

from torch import Tensor, nn

from fovea.figures import Comparison
from fovea.pretrain.encoders.encoder import Encoder, inference
from fovea.probes.features import (
    BATCH,
    NotMeasured,
    Split,
    Splits,
    evenly_spaced,
    stacks,
    with_progress,
)
from fovea.probes.of_agents import vit_of
from fovea.results import Measured
from fovea.tables import Table

TITLE = "Sparsity by block"
ABOUT = (
    "Measured on the tokens that leave each block, on held-out episodes. Hoyer: 0 where all "
    "numbers of a token are equally large, 1 where one is not zero. Near zero: share of numbers "
    "below a tenth of their token's root mean square. Dormant: share of the MLP's hidden units "
    "whose mean size is at most 0.025 of the block's. Sparser is no better or worse by itself."
)
ORDER = 4
FIGURES = [
    Comparison(
        table="blocks",
        along="block",
        choice="game",
        kind="lines",
        measures={
            "hoyer": "Hoyer, 0 dense to 1 sparse",
            "near_zero": "Near zero, share of activations",
            "dormant": "Dormant, share of units",
        },
    )
]
NEAR = 0.1  # of the token's root mean square; a Gaussian has 0.08 of its numbers below it
TAU = 0.025  # Sokar et al. 2023


def probe(encoder: Encoder, games: dict[str, Splits], *, stacks_measured: int = 512) -> Measured:
    """Hoyer, near-zero and dormant shares of each block, on `stacks_measured` test stacks a game.

    Raises NotMeasured for an encoder without transformer blocks.
    """
    if vit_of(encoder) is None:
        raise NotMeasured("it has no transformer blocks")
    rows = []
    for game in with_progress(games, "measuring sparsity"):
        measured = measure(encoder, games[game].test, stacks_measured)
        rows += [[game, block, *row] for block, row in enumerate(measured)]
    table = Table(
        name="blocks",
        title="Blocks",
        columns=["game", "block", "hoyer", "near_zero", "dormant"],
        rows=rows,
        note="Block 0 is the first.",
    )
    return Measured([table])


def measure(encoder: Encoder, split: Split, most: int) -> list[tuple[float, float, float]]:
    """Hoyer, near-zero and dormant share of each block, over `most` evenly spaced stacks."""
    at = evenly_spaced(split.at, most)
    vit = vit_of(encoder)
    blocks = list(vit.vit.blocks) if vit else []
    sums = [[0.0, 0.0] for _ in blocks]
    sizes: list[Tensor | float] = [0.0] * len(blocks)
    hidden = [block.mlp.act for block in blocks]
    with inference(encoder), outputs([*blocks, *hidden]) as latest:
        for some in at.split(BATCH):
            latest.clear()
            encoder(stacks(encoder, split.frames, some))
            for index, block in enumerate(blocks):
                tokens = latest[block].double()
                sums[index][0] += float(hoyer(tokens).mean()) * len(some)
                sums[index][1] += float(near_zero(tokens).mean()) * len(some)
                sizes[index] += latest[block.mlp.act].double().abs().mean((0, 1)) * len(some)
    return [
        (of_hoyer / len(at), of_zero / len(at), dormant(size))
        for (of_hoyer, of_zero), size in zip(sums, sizes, strict=True)
    ]


def hoyer(z: Tensor) -> Tensor:
    """(sqrt D - l1 / l2) / (sqrt D - 1) of the vectors (..., D) (Hoyer 2004), in [0, 1]."""
    root = math.sqrt(z.shape[-1])
    return (root - z.abs().sum(-1) / z.norm(dim=-1)) / (root - 1)


def near_zero(z: Tensor) -> Tensor:
    """Share of the numbers of vectors (..., D) that are smaller than NEAR times their rms."""
    rms = z.square().mean(-1, keepdim=True).sqrt()
    return (z.abs() < NEAR * rms).to(z.dtype).mean(-1)


def dormant(sizes: Tensor) -> float:
    """Share of units whose mean activity (H,), over its mean over all units, is at most TAU."""
    return float((sizes / sizes.mean() <= TAU).double().mean())


@contextmanager
def outputs(modules: list[nn.Module]) -> Iterator[dict[nn.Module, Tensor]]:
    """What each module returned in the latest forward pass inside the block."""
    latest: dict[nn.Module, Tensor] = {}

    def see(module: nn.Module, _inputs: tuple, output: Tensor) -> None:
        latest[module] = output

    handles = [module.register_forward_hook(see) for module in modules]
    try:
        yield latest
    finally:
        for handle in handles:
            handle.remove()
