"""Encoders whose modulators have many entries, of which each sample's screens choose some."""

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

Query = Literal["embedded", "final"]

SCREENS, BATCH = 2048, 256  # whose queries are centred; that are encoded at once


class Pooled(Modulated):
    """A ViT with a pool of modulators.

    A query is computed by the encoder without modulators: `embedded` is the mean of the patch
    tokens before the first block, which costs nothing; `final` is the CLS token after the last,
    which costs a second pass. Queries have a large common part: where `recordings` are given (such
    as those the encoder was pretrained on) it is removed with their mean and standard deviation.

    Args:
        encoder: a reference or an encoder, a ViT.
        make: makes the modulators of timm's model.
        size: number of entries, each with a key.
        picks: number of entries that a sample chooses.
        query: see `L2M`.
        recordings: see `L2M`.
        pull: see `L2M`.
        penalty: see `L2M`.
        key_scale: see `L2M`.
        lr_scale: see `L2M`.

    Raises UserError where the encoder is no ViT, and for more picks than modulators.
    """

    def __init__(
        self,
        encoder: str | Encoder,
        make: Callable[[nn.Module], Iterable[nn.Module]],
        size: PositiveInt,
        picks: PositiveInt,
        query: Query,
        recordings: Sequence[str],
        pull: NonNegativeFloat,
        penalty: bool,
        key_scale: PositiveFloat,
        lr_scale: NonNegativeFloat,
    ):
        super().__init__(encoder, lr_scale, make)
        width = self.summary_dim if query == "final" else self.dim
        self.pool = Pool(size, width, picks, pull, penalty, key_scale)
        self.query, self.recordings = query, recordings
        self.to_learn: tuple[Tensor, Tensor] | None = None

    def reset_parameters(self, seed: int) -> None:
        super().reset_parameters(seed)
        self.pool.reset_parameters(seed)

    def forward(self, screens: Tensor, blocks: Sequence[int] = ()) -> Features:
        self.check_blocks(blocks)
        return self.encode_blocks(self.encoder.scale(screens), blocks)

    def encode(self, pixels: Tensor) -> Features:
        return self.encode_blocks(pixels, ())

    def encode_blocks(self, pixels: Tensor, blocks: Sequence[int]) -> Features:
        tokens = self.encoder.embed(pixels)
        self.choose(tokens)
        return self.encoder.attend(tokens, blocks=blocks)

    def attention(self, screens: Tensor) -> Tensor:
        self.choose(self.encoder.embed(self.encoder.scale(screens)))
        return self.encoder.attention(screens)

    def choose(self, tokens: Tensor) -> None:
        """Let embedded tokens (B, 1 + N, D) choose their modulators."""
        queries = self.pool.centred(self.queries(tokens))
        self.picked = self.pool(queries)
        if torch.is_grad_enabled() and self.to_learn is None:
            # The first screens that a step encodes are the stored ones, without augmentations.
            self.to_learn = queries, self.picked
        self.enter(self.picked)

    @torch.no_grad()
    def queries(self, tokens: Tensor) -> Tensor:
        """The queries (B, D) of embedded tokens (B, 1 + N, D)."""
        if self.query == "embedded":
            return tokens[:, self.encoder.vit.num_prefix_tokens :].mean(dim=1)
        self.enter(None)
        return self.encoder.attend(tokens).summary

    def enter(self, picked: Tensor | None) -> None:
        """Set the modulators' entries: the chosen ones (B, picks), or none."""
        for modulator in self.modulators:
            modulator.entry = picked

    def append_head_index(self, features: Tensor) -> Tensor:
        if not self.head_count:
            return features
        return torch.cat([features, self.picked[:, :1].to(features.dtype)], dim=1)

    def penalties(self) -> dict[str, Tensor]:
        assert self.to_learn, "penalties are of a batch that was encoded with gradients"
        queries, picked = self.to_learn
        self.to_learn = None
        self.shares = self.pool.count(picked)
        return {"pull": self.pool.loss(queries, picked)}

    def notes(self) -> dict[str, Tensor]:
        """How many keys the batch chose: e to the entropy of their shares."""
        return {"keys": torch.special.entr(self.shares).sum().exp()}

    def on_collect_start(self) -> None:
        if self.recordings and not self.pool.choice.centred:
            self.pool.centre(self.recorded())
        self.recordings = ()
        self.pool.on_collect_start()

    def on_task_start(self) -> None:
        self.pool.on_task_start()

    @torch.no_grad()
    def recorded(self) -> Tensor:
        """(n, D) queries of up to 2,048 stacks of screens, evenly spread over the recordings.

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
                self.queries(self.encoder.embed(self.encoder.scale(batch.to(device))))
                for batch in stacks.split(BATCH)
            ]
        )
