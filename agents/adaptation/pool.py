"""A pool's keys and how queries choose among them: L2M (Schmied et al. 2023, 2306.14884)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fovea.command import UserError
from fovea.seeding import Stream, seeded


def cosines(queries: Tensor, keys: Tensor) -> Tensor:
    """(B, P) cosines of queries (B, D) and keys (P, D).

    Row by row and in full precision, so that a sample's choice is the same in every batch.
    """
    unit = F.normalize(queries, dim=-1)[:, None] * F.normalize(keys, dim=-1)
    return unit.sum(dim=-1)


def rarity(usage: Tensor) -> Tensor:
    """(P,) weights that favour seldom chosen keys, with sum 1; `usage` (P,) are shares."""
    weights = 1 / (usage + 1e-6)
    return weights / weights.sum()


def penalised(similar: Tensor, weights: Tensor) -> Tensor:
    """(B, P) cosines, in [0, 1] and weighted by rarity, as they count while training."""
    return (similar + 1) / 2 * weights


class Choice(nn.Module):
    """What a choice depends on; it changes only when collecting starts and with the next game.

    A deep copy is itself: a target network chooses as the online one does.

    Attributes:
        keys: (P, D), the learnt keys when experience was last started to be collected.
        weights: (P,), the rarity of each by the end of the last game; all 1 in the first.
        usage: (P,), the mean over all updates of each key's share of the choices.
        updates: number of updates so far.
        mean: (D,) of queries; 0 where they are not centred.
        std: (D,) of queries; 1 where they are not centred.
        centred: whether they are.
    """

    def __init__(self, size: int, width: int):
        super().__init__()
        self.register_buffer("keys", torch.empty(size, width))
        self.register_buffer("weights", torch.ones(size))
        self.register_buffer("usage", torch.zeros(size, dtype=torch.float64))
        self.register_buffer("updates", torch.zeros((), dtype=torch.int64))
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("std", torch.ones(width))
        self.register_buffer("centred", torch.zeros((), dtype=torch.bool))

    def __deepcopy__(self, memo: dict) -> Choice:
        return self


class Pool(nn.Module):
    """P keys; a query chooses those with the largest cosines.

    While training, keys that earlier games used count less, in proportion to their use (with
    weights of a millionth and less: a game gets keys of its own as long as there are any). In an
    evaluation they do not, so that a game's screens find the keys that they were learnt with.

    Only the pull moves the keys. With Adam its weight hardly matters, but how far the keys move
    relative to their initial length does: hence small initial keys, which cosines do not notice.

    Args:
        size: P.
        width: D.
        picks: keys that a query chooses.
        pull: weight of the cosine between a query and its chosen keys, in the loss.
        penalty: whether used keys count less.
        scale: initial keys are uniform in +-scale.

    Raises UserError for more picks than keys.
    """

    def __init__(self, size: int, width: int, picks: int, pull: float, penalty: bool, scale: float):
        super().__init__()
        if picks > size:
            raise UserError(f"picks {picks} of a pool of {size}: take fewer, or a larger size")
        self.picks, self.pull, self.penalty, self.scale = picks, pull, penalty, scale
        self.keys = nn.Parameter(torch.empty(size, width))
        self.choice = Choice(size, width)
        self.reset_parameters(0)

    @torch.no_grad()
    def reset_parameters(self, seed: int) -> None:
        """Draw the keys anew."""
        with seeded(Stream.POOL_KEYS, seed):
            self.keys.uniform_(-self.scale, self.scale)
        self.on_collect_start()

    @torch.no_grad()
    def forward(self, queries: Tensor) -> Tensor:
        """(B, picks) int64, the keys that centred queries (B, D) choose, the most similar first."""
        similar = cosines(queries, self.choice.keys)
        if self.training:
            similar = penalised(similar, self.choice.weights)
        return similar.topk(self.picks).indices

    def centred(self, queries: Tensor) -> Tensor:
        """Queries (B, D) less their mean, in units of their standard deviation."""
        return (queries.to(self.choice.mean.dtype) - self.choice.mean) / self.choice.std

    def centre(self, queries: Tensor) -> None:
        """From now on queries are centred with the mean and standard deviation of these (N, D)."""
        self.choice.mean.copy_(queries.mean(dim=0))
        self.choice.std.copy_(queries.std(dim=0).clamp_min(1e-6))
        self.choice.centred.fill_(True)

    def loss(self, queries: Tensor, picked: Tensor) -> Tensor:
        """The loss that pulls the chosen keys (B, picks) towards centred queries (B, D).

        Each cosine is multiplied by the length of its key: its gradient goes with one over that
        length, and would else take most of what gradient clipping leaves to the whole agent.
        """
        keys = self.keys[picked]
        similar = F.cosine_similarity(keys, queries[:, None], dim=-1)
        return -self.pull * (similar * keys.detach().norm(dim=-1)).sum(dim=1).mean()

    @torch.no_grad()
    def count(self, picked: Tensor) -> Tensor:
        """Add the shares (P,) of keys that a batch chose (B, picks) to `usage`; returns them."""
        choice = self.choice
        share = F.one_hot(picked.flatten(), len(self.keys)).double().mean(dim=0)
        choice.updates += 1
        choice.usage += (share - choice.usage) / choice.updates
        return share

    def on_collect_start(self) -> None:
        """From now on choose by the keys as they are now."""
        self.choice.keys.copy_(self.keys.detach())

    def on_task_start(self) -> None:
        """From now on weigh the keys by their use so far."""
        if self.penalty:
            self.choice.weights.copy_(rarity(self.choice.usage))
