"""An encoder's features of training, validation and test episodes, computed once."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor
from tqdm import tqdm

from fovea.atari.frames import Frames
from fovea.command import UserError
from fovea.pretrain.encoders.encoder import Encoder, Features, inference
from fovea.probes.references import FITTED, Pixels
from fovea.progress import bar
from fovea.seeding import Stream, keyed

SHARES = (0.7, 0.1, 0.2)  # of the episodes, and of the samples: training, validation, test
BATCH = 256

T = TypeVar("T")


class NotMeasured(Exception):
    """This probe does not apply to this encoder or game; the text gives the reason."""


class Split(NamedTuple):
    """Stacks drawn from the training, validation or test episodes of a game, and their features."""

    frames: Frames
    at: Tensor
    """(n,) int64, ascending: which screens of `frames` are the newest of their stack."""
    summary: Tensor
    """(n, D) float32."""
    mean_token: Tensor
    """(n, D) float32; (n, 0) where the encoder has no tokens."""

    @property
    def summary_and_mean(self) -> Tensor:
        """(n, 2 D) float32: summary and mean token side by side."""
        return torch.cat([self.summary, self.mean_token], dim=1)

    @property
    def ram(self) -> Tensor:
        """(n, 128) int64: the memory at the newest screen of each stack."""
        return self.frames.labels["ram"][self.at].long()


Drawn = tuple[Frames, Tensor]
"""The frames of some episodes, and which of them are the newest of a drawn stack."""


class Splits(NamedTuple):
    """A game's episodes, divided; no screen of a later split occurs in an earlier one."""

    training: Split
    validation: Split
    test: Split


def draw(
    frames: Frames, stack: int, *, samples: int = 8600, seed: int = 0
) -> dict[str, list[Drawn]]:
    """`samples` stacks a game, drawn by `seed` from training, validation and test episodes.

    Of the test episodes stacks are drawn in pairs of neighbours in time, for as many as there are.

    Raises UserError where a game has too few episodes, or none of its held-out screens is new.
    """
    return {game: _of_game(frames.of(game), stack, samples, seed) for game in frames.games}


def encode(encoder: Encoder, drawn: dict[str, list[Drawn]]) -> dict[str, Splits]:
    """Every drawn stack with the encoder's features of it, by game."""
    total = sum(len(at) for splits in drawn.values() for _, at in splits)
    encoded = {}
    of_game = fitted(encoder, drawn)
    with bar("  encoding", "stacks", total, inner=True) as progress:
        for game, splits in drawn.items():
            progress.set_description(f"  encoding: {game}")
            own = of_game(game)
            encoded[game] = Splits(
                *(Split(*split, *_features(own, *split, progress)) for split in splits)
            )
    return encoded


def fitted(encoder: Encoder, drawn: Mapping[str, Sequence[Drawn]]) -> Callable[[str], Encoder]:
    """The encoder of a game: itself, or components of pixels fitted to training stacks."""
    if not isinstance(encoder, Pixels):
        return lambda game: encoder
    if not encoder.pooled:
        return lambda game: encoder.fitted(stacks(encoder, *drawn[game][0]))
    each = FITTED // len(drawn)
    training = [
        stacks(encoder, frames, evenly_spaced(at, each)) for (frames, at), *_ in drawn.values()
    ]
    pooled = encoder.fitted(torch.cat(training))
    return lambda game: pooled


def again(encoder: Encoder, games: Mapping[str, Splits]) -> Callable[[str], Encoder]:
    """As `fitted`, for probes that encode more screens of a game than were drawn."""
    return fitted(
        encoder, {name: [(of.frames, of.at) for of in splits] for name, splits in games.items()}
    )


def summary_and_mean(encoder: Encoder, screens: Tensor) -> Tensor:
    """(n, 2 D) float32 of stacks (n, stack, H, W) uint8: summary and mean token side by side."""
    with inference(encoder):
        return torch.cat([torch.cat(_pooled(encoder(s)), dim=1) for s in screens.split(BATCH)])


