"""Record games that a random policy plays."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Callable
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path

import numpy as np

from fovea.atari.emulator import Emulator, Settings, rom_path
from fovea.atari.episode import Episode, columns
from fovea.atari.games import find
from fovea.atari.origin import IMPLIED, Origin, without_implied
from fovea.atari.parquet import first_episode
from fovea.atari.recorder import record_shards
from fovea.atari.recordings import Dataset

SHARD_STEPS = 5000
VERSIONS = "ale-py", "numpy", "opencv-python-headless"
"""The packages that what is recorded depends on."""
ALE_V5 = Settings()


def origin(
    game: str, settings: Settings, seed: int, shard_steps: int = SHARD_STEPS, keep: float = 0.0
) -> Origin:
    """Everything that determines the shards of a recording of `game`."""
    rom_id = find(game).rom_id
    kept = f", kept from the step before with chance {keep:g}" if keep else ""
    return Origin(
        game=rom_id,
        rom_md5=rom_md5(rom_id),
        settings=without_implied({**asdict(settings), "keep": keep, "shard_steps": shard_steps}),
        actions=Emulator(rom_id, settings, 0).actions,
        policy=f"random: uniform over the minimal action set{kept}",
        seed=seed,
        versions={name: version(name) for name in VERSIONS},
    )


def rom_md5(game: str) -> str:
    return hashlib.md5(rom_path(game).read_bytes()).hexdigest()


def record(
    origin: Origin, index: int, played: Callable[[int], None] = lambda steps: None
) -> dict[str, np.ndarray]:
    """The rows of shard `index`: whole episodes, at least `shard_steps` steps of them.

    They depend on `origin` and `index` alone. `played` is called with 100 after every 100 steps.
    """
    settings = IMPLIED | origin.settings
    shard_steps, keep = settings.pop("shard_steps"), settings.pop("keep")
    rng = np.random.default_rng([origin.seed, index, zlib.crc32(origin.game.encode())])
    emulator = Emulator(origin.game, Settings(**settings), seed=int(rng.integers(2**31)))
    episodes: list[Episode] = []
    steps = 0
    while steps < shard_steps:
        episode = Episode(emulator, noops=int(rng.integers(max(1, settings["noop_max"]))))
        episodes.append(episode)
        while not episode.over:
            kept = keep and episode.rows and rng.random() < keep
            if not kept:
                action = int(rng.integers(len(origin.actions)))
            episode.step(action)
            steps += 1
            if steps % 100 == 0:
                played(100)
    return columns(episodes, first_episode(origin, index))


def collect(
    games: list[str],
    out: str | Path,
    *,
    steps: int,
    seed: int = 0,
    settings: Settings = ALE_V5,
    shard_steps: int = SHARD_STEPS,
    keep: float = 0.0,
    workers: int | None = None,
    ray: str | None = None,
) -> list[Dataset]:
    """Record at least `steps` agent steps of each game, or go on where that was interrupted.

    Complete shards are kept, so that a kill loses at most one shard of each worker.

    Args:
        games: see `games.find`.
        out: folder, or an address of fsspec such as s3://bucket/recordings; each game gets a
            folder of its own in it.
        steps: agent steps per game; the last episode of a shard is played to its end.
        seed: of the games and the policy.
        settings: how the games are played.
        shard_steps: agent steps per shard, at least.
        keep: chance that the policy takes the action of the step before again, and not a random
            one; the first action of an episode is always random.
        workers: processes, by default one per core; what is recorded does not depend on it.
        ray: address of a Ray cluster whose tasks play in place of processes, or "local".

    Returns a Dataset for each game. Raises UserError for an unknown game, a folder in use, or a
    recording that was made with other settings.
    """
    origins = [origin(game, settings, seed, shard_steps, keep) for game in dict.fromkeys(games)]
    return record_shards(origins, out, steps, record, workers, ray)
