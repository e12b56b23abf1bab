"""Encoders whose modulators have many entries, of which each sample's screens pick theirs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Literal

import numpy as np
import torch
from jsonargparse.typing import NonNegativeFloat, PositiveFloat, PositiveInt
from torch import Tensor, nn

from fovea.agents.adaptation.modulated import Modulated
from fovea.agents.adaptation.pool import Pool
from fovea.atari.frames import Frames
from fovea.atari.shards import Shards
from fovea.pretrain.encoders.encoder import Encoder, Features

SCREENS, BATCH = 2048, 256  # that queries are centred with; encoded at once


class Pooled(Modulated):
    """A ViT with a pool of modulators.

    A query is what the encoder without modulators says of the screens: `embedded` is the mean of
    the patch tokens before the first block, which costs nothing; `final` is the summary, which
    costs a second pass. Queries share a large common part: where `recordings` are given (of the
    games the encoder was pretrained on, say) it is taken out with their mean and deviation.

    Args:
        encoder: a reference or an encoder, a ViT.
        make: makes the modulators of timm's model.
        size: how many there are, each with a key.
        picks: how many a sample picks.
        query: what the keys are compared with, `embedded` or `final`.
        recordings: what queries are centred with; not at all by default.
        pull: weight of what moves the keys towards the queries that picked them.
        penalty: whether, while training, keys that earlier games used count less.
        key_scale: keys start uniform between it and its negative.
        lr_scale: learning rate of modulators and keys as a share of the heads'.

    Raises UserError where the encoder is no ViT, and for more picks than modulators.
    """

    def __init__(
        self,
        encoder: str | Encoder,
        make: Callable[[nn.Module], Iterable[nn.Module]],
        size: PositiveInt,
        picks: PositiveInt,
        query: Literal["embedded", "final"] = "embedded",
        recordings: Sequence[str] = (),
        pull: NonNegativeFloat = 0.5,
        penalty: bool = True,
        key_scale: PositiveFloat = 0.02,
        lr_scale: float = 1.0,
    ):
        super().__init__(encoder, lr_scale, make)
        self.pool = Pool(size, self.dim, picks, pull, penalty, key_scale)
        self.query, self.recordings = query, recordings
        self.learnt: tuple[Tensor, Tensor] | None = None

    def begin(self, seed: int) -> None:
        super().begin(seed)
        self.pool.begin(seed)

    def forward(self, screens: Tensor) -> Features:
        return self.encode(self.encoder.scale(screens))

    def encode(self, pixels: Tensor) -> Features:
        tokens = self.encoder.embed(pixels)
        self.choose(tokens)
        return self.encoder.attend(tokens)

    def attention(self, screens: Tensor) -> Tensor:
        self.choose(self.encoder.embed(self.encoder.scale(screens)))
        return self.encoder.attention(screens)

    def choose(self, tokens: Tensor) -> None:
        """Let embedded tokens (B, 1 + N, D) pick their modulators."""
        queries = self.pool.centred(self.asked(tokens))
        self.picked = self.pool(queries)
        if torch.is_grad_enabled() and self.learnt is None:
            # What a step looks at first are the screens as they were played.
            self.learnt = queries, self.picked
        self.enter(self.picked)

    @torch.no_grad()
    def asked(self, tokens: Tensor) -> Tensor:
        """The queries (B, D) of embedded tokens (B, 1 + N, D)."""
        if self.query == "embedded":
            return tokens[:, 1:].mean(dim=1)
        self.enter(None)
        return self.encoder.attend(tokens).summary

    def enter(self, picked: Tensor | None) -> None:
        """Set what the modulators take: the picked entries (B, picks), or none of them."""
        for modulator in self.modulators:
            modulator.entry = picked

    def mark(self, features: Tensor) -> Tensor:
        if not self.heads:
            return features
        return torch.cat([features, self.picked[:, :1].to(features.dtype)], dim=1)

    def penalties(self) -> dict[str, Tensor]:
        queries, picked = self.learnt
        self.learnt = None
        self.shares = self.pool.count(picked)
        return {"pull": self.pool.loss(queries, picked)}

    def notes(self) -> dict[str, Tensor]:
        """How many keys the batch picked: e to the entropy of their shares."""
        return {"keys": torch.special.entr(self.shares).sum().exp()}

    def settle(self) -> None:
        if self.recordings and not self.pool.choice.centred:
            self.pool.centre(self.recorded())
        self.recordings = ()
        self.pool.settle()

    def next_task(self) -> None:
        self.pool.next_task()

    @torch.no_grad()
    def recorded(self) -> Tensor:
        """(n, D) queries of up to 2,048 stacks of screens, spread evenly over the recordings.

        Raises UserError for what is no recording, and for one that is damaged.
        """
        shards = Shards.find(self.recordings)
        last = np.linspace(self.stack, len(shards), min(SCREENS, len(shards) // self.stack))
        rows = last.astype(np.int64)[:, None] - np.arange(self.stack, 0, -1)
        frames = Frames.read(shards, rows.flatten())
        whole = (frames.episode.view(rows.shape) == frames.episode.view(rows.shape)[:, :1]).all(1)
        stacks = frames.screens.unflatten(0, rows.shape)[whole]
        device = self.pool.keys.device
        return torch.cat(
            [
                self.asked(self.encoder.embed(self.encoder.scale(some.to(device))))
                for some in stacks.split(BATCH)
            ]
        )
