"""Sparsity: how few numbers a token is made of, block by block."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor, nn

from fovea.figures import Comparison, Verdict
from fovea.pretrain.encoders.encoder import Encoder, inference
from fovea.pretrain.encoders.vit import ViT
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
    "Measured on the tokens that leave each block, of each kind, on held-out episodes. Hoyer and "
    "Gini: 0 where all numbers of a token are equally large, 1 where one is not zero; L1 over L2, "
    "times 1/√D: the other way round. Near zero: share of numbers below a tenth of their token's "
    "root mean square; after GELU, of the MLP's hidden units. Dormant: share of these units whose "
    "mean size is at most 0.025 of the block's (Sokar et al. 2023), or 0.1. Soft-dormant: 1 less "
    "the effective number of units, over all. Sparser is no better or worse by itself."
)
ORDER = 6
MEASURES = {
    "hoyer": "Hoyer, 0 dense to 1 sparse",
    "l1_l2": "L1 over L2, 1 dense",
    "gini": "Gini, 0 dense to 1 sparse",
    "near_zero": "Near zero, share of activations",
    "gelu_near_zero": "Near zero after GELU, share of hidden units",
    "dormant": "Dormant, share of units",
    "dormant_01": "Dormant at 0.1, share of units",
    "soft_dormant": "Soft-dormant, share of units",
}
FIGURES = [
    Comparison(
        table="blocks",
        along="block",
        choice="game",
        kind="lines",
        where={"token": token},
        title=title,
        measures=MEASURES,
    )
    for token, title in (("patches", "Patch tokens"), ("cls", "CLS token"))
]
VERDICT = Verdict(
    table="blocks",
    measure="hoyer",
    where={"token": "patches"},
    sentence="Hoyer sparsity of the patch tokens, mean of blocks (more is no better by itself)",
)
NEAR = 0.1  # of the token's root mean square; a Gaussian has 0.08 of its numbers below it
TAU = 0.025  # Sokar et al. 2023
ALL = "all"


class Sums(NamedTuple):
    """Of one kind of token after one block, over the stacks seen so far."""

    tokens: Tensor
    """(4,) float64: Hoyer, L1 over L2, Gini and the share near zero."""
    gelu: Tensor
    """() float64: share of hidden units near zero."""
    sizes: Tensor
    """(H,) float64: of each hidden unit."""

    def scores(self, stacks: int) -> list[float]:
        """Each of MEASURES."""
        tokens, gelu = (self.tokens / stacks).tolist(), float(self.gelu) / stacks
        return [
            *tokens,
            gelu,
            dormant(self.sizes),
            dormant(self.sizes, 0.1),
            soft_dormant(self.sizes),
        ]


def probe(encoder: Encoder, games: dict[str, Splits], *, stacks_measured: int = 512) -> Measured:
    """Each of MEASURES, by block and kind of token, on `stacks_measured` test stacks a game.

    Kinds of token are `all`, `cls`, `registers` and `patches`, those that there are.

    Raises NotMeasured for an encoder without transformer blocks.
    """
    if vit_of(encoder) is None:
        raise NotMeasured("it has no transformer blocks")
    rows = []
    for game in with_progress(games, "measuring sparsity"):
        measured = measure(encoder, games[game].test, stacks_measured)
        rows += [
            [game, block, kind, *scores]
            for block, of in enumerate(measured)
            for kind, scores in of.items()
        ]
    table = Table(
        name="blocks",
        title="Blocks",
        columns=["game", "block", "token", *MEASURES],
        rows=rows,
        note="Block 0 is the first.",
    )
    return Measured([table])


def kinds(encoder: ViT) -> dict[str, slice]:
    """{kind of token: its places}."""
    first = encoder.vit.num_prefix_tokens
    cls = 0 if encoder.vit.cls_token is None else 1
    found = {"cls": slice(0, cls), "registers": slice(cls, first), "patches": slice(first, None)}
    there = {kind: of for kind, of in found.items() if of.start != of.stop}
    return {ALL: slice(None)} | there


def measure(encoder: Encoder, split: Split, most: int) -> list[dict[str, list[float]]]:
    """{kind of token: each of MEASURES} for each block, over `most` evenly spaced stacks."""
    vit = vit_of(encoder)
    assert vit, "see probe"
    at = evenly_spaced(split.at, most)
    blocks = list(vit.vit.blocks)
    sums: list[dict[str, Sums]] = [{} for _ in blocks]
    hidden = [block.mlp.act for block in blocks]
    with inference(encoder), outputs([*blocks, *hidden]) as latest:
        for some in at.split(BATCH):
            latest.clear()
            encoder(stacks(encoder, split.frames, some))
            for of_block, block in zip(sums, blocks, strict=True):
                tokens, units = latest[block].double(), latest[block.mlp.act].double()
                for kind, places in kinds(vit).items():
                    found = of_tokens(tokens[:, places], units[:, places])
                    before = of_block.get(kind)
                    of_block[kind] = Sums(
                        *(
                            new * len(some) + (0 if before is None else old)
                            for new, old in zip(found, before or found, strict=True)
                        )
                    )
    return [{kind: of.scores(len(at)) for kind, of in of_block.items()} for of_block in sums]


def of_tokens(tokens: Tensor, units: Tensor) -> Sums:
    """The means over tokens (B, T, D) and their hidden units (B, T, H)."""
    each = [hoyer(tokens), l1_l2(tokens), gini(tokens), near_zero(tokens)]
    return Sums(
        torch.stack([of.mean() for of in each]), near_zero(units).mean(), units.abs().mean((0, 1))
    )


def hoyer(z: Tensor) -> Tensor:
    """(sqrt D - l1 / l2) / (sqrt D - 1) of the vectors (..., D) (Hoyer 2004), in [0, 1]."""
    root = math.sqrt(z.shape[-1])
    return (root - z.abs().sum(-1) / z.norm(dim=-1)) / (root - 1)


def l1_l2(z: Tensor) -> Tensor:
    """l1 / (sqrt D l2) of the vectors (..., D): 1 where all numbers are equally large."""
    return z.abs().sum(-1) / (math.sqrt(z.shape[-1]) * z.norm(dim=-1))


def gini(z: Tensor) -> Tensor:
    """The Gini index of the sizes of the numbers of vectors (..., D) (Hurley and Rickard 2009).

    0 where all are equally large, 1 - 1 / D where one is not zero.
    """
    count = z.shape[-1]
    sizes = z.abs().sort(-1).values
    place = torch.arange(1, count + 1, dtype=z.dtype, device=z.device)
    weight = (count - place + 0.5) / count
    return 1 - 2 * (sizes * weight).sum(-1) / sizes.sum(-1)


def near_zero(z: Tensor) -> Tensor:
    """Share of the numbers of vectors (..., D) that are smaller than NEAR times their rms."""
    rms = z.square().mean(-1, keepdim=True).sqrt()
    return (z.abs() < NEAR * rms).to(z.dtype).mean(-1)


def dormant(sizes: Tensor, tau: float = TAU) -> float:
    """Share of units whose mean activity (H,), over its mean over all units, is at most tau."""
    return float((sizes / sizes.mean() <= tau).double().mean())


def soft_dormant(sizes: Tensor) -> float:
    """1 - exp(entropy of the shares of activity (H,)) / H (Atari-PB, arXiv 2406.06037)."""
    entropy = torch.special.entr(sizes / sizes.sum()).sum()
    return float(1 - entropy.exp() / len(sizes))


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