def _of_game(frames: Frames, stack: int, samples: int, seed: int) -> list[Drawn]:
    generator = keyed("cpu", Stream.PROBE_SCREENS, seed)
    drawn = []
    divided = zip(frames.split(SHARES, seed=seed), SHARES, (_draw, _draw, _draw_pairs), strict=True)
    for split, share, of_part in divided:
        at = of_part(split, stack, max(2, round(share * samples)), generator)
        if not len(at):
            raise UserError(
                f"the held-out episodes of {frames.games[0]} show no screen that training lacks: "
                "collect more of it with a larger --steps"
            )
        drawn.append((split, at))
    return drawn


def _draw(frames: Frames, stack: int, count: int, generator: torch.Generator) -> Tensor:
    anchors = frames.starts(stack)
    return anchors[torch.randperm(len(anchors), generator=generator)[:count]].sort().values


def _draw_pairs(frames: Frames, stack: int, count: int, generator: torch.Generator) -> Tensor:
    first = frames.starts(stack, (0, 1))
    first = first[torch.isin(first + 1, frames.starts(stack))]
    first = first[torch.randperm(len(first), generator=generator)[: count // 2]]
    return torch.cat([first, first + 1]).unique()


def neighbours(split: Split) -> Tensor:
    """(m,) int64: the k for which stack k + 1 of the split is one agent step after stack k."""
    later, episode = split.at[1:], split.frames.episode
    follows = (later == split.at[:-1] + 1) & (episode[later] == episode[split.at[:-1]])
    return follows.nonzero().flatten()


def evenly_spaced(at: Tensor, most: int) -> Tensor:
    """At most `most` of `at` (n,), evenly spread."""
    return at[torch.linspace(0, len(at) - 1, min(most, len(at))).long()]


def stacks(encoder: Encoder, frames: Frames, at: Tensor) -> Tensor:
    """(B, stack, H, W) uint8 on the encoder's device."""
    return frames.windows(at, encoder.stack)[:, 0].to(next(encoder.parameters()).device)


def _features(
    encoder: Encoder, frames: Frames, at: Tensor, progress: tqdm
) -> tuple[Tensor, Tensor]:
    summaries, means = [], []
    with inference(encoder):
        for some in at.split(BATCH):
            summary, mean = _pooled(encoder(stacks(encoder, frames, some)))
            summaries.append(summary)
            means.append(mean)
            progress.update(len(some))
    return torch.cat(summaries), torch.cat(means)


def _pooled(features: Features) -> tuple[Tensor, Tensor]:
    """(B, S) summary and (B, D) mean token, float32; D is 0 where there are no tokens."""
    summary, tokens = features
    mean = tokens.mean(1) if tokens.shape[1] else tokens.flatten(1)
    return summary.float(), mean.float()


def of_each(
    games: Mapping[str, Splits], doing: str, measure: Callable[[str, Splits], T]
) -> tuple[dict[str, T], list[str]]:
    """What is measured of each game, and why some are left out.

    Raises NotMeasured where all of them are.
    """
    found, left_out = {}, []
    for game in with_progress(games, doing):
        try:
            found[game] = measure(game, games[game])
        except NotMeasured as reason:
            left_out.append(f"{game}: {reason}")
    if not found:
        raise NotMeasured("; ".join(left_out))
    return found, left_out


def episodes(split: Split) -> Tensor:
    """(n,) int64 on the CPU: which episode each stack is of."""
    return split.frames.episode[split.at].cpu()


def with_progress(games: Collection[T], doing: str) -> Iterator[T]:
    """The games, with a line of progress that names the one in hand and is gone afterwards."""
    with bar(f"  {doing}", "games", len(games), inner=True) as progress:
        for game in games:
            progress.set_description(f"  {doing}: {game}")
            yield game
            progress.update()
