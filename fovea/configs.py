"""The YAML files that a room ships, found by name from any folder: `-c vicreg`."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

from fovea.command import UserError, nearest, parser


def shipped(room: str, folder: str = "configs") -> dict[str, Path]:
    """The YAML files that a room ships, by name.

    Args:
        room: a package, such as "fovea.pretrain".
        folder: of the package.
    """
    paths = (Path(str(path)) for path in (files(room) / folder).iterdir())
    return {path.stem: path for path in sorted(paths) if path.suffix == ".yaml"}


def locate(name: str | Path, room: str, folder: str = "configs") -> Path:
    """The file that `name` means: a path, or the name of a shipped one.

    Raises UserError where there is neither; it lists the nearest names.
    """
    path, known = Path(name), shipped(room, folder)
    if path.is_file():
        return path
    if str(name) in known:
        return known[str(name)]
    raise UserError(f"no file {name}, and none of that name is shipped{nearest(path.stem, known)}")


def about(path: Path) -> str:
    """What a shipped file says of itself: its first line, a comment."""
    with open(path, encoding="utf-8") as file:
        return file.readline().lstrip("#").strip()


def show(prog: str, room: str, arguments: Sequence[str]) -> None:
    """Run a room's command `configs`: list what it ships, a line each."""
    parser(prog, "List the configs that -c finds by name.").parse_args(arguments)
    known = shipped(room)
    width = max(map(len, known))
    for name, path in known.items():
        print(f"{name:<{width}}  {about(path)}")
