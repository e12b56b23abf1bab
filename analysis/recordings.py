"""A browser of recordings: their episodes, and of some the screens and the memory over time."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from fovea.analysis.compare import game_name
from fovea.analysis.figures import PALETTE, Looks, line, panel
from fovea.analysis.html import Html, amount, details, join, tag, words
from fovea.analysis.page import Page
from fovea.analysis.runs import Run
from fovea.analysis.sheets import grid
from fovea.atari.games import GAMES
from fovea.atari.ram import variables
from fovea.foreign import load_yaml, read_text

NAMES = ("_dataset.json", "dataset.json")  # the second in formats 1 and 2
SCREENS = 240  # of an episode, evenly spaced; the figures are of all its steps, thinned alike
MOST_GAMES, MOST_BYTES = 12, 10  # shown; the bytes that differ most often
DAMAGE = (OSError, ValueError, KeyError, TypeError, pa.ArrowException)


@dataclass(frozen=True)
class Recording:
    """A game's recording on disk.

    Attributes:
        folder: where it lies.
        game: rom id.
        sha256: of all its shards, as runs that learned from it say.
        actions: names, by number.
        shards: file names.
    """

    folder: Path
    game: str
    sha256: str
    actions: tuple[str, ...]
    shards: tuple[str, ...]


@dataclass(frozen=True)
class Episode:
    """One episode: `number` as its rows say; `first` and `steps` are its rows in `shard`."""

    number: int
    shard: str
    first: int
    steps: int
    score: float
    policy: str


def view(page: Page, runs: list[Run], places: Sequence[Path]) -> Html:
    """The recordings in `places` and those that runs name; nothing where there are none."""
    learned, missing = named(runs)
    found = {one.folder.resolve(): one for one in (*inside(places), *learned)}
    if not found and not missing:
        return Html("")
    parts: list[Html] = []
    episodes: list[list] = []
    shown: dict[str, dict] = {}
    for one in list(found.values())[:MOST_GAMES]:
        try:
            own = list(_episodes(one, _stamp(one)))
            shown |= {f"{game_name(one.game)}: {title}": _shown(page, one, episode)
                      for title, episode in some(own).items()}  # fmt: skip
        except DAMAGE as fault:
            parts.append(tag("p", f"{one.folder} cannot be read: {fault}", class_="empty"))
            continue
        episodes += [
            [game_name(one.game), e.number, e.policy, e.steps, e.score, str(one.folder)]
            for e in own
        ]
    if shown:
        parts.append(_player(page, shown))
        columns = ["game", "episode", "policy", "steps", "return", "folder"]
        table = page.table("episodes", columns, episodes)
        parts.append(details(f"All episodes ({amount(len(episodes), 'row')})", table))
    if missing:
        about = "Named by runs and not here, or changed since: "
        parts.append(tag("p", about + words(missing[:5]) + ".", class_="fine"))
    if len(found) > MOST_GAMES:
        parts.append(tag("p", f"The first {MOST_GAMES} of {len(found)} recordings.", class_="fine"))
    return join(*parts)


def inside(places: Sequence[Path]) -> Iterator[Recording]:
    """The recordings in or directly below folders."""
    for place in places:
        for folder in (place, *sorted(path for path in place.glob("*") if path.is_dir())):
            if one := read(folder):
                yield one


def read(folder: Path) -> Recording | None:
    """The finished recording in a folder; None where there is none, or its list is damaged."""
    for name in NAMES:
        try:
            found = json.loads(read_text(folder / name))
            origin = found["origin"]
            shards = tuple(str(Path(shard["file"]).name) for shard in found["shards"])
            actions = tuple(map(str, origin.get("actions") or ()))
            return Recording(folder, str(origin["game"]), str(found["sha256"]), actions, shards)
        except FileNotFoundError:
            continue
        except DAMAGE:
            return None
    return None


def named(runs: list[Run]) -> tuple[list[Recording], list[str]]:
    """The recordings that runs learned from, by their SHA-256; and of what was not found, where."""
    found: dict[str, Recording] = {}
    missing: dict[str, None] = {}
    there: dict[Path, list[Recording]] = {}
    for run in runs:
        data = run.record.data if isinstance(run.record.data, dict) else {}
        # Of several recordings of a game, the hashes are joined.
        hashes = {one for joined in data.values() for one in str(joined).split("+")}
        for text in _named(run.config):
            # Not `is_dir`, which raises where a name is too long or a folder is not to be read.
            place = next((base / text for base in _bases(run) if os.path.isdir(base / text)), None)
            if place and place not in there:
                there[place] = list(inside([place]))
            own = [one for one in there[place] if one.sha256 in hashes] if place else []
            found |= {one.sha256: one for one in own}
            if not own:
                missing[text] = None
    return list(found.values()), list(missing)


def _bases(run: Run) -> list[Path]:
    """Where a relative path of a run may begin: where one stands, or above the run."""
    return [Path(), *run.folder.resolve().parents]


@lru_cache(maxsize=4096)
def _named(config: str) -> tuple[str, ...]:
    try:
        found = load_yaml(config, "config.yaml")
        places = found["data"]["recordings"]
    except (yaml.YAMLError, TypeError, KeyError, RecursionError, ValueError):
        return ()
    return tuple(map(str, places if isinstance(places, list) else [places]))


def _stamp(one: Recording) -> tuple:
    return tuple((one.folder / name).stat().st_mtime_ns for name in one.shards)


@lru_cache(maxsize=64)
def _episodes(one: Recording, _: tuple) -> tuple[Episode, ...]:
    found = []
    for shard in one.shards:
        file = pq.ParquetFile(one.folder / shard)
        policy = ["policy"] if "policy" in file.schema_arrow.names else []
        table = file.read(columns=["episode", "reward", *policy])
        number = table.column("episode").to_numpy()
        starts = np.flatnonzero(np.diff(number, prepend=number[:1] - 1))
        rewards = table.column("reward").to_numpy()
        scores = np.add.reduceat(rewards, starts) if len(starts) else rewards
        for first, end, score in zip(starts, [*starts[1:], len(number)], scores, strict=True):
            who = str(table.column("policy")[int(first)].as_py()) if policy else "random"
            found.append(
                Episode(int(number[first]), shard, int(first), int(end - first), float(score), who)
            )
    return tuple(found)


def some(episodes: list[Episode]) -> dict[str, Episode]:
    """The episodes whose screens are shown: the first, that of the highest and lowest return."""
    if not episodes:
        return {}
    chosen = {
        "first": episodes[0],
        "highest return": max(episodes, key=lambda episode: episode.score),
        "lowest return": min(episodes, key=lambda episode: episode.score),
    }
    once = {episode: title for title, episode in reversed(chosen.items())}
    return {f"{title}, episode {episode.number}": episode
            for episode, title in reversed(once.items())}  # fmt: skip


def _shown(page: Page, source: Recording, episode: Episode) -> dict:
    steps, screens, action, reward, ram = _rows(source, episode, _stamp(source))
    names = source.actions if len(source.actions) > int(action.max(initial=0)) else ()
    known = variables(source.game) if source.game in GAMES else []
    changes = {v.name: (np.diff(ram[:, v.byte].astype(int)) != 0).sum() for v in known}
    known = sorted(known, key=lambda v: -changes[v.name])[:MOST_BYTES]
    known = [v for v in known if changes[v.name]]
    bytes_of = {v.name.replace("_", " "): ram[:, v.byte] for v in known}
    looks = Looks(bytes_of)
    lines = [
        line(name, steps.tolist(), values, looks.colour(name)) for name, values in bytes_of.items()
    ]
    for one in lines:
        one["line"]["dash"] = looks.dash(one["name"])
    total = line("return", steps.tolist(), np.cumsum(reward), PALETTE[0])
    titles = ("The console's memory, bytes", "Return so far")
    return {
        "figures": [
            panel(title, traces, x="step of the episode", height=300)
            for title, traces in zip(titles, (lines, [total]), strict=True)
        ],
        "names": list(bytes_of),
        "player": {
            **grid(page, "episode", screens),
            "steps": steps.tolist(),
            "actions": [names[a] if names else str(a) for a in action.tolist()],
            "rewards": reward.tolist(),
            "policy": episode.policy,
        },
    }


@lru_cache(maxsize=64)
def _rows(one: Recording, episode: Episode, _: tuple) -> tuple[np.ndarray, ...]:
    """Steps, screens (n, 84, 84), actions, rewards since the screen before, and memory (n, 128)."""
    file = pq.ParquetFile(one.folder / episode.shard)
    end, at, groups = episode.first + episode.steps, 0, []
    for k in range(file.num_row_groups):
        count = file.metadata.row_group(k).num_rows
        if at < end and at + count > episode.first:
            groups.append((k, at))
        at += count
    columns = ["screen", "action", "reward", "step", "ram"]
    table = file.read_row_groups([k for k, _ in groups], columns=columns)
    table = table.slice(episode.first - groups[0][1], episode.steps)
    kept = np.unique(np.linspace(0, episode.steps - 1, SCREENS).astype(int))
    few = table.take(kept)
    size = few.schema.field("screen").type.byte_width
    side = int(np.sqrt(size))
    screens = _bytes(few.column("screen"), size).reshape(-1, side, side)
    whole = np.concatenate([[0.0], np.cumsum(table.column("reward").to_numpy())])
    reward = np.diff(whole[np.append(kept, episode.steps)])
    return (few.column("step").to_numpy(), screens, few.column("action").to_numpy(), reward,
            _bytes(few.column("ram"), 128))  # fmt: skip


def _bytes(column: pa.ChunkedArray, width: int) -> np.ndarray:
    """(n, width) uint8; zeros where a row has none."""
    rows = (value.as_py() or bytes(width) for value in column)
    return np.frombuffer(b"".join(rows), np.uint8).reshape(-1, width)


def _player(page: Page, shown: dict[str, dict]) -> Html:
    page.pictures["recordings"] = {title: of["player"] for title, of in shown.items()}
    names = dict.fromkeys(name for of in shown.values() for name in of["names"])
    figures = {title: of["figures"] for title, of in shown.items()}
    slider = {"type": "range", "min": "0", "value": "0"}
    return tag(
        "div",
        tag("p", f"Of each recording three episodes, and of an episode at most {SCREENS} screens, "
                 "evenly spaced, with the bytes of its memory that change most.", class_="fine"),
        tag("div",
            tag("label", "Screen ", tag("input", **slider, class_="screen"), class_="pick"),
            tag("button", "Play", type="button", class_="download play"),
            tag("output", "", aria_live="off"),
            class_="controls"),
        tag("div", class_="picture", role="img"),
        page.chart("recordings", "Memory and return over an episode", figures, names,
                   "Episode"),
        class_="recording",
        data_pictures="recordings",
    )  # fmt: skip
