"""Recordings as data sets of Minari (minari.farama.org), and which screens those hold."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from fovea.atari.emulator import SCREEN
from fovea.atari.export import episodes
from fovea.atari.parquet import Shard
from fovea.atari.recordings import open_dataset, read_dataset
from fovea.command import UserError
from fovea.files import replacing_folder

RECORDING, ORIGIN, SHARD, POLICY = "fovea_recording", "fovea_origin", "shard", "policy"
"""Keys of the metadata: the recording's SHA-256 and origin; an episode's shard and policy."""
INFOS = "lives", "ram"


def minari() -> ModuleType:
    """The module. Raises UserError where it is not installed."""
    try:
        import minari
    except ImportError:
        raise UserError("Minari is not installed: pip install 'fovea-rl[minari]'") from None
    return minari


def export_minari(folder: Path, out: Path) -> Iterator[int]:
    """Write a recording as the Minari data set fovea/GAME-v0 under OUT; yields steps.

    MINARI_DATASETS_PATH=OUT lets minari.load_dataset("fovea/pong-v0") find it. Observations are
    (84, 84) uint8, as they were recorded and not JPEG; actions count in the recording's action set;
    lives and the console's memory are infos. Minari wants an observation more than there are steps:
    the last one is that before it once more, since a recording holds the screens that were acted
    on. The metadata has what `import_minari` makes the recording of again, to the byte. A data set
    that is there of the same recording is kept.

    Raises UserError for a recording that is unfinished or damaged.
    """
    minari()
    from gymnasium.spaces import Box, Discrete
    from minari.dataset.minari_storage import MinariStorage

    dataset = open_dataset(folder)
    out = out.resolve()  # Minari takes a relative path for one below its own folder
    to = minari_folder(out, dataset.origin.game)
    if _is_of(to, dataset.sha256):
        yield dataset.rows
        return
    (out / "fovea").mkdir(parents=True, exist_ok=True)
    (out / "fovea" / "namespace_metadata.json").write_text("{}")
    with replacing_folder(to) as building:
        storage = MinariStorage.new(
            building / "data",
            observation_space=Box(0, 255, SCREEN, np.uint8),
            action_space=Discrete(len(dataset.origin.actions)),
            data_format="arrow",
            jpeg_encoding=False,
        )
        for shard in read_dataset(folder, dataset):
            yield from _add(storage, shard)
        storage.update_metadata(
            {
                "dataset_id": f"fovea/{to.name}",
                "minari_version": minari().__version__,
                "algorithm_name": dataset.origin.policy,
                "description": f"{dataset.counts} of {dataset.origin.game}, recorded by Fovea. "
                "The last observation of an episode is that before it once more.",
                ORIGIN: json.dumps(dataset.origin.record()),
                RECORDING: dataset.sha256,
            }
        )


def minari_folder(out: Path, game: str) -> Path:
    """Where the data set of a game lies below a folder of Minari's."""
    return out / "fovea" / f"{game.replace('_', '-')}-v0"


def _add(storage: Any, shard: Shard) -> Iterator[int]:
    """Add the episodes of a shard; yields the steps of each."""
    from minari.data_collector.episode_buffer import EpisodeBuffer

    columns = {name: shard.column(name) for name in ("action", "reward", "terminal", "truncated")}
    screens = shard.column("screen").reshape(-1, *SCREEN)
    held = {name: shard.column(name) for name in INFOS if not shard.table[name].null_count}
    for _, rows in episodes(shard):
        number = storage.total_episodes
        once_more = np.append(np.arange(rows.start, rows.stop), rows.stop - 1)
        infos: dict[str, Any] = {name: column[once_more] for name, column in held.items()}
        if "lives" in infos:
            infos["lives"] = infos["lives"].tolist()  # Minari 0.5.4 cannot read a flat array back
        episode = EpisodeBuffer(
            id=number,
            observations=screens[once_more],
            actions=columns["action"][rows].astype(np.int64),
            rewards=columns["reward"][rows].astype(np.float64),
            terminations=columns["terminal"][rows],
            truncations=columns["truncated"][rows],
            infos=infos or None,
        )
        storage.update_episodes([episode])
        policy = shard.origin.policy_names[shard.policy[rows.start]]
        storage.update_episode_metadata([{SHARD: shard.path.stem, POLICY: policy}], [number])
        yield rows.stop - rows.start


def _is_of(folder: Path, sha256: str) -> bool:
    """Whether a data set is there, whole, and of this recording."""
    path = folder / "data" / "metadata.json"
    try:
        return json.loads(path.read_text(encoding="utf-8"))[RECORDING] == sha256
    except (OSError, ValueError, KeyError, TypeError):  # absent, another's, or damaged
        return False
