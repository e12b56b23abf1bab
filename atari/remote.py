"""Recordings at an address of fsspec (s3://, gs://, memory:// ...), by way of a folder here.

What is read is copied into a folder of this machine first, each shard checked by its SHA-256; what
is recorded is written there and sent, shard by shard, _dataset.json last. An object is complete or
absent at its address, as a file is here.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import fsspec

from fovea.atari.parquet import SHARD_NAME
from fovea.atari.recordings import DATASET, open_dataset
from fovea.command import UserError
from fovea.files import exclusive, replacing
from fovea.progress import bar


def open_source(address: str) -> tuple[Any, str]:
    """The file system of an address of fsspec, and the path there. Raises UserError."""
    try:
        return fsspec.core.url_to_fs(address)
    except (ImportError, ValueError) as fault:
        raise UserError(f"{address} cannot be opened: {fault}") from None


def cache(address: str) -> Path:
    """The folder here of an address: in FOVEA_CACHE, by default ~/.cache/fovea."""
    root = os.environ.get("FOVEA_CACHE") or Path.home() / ".cache" / "fovea"
    code = hashlib.sha256(address.rstrip("/").encode()).hexdigest()[:16]
    return Path(root) / "recordings" / f"{address.rstrip('/').rpartition('/')[2]}-{code}"


def fetch(address: str, unfinished: bool = False) -> Path:
    """Copy the recordings at an address, what is not here yet, and return their folder here.

    Args:
        address: of a game's recording, or of several games'.
        unfinished: also the shards of recordings without _dataset.json, to go on with them.

    Raises UserError where nothing answers or no recording is there, and names a shard that is
    missing there, or that has another SHA-256 than _dataset.json says.
    """
    folder = cache(address)
    with exclusive(folder, wait=True), _said(address):
        files, root = open_source(address)
        there = _recordings(files, root)
        if not unfinished and not any(DATASET in names for names in there.values()):
            raise UserError(f"no recordings at {address}: make some with fovea atari collect")
        wanted = [
            (game, name, sha256)
            for game, names in sorted(there.items())
            for name, sha256 in _wanted(files, root, game, names, folder, unfinished)
        ]
        with bar(f"fetch {address}", "files", len(wanted), delay=2) as shown:
            for game, name, sha256 in wanted:
                _copy(files, _path(root, game, name), folder / game / name, sha256)
                shown.update()
    return folder


class Target:
    """An address that a recording is sent to, file by file.

    Args:
        address: of several games' recordings.
        folder: they are made in, which holds what is there already.
    """

    def __init__(self, address: str, folder: Path):
        self.address, self.folder = address, folder
        self.files, self.root = open_source(address)
        self.there = _recordings(self.files, self.root)

    def send(self, path: Path) -> None:
        """Send a file of the folder, in place of what is there."""
        to = _path(self.root, path.relative_to(self.folder).as_posix())
        with _said(self.address):
            self.files.makedirs(to.rpartition("/")[0], exist_ok=True)
            self.files.put_file(str(path), to)
            if (size := self.files.size(to)) != path.stat().st_size:
                raise UserError(f"{to} has {size} bytes after it was sent: run the command again")

    def finish(self, game: Path) -> None:
        """Send the shards that are listed and not there yet, then the list of them."""
        sent = self.there.get(game.name, {})
        for listed in open_dataset(game).shards:
            path = game / listed["file"]
            if sent.get(path.name) != path.stat().st_size:
                self.send(path)
        self.send(game / DATASET)


def _recordings(files: Any, root: str) -> dict[str, dict[str, int]]:
    """{game: {name: bytes}} of what recordings at a path consist of; "" is the path itself."""
    files.invalidate_cache()
    found: dict[str, dict[str, int]] = {}
    for path, info in files.find(root, maxdepth=2, detail=True).items():
        game, _, name = path.removeprefix(root).strip("/").rpartition("/")
        if name == DATASET or SHARD_NAME.fullmatch(name):
            found.setdefault(game, {})[name] = info["size"]
    return found


def _wanted(
    files: Any, root: str, game: str, names: dict[str, int], folder: Path, unfinished: bool
) -> Iterator[tuple[str, str]]:
    """The name and SHA-256 of each file that is to be copied; the list comes last."""
    if DATASET in names:
        content = files.cat_file(source := _path(root, game, DATASET))
        here = folder / game / DATASET
        old = _hashes(here.read_bytes(), here) if here.exists() else {}
        for name, sha256 in _hashes(content, source).items():
            if not SHARD_NAME.fullmatch(name):
                raise UserError(f"{source} is damaged: {name!r} is no shard's name")
            if old.get(name) != sha256 or not (folder / game / name).exists():
                yield name, sha256
        if not here.exists() or here.read_bytes() != content:
            yield DATASET, hashlib.sha256(content).hexdigest()
    elif unfinished:
        yield from ((name, "") for name in names if not (folder / game / name).exists())


def _path(root: str, *parts: str) -> str:
    return "/".join([root.rstrip("/"), *filter(None, parts)])


def _hashes(content: bytes, where: object) -> dict[str, str]:
    """The SHA-256 of each shard by its file's name, of the content of a _dataset.json."""
    try:
        return {shard["file"]: shard["sha256"] for shard in json.loads(content)["shards"]}
    except (ValueError, KeyError, TypeError):
        raise UserError(f"{where} is damaged: run the command that made it again") from None


def _copy(files: Any, source: str, path: Path, sha256: str) -> None:
    """Copy a file here, whole or not at all; an empty SHA-256 is any."""
    with replacing(path) as temporary:
        try:
            files.get_file(source, str(temporary))
        except FileNotFoundError:
            raise UserError(
                f"{source} is missing, and listed in {DATASET} beside it: send it there again"
            ) from None
        found = hashlib.sha256(temporary.read_bytes()).hexdigest()
        if sha256 and found != sha256:
            raise UserError(f"{source} is damaged: its SHA-256 is not the one that was recorded")


@contextmanager
def _said(address: str) -> Iterator[None]:
    """Make one line of what goes wrong on the way: no right to read, no bucket, no network."""
    try:
        yield
    except OSError as fault:
        raise UserError(
            f"{address}: {' '.join(str(fault).split()) or type(fault).__name__}"
        ) from None
