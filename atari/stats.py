"""What recordings hold, by game and policy; screens are looked at for repeats alone."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from fovea.atari.games import GAMES
from fovea.atari.parquet import Damaged, read_columns
from fovea.atari.recordings import Dataset, check_origin, open_dataset, read_dataset
from fovea.command import UserError


@dataclass(frozen=True)
class Tier:
    """The episodes of one policy in a recording, or in several.

    Attributes:
        policy: its name, and where others have it too what tells them apart.
        returns: (E,) raw returns of the episodes.
        lengths: (E,) their agent steps.
        truncated: how many of them were cut short.
        actions: how often each action was taken, by its name.
    """

    policy: str
    returns: np.ndarray
    lengths: np.ndarray
    truncated: int
    actions: dict[str, int]

    @property
    def steps(self) -> int:
        return int(self.lengths.sum())


def tiers(folder: Path, dataset: Dataset) -> list[Tier]:
    """One for each policy of a recording, weak to strong as they were given.

    Raises UserError that names a damaged shard.
    """
    origin = dataset.origin
    names = origin.policy_names
    returns, lengths, policies, truncated = [], [], [], []
    actions = np.zeros((len(names), len(origin.actions)), np.int64)
    for listed in dataset.shards:
        path = folder / listed["file"]
        try:
            shard = read_columns(path, ["action", "reward", "truncated", "episode"])
            check_origin(shard, dataset)
            policy, action = shard.policy, shard.column("action")
            if action.max(initial=0) >= len(origin.actions):
                raise Damaged("an action is not in the game's action set")
        except Damaged as damage:
            raise UserError(f"{path}: {damage}; `fovea atari verify {folder}` says more") from None
        first = np.flatnonzero(np.diff(shard.column("episode"), prepend=-1))
        returns.append(np.add.reduceat(shard.column("reward").astype(np.int64), first))
        lengths.append(np.diff(first, append=len(policy)))
        policies.append(policy[first])
        truncated.append(np.logical_or.reduceat(shard.column("truncated"), first))
        np.add.at(actions, (policy, action), 1)
    columns = (np.concatenate(each) for each in (returns, lengths, policies, truncated))
    total, length, policy, cut = columns
    return [
        Tier(
            name,
            total[policy == index],
            length[policy == index],
            int(cut[policy == index].sum()),
            dict(zip(origin.actions, actions[index].tolist(), strict=True)),
        )
        for index, name in enumerate(names)
    ]


def by_game(folders: Iterable[Path]) -> dict[str, list[Tier]]:
    """The tiers of all recordings of each game; those of one player are put together.

    See `Origin.players`; where two of them have one name, what else is known of each is added.
    """
    games: dict[str, dict[tuple[str, str], Tier]] = {}
    for folder in folders:
        dataset = open_dataset(folder)
        found = games.setdefault(dataset.origin.game, {})
        for player, tier in zip(dataset.origin.players, tiers(folder, dataset), strict=True):
            found[player] = _both(found[player], tier) if player in found else tier
    return {game: list(_told_apart(found)) for game, found in games.items()}


def _told_apart(found: Mapping[tuple[str, str], Tier]) -> Iterator[Tier]:
    names = Counter(name for name, _ in found)
    for (name, known), tier in found.items():
        yield replace(tier, policy=f"{name} ({known})") if names[name] > 1 else tier


def repeats(
    folders: Iterable[Path], looked: Callable[[int], object] = lambda rows: None
) -> dict[str, tuple[int, int]]:
    """How many screens of each game there are, and how many of them occurred before.

    Args:
        folders: of single games, see `find_recordings`.
        looked: called with the number of rows that were read since it was called last.

    Raises UserError that names a damaged shard.
    """
    rows: dict[str, int] = {}
    seen: dict[str, set[bytes]] = {}
    for folder in folders:
        dataset = open_dataset(folder)
        game = dataset.origin.game
        for shard in read_dataset(folder, dataset):
            screens = shard.column("screen")
            hashes = {hashlib.blake2b(screen, digest_size=8).digest() for screen in screens}
            seen.setdefault(game, set()).update(hashes)
            rows[game] = rows.get(game, 0) + len(screens)
            looked(len(screens))
    return {game: (count, count - len(seen[game])) for game, count in rows.items()}


def _both(one: Tier, other: Tier) -> Tier:
    names = [*one.actions, *(name for name in other.actions if name not in one.actions)]
    return Tier(
        one.policy,
        np.concatenate([one.returns, other.returns]),
        np.concatenate([one.lengths, other.lengths]),
        one.truncated + other.truncated,
        {name: one.actions.get(name, 0) + other.actions.get(name, 0) for name in names},
    )


def overview(tiers: list[Tier]) -> Iterator[str]:
    """A line for each policy: its steps, its episodes, and their mean return."""
    width = max(len(tier.policy) for tier in tiers)
    for tier in tiers:
        mean = f"{tier.returns.mean():.2f}" if len(tier.returns) else "no"
        yield (
            f"{tier.policy:<{width}}  {tier.steps:>9,} steps  {len(tier.returns):>6,} episodes  "
            f"{mean:>9} mean return"
        )


def lines(game: str, tiers: list[Tier]) -> Iterator[str]:
    """A table of a game's policies and how often they took each action, as text."""
    scores = GAMES[game]
    yield f"{game} (the random agent {scores.random:g}, a human tester {scores.human:g})"
    heading = "actions, % of steps"
    width = max(len(heading), *(len(tier.policy) for tier in tiers))
    yield (
        f"  {'policy':<{width}} {'steps':>9} {'episodes':>8} {'cut short':>9} {'length':>7} "
        f"{'return':>9} {'least':>8} {'median':>8} {'most':>8}"
    )
    for tier in tiers:
        if not len(tier.returns):
            yield f"  {tier.policy:<{width}} {0:>9} {0:>8}"
            continue
        least, median, most = np.quantile(tier.returns, [0, 0.5, 1])
        yield (
            f"  {tier.policy:<{width}} {tier.steps:>9,} {len(tier.returns):>8,} "
            f"{tier.truncated:>9,} {tier.lengths.mean():>7,.0f} {tier.returns.mean():>9.2f} "
            f"{least:>8g} {median:>8g} {most:>8g}"
        )
    names = list(dict.fromkeys(name for tier in tiers for name in tier.actions))
    yield f"  {heading:<{width}} " + " ".join(f"{name:>6}" for name in names)
    for tier in tiers:
        shares = (
            f"{100 * tier.actions.get(name, 0) / max(tier.steps, 1):>{max(6, len(name))}.1f}"
            for name in names
        )
        yield f"  {tier.policy:<{width}} " + " ".join(shares)
