"""What `fovea hub ls` and `fovea hub show` print of encoder folders. Imports no torch."""

from __future__ import annotations

import json
from collections.abc import Sequence
from math import prod
from pathlib import Path

from fovea.command import UserError
from fovea.files import walk
from fovea.pretrain.card import listed
from fovea.pretrain.hub import SUMS, read_config
from fovea.tables import print_lines

LONGEST = 2**24
"""Bytes of a safetensors header that are read at most."""


def show_all(folder: Path) -> None:
    """Print a line for every encoder folder at or below `folder`."""
    found = [parent for parent, _, files in walk(folder) if SUMS in files]
    for path in found:
        try:
            said = _in_short(read_config(path))
        except (UserError, OSError, ValueError, KeyError, TypeError, AttributeError) as fault:
            said = f"damaged: {' '.join(str(fault).split())}"
        print_lines([f"{path}  {said}"])
    if not found:
        raise UserError(f"no encoder folder in {folder}: export one with `fovea pretrain fit`")


def _in_short(config: dict) -> str:
    """An encoder's size and how it was pretrained."""
    facts = config["fovea"]
    side = "x".join(map(str, config["pretrained_cfg"]["input_size"]))
    method = facts.get("method", "?")
    return f"{config['num_features']} wide, {side}  {method} on {listed(facts.get('games', []))}"


def show_one(folder: Path) -> None:
    """Print what an encoder folder says of itself, without loading its weights."""
    config = read_config(folder)
    facts = dict(config["fovea"])
    channels, height, width = config["pretrained_cfg"]["input_size"]
    shapes = [
        shape for file in sorted(folder.glob("*.safetensors")) for shape in _shapes(file).values()
    ]
    size = sum(path.stat().st_size for path in folder.iterdir())
    rows = {
        "folder": folder,
        "architecture": config["architecture"],
        "built with": json.dumps(config["model_args"]),
        "input": f"{channels} screens of {height} x {width} px",
        "screen": f"{_sides(facts.pop('screen'))} px",
        "width": config["num_features"],
        "weights": f"{sum(map(prod, shapes)):,} in {len(shapes)} tensors, {size / 2**20:.1f} MiB",
    }
    rows |= {key.replace("_", " "): listed(value) for key, value in facts.items()}
    widest = max(map(len, rows))
    for name, value in rows.items():
        print(f"{name:<{widest}}  {value}")


def _shapes(file: Path) -> dict[str, tuple[int, ...]]:
    """{name: shape} of the tensors in a safetensors file, by its header alone."""
    with file.open("rb") as opened:
        length = int.from_bytes(opened.read(8), "little")
        try:
            header = json.loads(opened.read(min(length, LONGEST)))
            header.pop("__metadata__", None)
            return {name: tuple(map(int, one["shape"])) for name, one in header.items()}
        except (ValueError, TypeError, AttributeError, KeyError, RecursionError):
            raise UserError(f"{file} is no safetensors file: export or download it again") from None


def _sides(sides: Sequence[int]) -> str:
    return " x ".join(map(str, sides))
