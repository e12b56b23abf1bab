"""Supervised: predict the console's memory from its screens, as the upper bound of the probes.

With random labels it is the control of every pretraining: the same encoder, trained equally long on
memories that have nothing to do with the screens. The variables are AtariARI's (Anand et al. 2019,
arXiv 1906.08226): those of its table whose bytes vary (`ram.varied`).

The head takes features centred per game (`terms.centering`): over a batch of several games, the
differences between a game's screens are too small a part of the features to learn from.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from einops import rearrange
from jsonargparse.typing import NonNegativeInt
from torch import Tensor, nn

from fovea.atari.frames import Frames
from fovea.atari.ram import varied
from fovea.command import UserError
from fovea.pretrain.encoders.vit import Shape
from fovea.pretrain.objectives.base import Objective
from fovea.pretrain.optim import Optimisation
from fovea.pretrain.terms.centering import center_per_game
from fovea.pretrain.terms.precision import full_precision
from fovea.pretrain.terms.weighted_mean import weighted_mean
from fovea.seeding import Draws, Stream, seeded, uniform_by_index

VALUES = 256  # of a byte


class Supervised(Objective):
    """The varying bytes of each game's memory, predicted linearly from summary and mean token.

    Args:
        loss: regression: squared error of the bytes, standardised per game over the training
            screens; classification: cross-entropy of the 256 values of each.
        random: each screen gets the memory of another training screen of its game, chosen by the
            seed and always the same. Features that collapse then are a result and end no run.
        encoder: shape of the encoder that is pretrained.
        optimisation: optimiser and learning rate.
        compiled: compile the encoder and its teachers with torch.compile.
        seed: of the initial weights and of every draw.
    """

    def __init__(
        self,
        loss: Literal["regression", "classification"] = "regression",
        random: bool = False,
        encoder: Shape = Shape(),
        optimisation: Optimisation = Optimisation(),
        compiled: bool = False,
        seed: NonNegativeInt = 0,
    ):
        super().__init__(encoder, optimisation, compiled, seed)
        self.classifies, self.random = loss == "classification", random
        self.may_collapse = random
        self.labels = ("ram", "game", "place") if random else ("ram", "game")

    def prepare(self, frames: Frames) -> None:
        """Find the Q bytes of all games that are predicted, each with its game, mean and std.

        Raises UserError where no game has a table of its memory.
        """
        memory = [frames.of(game).labels["ram"] for game in frames.games]
        variables = [
            (index, variable.byte)
            for index, (game, ram) in enumerate(zip(frames.games, memory, strict=True))
            for variable in varied(game, ram.cpu())
        ]
        if not variables:
            raise UserError(
                f"no table names the memory of {', '.join(frames.games)}: record another game"
            )
        game, byte = torch.tensor(variables).T
        counts = [memory[g][:, b].long().bincount(minlength=VALUES) for g, b in variables]
        shares = torch.stack(counts).double()
        shares /= shares.sum(1, keepdim=True)
        values = torch.arange(VALUES, dtype=shares.dtype, device=shares.device)
        mean = shares @ values
        std = (shares @ values.pow(2) - mean.pow(2)).sqrt()
        self.register_buffer("game", game)
        self.register_buffer("byte", byte)
        self.register_buffer("mean", mean.float())
        self.register_buffer("std", std.float())
        self.memory = frames.labels["ram"]
        self.screens = frames.game.bincount(minlength=len(frames.games))
        outputs = len(variables) * (VALUES if self.classifies else 1)
        with seeded(Stream.OBJECTIVE_HEAD, self.seed), torch.no_grad():
            self.head = nn.Linear(self.state_dim, outputs)
            if self.classifies:  # starts from how often each value occurs
                self.head.bias.copy_(shares.clamp(min=1e-6).log().flatten())

    def views(
        self, windows: Tensor, draws: Draws, ram: Tensor, game: Tensor, place: Tensor | None = None
    ) -> tuple[Tensor, ...]:
        """Screens (B, stack, H, W) uint8, the bytes (B, Q) int64 and the game (B,) int64."""
        ram, game = ram[:, 0], game[:, 0]
        if self.random and place is not None:
            ram = self.memory[self.random_places(place[:, 0], game)]
        return windows[:, 0], ram[:, self.byte].long(), game

    def random_places(self, place: Tensor, game: Tensor) -> Tensor:
        """(B,) int64: for screens `place` of a `game` (B,), those whose memory they get instead."""
        # The screens of a game lie side by side.
        first = self.screens.cumsum(0) - self.screens
        share = uniform_by_index(place, Stream.RANDOM_LABELS, self.seed)
        return first[game] + (share * self.screens[game]).long()

    def losses(self, screens: Tensor, state: Tensor, game: Tensor) -> dict[str, Tensor]:
        (features,) = self.encode(screens)
        state, game = self.gather(state, game)
        mask = (game[:, None] == self.game).float()
        target = (state - self.mean) / self.std
        prediction = self.head(center_per_game(self.state(features), game))
        if self.classifies:
            logits = rearrange(prediction, "b (q v) -> b q v", v=VALUES)
            loss = classification_loss(logits, state, mask)
            prediction = (expected_byte(logits) - self.mean) / self.std
        else:
            loss = regression_loss(prediction, target, mask)
        self.note(state_r2=r2(prediction, target, mask))
        return {"state": loss}


@full_precision
def regression_loss(prediction: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    """Mean squared error of standardised bytes (B, Q), where `mask` is 1."""
    return weighted_mean((prediction - target).pow(2), mask)


@full_precision
def classification_loss(logits: Tensor, state: Tensor, mask: Tensor) -> Tensor:
    """Mean cross-entropy of logits (B, Q, 256) and bytes (B, Q), where `mask` is 1."""
    return weighted_mean(F.cross_entropy(logits.mT, state, reduction="none"), mask)


@full_precision
def expected_byte(logits: Tensor) -> Tensor:
    """(B, Q) the mean byte of the distributions with logits (B, Q, 256)."""
    return logits.softmax(-1) @ torch.arange(VALUES, dtype=logits.dtype, device=logits.device)


@full_precision
def r2(prediction: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    """R2 of standardised bytes (B, Q), pooled: the share of their variance that is explained.

    1: all of it, 0: no better than the mean of the training screens, below 0: worse than that.
    """
    errors = weighted_mean((prediction - target).pow(2), mask)
    return 1 - errors / weighted_mean(target.pow(2), mask)
