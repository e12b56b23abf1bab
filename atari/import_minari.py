"""Import data sets of Minari (minari.farama.org) into recordings."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from fovea.atari.emulator import Emulator, Settings
from fovea.atari.export_minari import INFOS, ORIGIN, POLICY, SHARD, minari
from fovea.atari.games import find
from fovea.atari.importing import SHARD_STEPS, import_episodes, screens, shards_of, whole
from fovea.atari.origin import Origin, Policy, unknown_settings
from fovea.atari.recordings import Dataset
from fovea.command import UserError, terminable
from fovea.files import exclusive

ENDS = "terminations", "truncations"
KWARGS = {
    "sticky": "repeat_action_probability",
    "frame_skip": "frameskip",
    "max_frames": "max_num_frames_per_episode",
    "mode": "mode",
    "difficulty": "difficulty",
}
"""Settings by the names that ALE's environments have for them."""
ID = re.compile(r"([\w-]+/)*[\w-]+-v\d+")


def import_minari(
    source: str, out: str | Path, *, game: str | None = None, shard_steps: int = SHARD_STEPS
) -> list[Dataset]:
    """Import a data set, or go on where that was interrupted; one shard is in memory at a time.

    What `export_minari` wrote becomes the recording that it was, to the byte. Of others the last
    observation of an episode is left out, since a recording holds the screens that were acted on.
    JPEG observations are decoded by Minari; `importing.SCREENS` says what becomes of their shapes.

    Args:
        source: folder of a data set (with `data` in it), or its id, such as atari/pong/expert-v0,
            which Minari looks for in MINARI_DATASETS_PATH and else downloads.
        out: folder; the game gets a folder in it.
        game: see `games.find`; where the data set does not name its environment.
        shard_steps: steps per shard, at least.

    Raises UserError where the data set is missing, of no game or of other shapes, and for a folder
    with another recording.
    """
    data = _opened(source)
    origin = _origin(data, source, game, shard_steps)
    with exclusive(out), terminable():
        return [
            import_episodes(
                Path(out) / origin.game,
                origin,
                _shards(data, shard_steps),
                partial(_rows, data, origin.policy_names[0]),
                data.total_episodes,
            )
        ]


def _opened(source: str) -> Any:
    """The data set. Raises UserError."""
    library = minari()
    if not Path(source).exists() and not ID.fullmatch(source):
        raise UserError(
            f"there is no folder {source}: give one with `data` in it, or an id of Minari such as "
            "atari/pong/expert-v0"
        )
    try:
        if Path(source).exists():
            return library.MinariDataset(Path(source) / "data")
        return library.load_dataset(source, download=True)
    except Exception as fault:  # of Minari, of what it downloads with, and of a damaged file
        said = " ".join(str(fault).split()) or type(fault).__name__
        raise UserError(
            f"{source} is no data set of Minari that can be opened ({said[:200]}): give a folder "
            "with `data` in it, or an id such as atari/pong/expert-v0"
        ) from None


def _origin(data: Any, source: str, game: str | None, shard_steps: int) -> Origin:
    """Where the recording comes from."""
    metadata = data.storage.metadata
    if ORIGIN in metadata:
        try:
            return Origin.of(json.loads(metadata[ORIGIN]))
        except UserError:
            raise
        except (TypeError, KeyError, AttributeError, ValueError, RecursionError):
            raise UserError(
                f"{source} has a damaged {ORIGIN!r} in its metadata: export it again"
            ) from None
    spec = data.env_spec
    if not (game or spec):
        raise UserError(f"{source} does not name its environment: say --games GAME")
    rom_id = find(game or spec.id).rom_id
    full = data.action_space.n == 18
    actions = Emulator(rom_id, Settings(full_actions=full), 0).actions
    if data.action_space.n != len(actions):
        raise UserError(
            f"{source} has {data.action_space.n} actions, and {rom_id} {len(actions)} or 18: is "
            "it of this game?"
        )
    name = metadata.get("dataset_id", source)
    player = Policy(
        name=f"minari/{name}", agent=str(metadata.get("algorithm_name", "unknown")),
        run=name, checkpoint="unknown", sha256="", trained=0, epsilon=0.0,
        protocol="as the data set says", settings={},
    )  # fmt: skip
    return Origin(
        game=rom_id,
        rom_md5="unknown",
        settings={**_settings(spec), "full_actions": full, "shard_steps": shard_steps},
        actions=actions,
        policy="agents: as the column policy says",
        seed=0,
        versions={},
        screen=f"84x84 grey, of observations {data.observation_space.shape}",
        policies=[player],
        source=f"Minari: {name}",
    )


def _settings(spec: Any) -> dict[str, object]:
    """How the game was played, as far as a data set says it with the arguments of its environment.

    Of an environment in wrappers, which skip frames themselves, nobody knows how many.
    """
    given = {"mode": None, "difficulty": None} | spec.kwargs if spec else {}
    said = {
        ours: given[theirs]
        for ours, theirs in KWARGS.items()
        if isinstance(given.get(theirs, ""), int | float | None)
    }
    if spec and spec.additional_wrappers:
        said.pop("frame_skip", None)
    return unknown_settings() | said


def _shards(data: Any, shard_steps: int) -> Iterator[tuple[int, list[int]]]:
    """The index of each shard and its episodes: as they were, or such as are long enough."""
    numbers = data.episode_indices.tolist()
    said = list(data.storage.get_episode_metadata(numbers))
    if said and SHARD in said[0]:
        for name, group in groupby(zip(numbers, said, strict=True), lambda one: one[1][SHARD]):
            yield int(name.removeprefix("shard-")), [number for number, _ in group]
        return
    for index, some in enumerate(shards_of([int(one["total_steps"]) for one in said], shard_steps)):
        yield index, [numbers[place] for place in some]


def _rows(data: Any, policy: str, number: int, episode: int) -> dict[str, np.ndarray]:
    """The columns of a recording, of an episode; `policy` played where the data does not say."""
    (found,) = data.storage.get_episodes([number])
    (said,) = data.storage.get_episode_metadata([number])
    steps = len(found["rewards"])
    terminal, truncated = (np.array(found[name], bool) for name in ENDS)
    truncated[-1] |= not terminal[-1]  # where who collected it stopped in the middle
    infos = found["infos"] or {}
    return {
        "screen": screens(np.asarray(found["observations"])[:steps], f"episode {number}"),
        "action": np.asarray(found["actions"]).astype(np.uint8),
        "reward": whole(np.asarray(found["rewards"]), f"episode {number}"),
        "terminal": terminal,
        "truncated": truncated,
        "episode": np.full(steps, episode),
        "step": np.arange(steps, dtype=np.int32),
        "policy": np.full(steps, said.get(POLICY, policy), object),
    } | {name: np.asarray(infos[name])[:steps].astype(np.uint8) for name in INFOS if name in infos}
