"""Pages of the reference: every command's help, every config, every public name of every room."""

from __future__ import annotations

import importlib
from contextlib import redirect_stdout, suppress
from io import StringIO
from pathlib import Path

import errors

from fovea.__main__ import COMMANDS, run
from fovea.configs import about, shipped
from fovea.files import write_text
from fovea.lazy import public

ROOMS = {
    "atari": "games and recordings",
    "pretrain": "encoders and objectives",
    "agents": "agents and ways to adapt an encoder",
    "probes": "what an encoder knows",
    "analysis": "runs, statistics and the report",
}

BLOCKS = (
    "fovea.atari.frames.Frames",
    "fovea.seeding.Draws",
    "fovea.seeding.Stream",
    "fovea.agents.adaptation.base.Held",
    "fovea.agents.sb3.policy_kwargs",
)
"""What parts of one's own are built on, beside the public names of the rooms."""


def everything(folder: Path) -> None:
    """Write the pages into `folder`; one that has not changed keeps its time."""
    pages = {"commands": commands(), "configs": configs(), "errors": errors.page()}
    pages |= {f"api_{room}": api(room, title) for room, title in ROOMS.items()}
    pages["api_blocks"] = blocks()
    for name, text in pages.items():
        path = folder / f"{name}.md"
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            write_text(path, text)


def commands() -> str:
    """The help of every command, as it is printed."""
    parts = ["# Commands\n\nWhat `--help` says; `python -m fovea` is the same as `fovea`.\n"]
    for room in COMMANDS:
        parts.append(f"## fovea {room}\n\n```text\n{helped(room)}```\n")
        module = COMMANDS[room].run.partition(":")[0]
        for name in importlib.import_module(module).COMMANDS:
            parts.append(f"### fovea {room} {name}\n\n```text\n{helped(room, name)}```\n")
    return "\n".join(parts)


def helped(*words: str) -> str:
    """What `fovea WORDS --help` prints."""
    printed = StringIO()
    with redirect_stdout(printed), suppress(SystemExit):
        run([*words, "--help"])
    return printed.getvalue()


def configs() -> str:
    """Every shipped config and study, whole."""
    parts = [
        "# Configs\n\nWhat `-c NAME` finds, each whole; [Commands](commands.md) and the API say "
        "what settings mean.\n"
    ]
    for room, title in (("pretrain", "Pretraining"), ("agents", "Agents")):
        parts.append(f"## {title}\n")
        for name, path in shipped(f"fovea.{room}").items():
            parts.append(f"### {name}\n\n{about(path)}\n\n```yaml\n{path.read_text()}```\n")
    parts.append("## Studies\n")
    for name, path in shipped("fovea.analysis", "studies").items():
        parts.append(f"### study {name}\n\n{about(path)}\n\n```yaml\n{path.read_text()}```\n")
    return "\n".join(parts)


def api(room: str, title: str) -> str:
    """The public names of a room, from their docstrings."""
    package = importlib.import_module(f"fovea.{room}")
    parts = [f"# fovea.{room}: {title}\n\n```{{eval-rst}}\n.. automodule:: fovea.{room}\n```\n"]
    for name, module in public(Path(str(package.__file__))).items():
        parts.append(_described(f"{module}.{name}", getattr(package, name)))
    return "\n".join(parts)


def blocks() -> str:
    """BLOCKS, from their docstrings."""
    parts = [
        "# What parts of your own are built on\n\n[Add your own](../extending.md) uses them.\n"
    ]
    for path in BLOCKS:
        module, _, name = path.rpartition(".")
        parts.append(_described(path, getattr(importlib.import_module(module), name)))
    return "\n".join(parts)


def _described(path: str, what: object) -> str:
    """The section of a class or function at a dotted path."""
    kind = "autoclass" if isinstance(what, type) else "autofunction"
    members = "\n   :members:" if kind == "autoclass" else ""
    name = path.rpartition(".")[2]
    return f"## {name}\n\n```{{eval-rst}}\n.. {kind}:: {path}{members}\n```\n"
