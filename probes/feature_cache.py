"""Features on disk, so that a probe that is added later encodes no screen again.

RUN/features/KEY.safetensors, KEY being a hash of the encoder, of the recordings and of what was
drawn from them. A file is whole or absent, its contents are checked when it is read, and the whole
folder can be deleted at any time.
"""

from __future__ import annotations

import hashlib
import os
import re
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor
from tqdm import tqdm

from fovea import __version__
from fovea.files import replacing
from fovea.pretrain.encoders.encoder import Encoder
from fovea.pretrain.encoders.fingerprint import fingerprint
from fovea.probes.features import Drawn, Split, Splits, encode

MOST = 4 * 2**30  # bytes of one folder; the files that were used longest ago go first


def cached(
    encoder: Encoder, drawn: dict[str, list[Drawn]], folder: Path | None
) -> dict[str, Splits]:
    """What `encode` returns, read from `folder` where it is there, else encoded and kept there.

    Without a folder nothing is kept. A file that is damaged is made anew, with a line that says so.
    """
    if folder is None:
        return encode(encoder, drawn)
    path = folder / f"{key(encoder, drawn)}.safetensors"
    try:
        tensors = _read(path, next(encoder.parameters()).device)
        with suppress(FileNotFoundError):  # another process has just trimmed it
            os.utime(path)
        return _splits(tensors, drawn)
    except FileNotFoundError:
        pass
    except (SafetensorError, KeyError, ValueError, OSError) as fault:
        tqdm.write(f"{path} is damaged ({fault}): encoding again", file=sys.stderr)
    games = encode(encoder, drawn)
    _write(path, games)
    trim(folder)
    return games


def key(encoder: Encoder, drawn: Mapping[str, list[Drawn]]) -> str:
    """32 hexadecimal digits of what the features are a function of."""
    digest = hashlib.sha256(f"{__version__} {fingerprint(encoder)}".encode())
    digest.update(repr(getattr(encoder, "pooled", None)).encode())
    for game, splits in drawn.items():
        for frames, at in splits:
            digest.update(f"{game} {frames.data} {len(frames)}".encode())
            digest.update(at.cpu().numpy().tobytes())
    return digest.hexdigest()[:32]


def trim(folder: Path, most: int = MOST) -> None:
    """Delete the files of a folder that were used longest ago, until it holds `most` bytes."""
    found = []
    for path in folder.glob("*.safetensors"):
        with suppress(FileNotFoundError):  # another process trims the folder too
            status = path.stat()
            found.append((status.st_mtime, path, status.st_size))
    total = sum(size for *_, size in found)
    for _, path, size in sorted(found)[:-1]:
        if total <= most:
            break
        total -= size
        path.unlink(missing_ok=True)


def _write(path: Path, games: Mapping[str, Splits]) -> None:
    tensors = {
        f"{game}/{name}/{kind}": getattr(split, kind).cpu().contiguous()
        for game, splits in games.items()
        for name, split in zip(Splits._fields, splits, strict=True)
        for kind in ("summary", "mean_token")
    }
    with replacing(path) as temporary:
        try:
            save_file(tensors, temporary, metadata={"sha256": _hash(tensors)})
        except SafetensorError as fault:
            # What the system said, as of a full disk, is in its text alone.
            if not (said := re.search(r"os error (\d+)", str(fault))):
                raise
            raise OSError(int(said[1]), os.strerror(int(said[1])), str(path)) from None


def _read(path: Path, device: torch.device) -> dict[str, Tensor]:
    if not path.exists():
        raise FileNotFoundError(path)
    with safe_open(path, framework="pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        if (file.metadata() or {}).get("sha256") != _hash(tensors):
            raise ValueError("its contents have another hash")
    return {name: of.to(device) for name, of in tensors.items()}


def _hash(tensors: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for name in sorted(tensors):
        digest.update(f"{name} {tuple(tensors[name].shape)}".encode())
        digest.update(tensors[name].numpy().tobytes())
    return digest.hexdigest()


def _splits(tensors: Mapping[str, Tensor], drawn: Mapping[str, list[Drawn]]) -> dict[str, Splits]:
    return {
        game: Splits(
            *(
                Split(*split, *(tensors[f"{game}/{name}/{of}"] for of in ("summary", "mean_token")))
                for name, split in zip(Splits._fields, splits, strict=True)
            )
        )
        for game, splits in drawn.items()
    }
