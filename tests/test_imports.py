"""Rooms and their folders know each other in one direction only, and light commands stay light."""

from __future__ import annotations

import ast
import subprocess
import sys
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ROOMS = ("atari", "pretrain", "agents", "probes", "analysis")
MAY_IMPORT = {
    "fovea": {"fovea"},
    "atari": {"fovea", "atari"},
    "pretrain": {"fovea", "atari", "pretrain"},
    "agents": {"fovea", "atari", "pretrain", "agents"},
    "probes": {"fovea", "atari", "pretrain", "agents", "probes"},
    "analysis": {"fovea", "atari", "analysis"},
}
FACES = ("__init__.py", "__main__.py")
"""They name what lies anywhere in their room, lazily, and nothing below imports them."""
HEAVY = {"torch", "lightning", "timm"}
LIGHT = {"fovea.atari.games", "fovea.atari.ram"}
"""All of `fovea.atari` that analysis may import."""


def files(folder: str) -> list[Path]:
    """The Python files of a room, or of the ground floor without the rooms linked there."""
    found = sorted((ROOT / folder).glob("*.py" if folder == "fovea" else "**/*.py"))
    assert found
    return found


@cache
def imports(path: Path) -> frozenset[str]:
    """The full names that a file imports, wherever in the file, also for type checkers alone."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path} imports relatively: write the full name"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return frozenset(names)


def top(name: str) -> str:
    return name.split(".")[0]


def module(name: str) -> str:
    """The module of ours that defines an imported `name`, looked up in the faces where need be."""
    path = ROOT.joinpath(*name.split("."))
    if path.is_dir() or path.with_suffix(".py").exists():
        return name
    package, _, public = name.rpartition(".")
    face = ROOT.joinpath(*package.split("."), "__init__.py")
    if face.exists():
        defined = [n for n in imports(face) if n.endswith(f".{public}")]
        if not public.startswith("__"):
            assert len(defined) == 1, f"{face} does not import {public} for type checkers"
            return module(defined[0])
    return package


def folder(module: str) -> str:
    """Where a module lies: "fovea", a room, or a room's sub-folder such as "agents.networks"."""
    *path, last = module.split(".")
    parts = [*path, last] if ROOT.joinpath(*path, last).is_dir() else path
    return ".".join(parts[1:]) or "fovea"


def ours(path: Path) -> set[str]:
    """The modules of this project that a file imports."""
    return {module(name) for name in imports(path) if top(name) == "fovea"}


@pytest.mark.parametrize("room", MAY_IMPORT)
def test_a_room_imports_only_the_rooms_below_it(room: str) -> None:
    for path in files(room):
        if room == "fovea" and path.name in FACES:
            continue
        found = {top(folder(module)) for module in ours(path)}
        assert found <= MAY_IMPORT[room], f"{path} imports {found - MAY_IMPORT[room]}"


def test_folders_import_each_other_in_no_circle() -> None:
    """Also not for type checkers alone: who needs to say what it takes states it itself."""
    graph: dict[str, set[str]] = {}
    for room in MAY_IMPORT:
        for path in files(room):
            if path.name not in FACES:
                here = ".".join(path.relative_to(ROOT).parent.parts)
                graph.setdefault(here, set()).update(
                    {folder(m) for m in ours(path) if not is_face(m)} - {here}
                )
    assert {"agents.networks", "pretrain.objectives", "fovea"} <= set(graph)
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as circle:
        pytest.fail(" imports ".join(reversed(circle.args[1])))


def is_face(module: str) -> bool:
    """A package taken as a whole, such as `fovea.agents`, for the names that it lists."""
    return ROOT.joinpath(*module.split(".")).is_dir()


@pytest.mark.parametrize("where", ["fovea", *ROOMS, "tests", "benchmarks"])
def test_nobody_imports_a_room_but_as_a_part_of_fovea(where: str) -> None:
    for path in files(where):
        assert not {top(name) for name in imports(path)} & set(ROOMS), path


def test_analysis_sees_files_only() -> None:
    for path in files("analysis"):
        assert not {top(name) for name in imports(path)} & HEAVY, path
        assert {m for m in ours(path) if top(folder(m)) == "atari"} <= LIGHT, path


def test_games_need_no_lightning_and_no_networks() -> None:
    for path in files("atari"):
        assert not {top(name) for name in imports(path)} & {"lightning", "timm"}, path


def test_timm_models_are_imported_where_they_are_wrapped() -> None:
    where = [p.name for room in ROOMS for p in files(room) if "timm" in map(top, imports(p))]
    assert where == ["timm_model.py", "vit.py"]


def run(code: str) -> str:
    """What a fresh Python prints that runs `code`."""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_importing_fovea_imports_next_to_nothing() -> None:
    new = run(
        "import sys; before = set(sys.modules); import fovea; print(*set(sys.modules) - before)"
    ).split()
    assert {top(name) for name in new} - set(sys.stdlib_module_names) == {"fovea"}
    assert {name for name in new if top(name) == "fovea"} == {"fovea", "fovea.lazy"}
    assert len(new) < 20


@pytest.mark.parametrize("room", ROOMS)
def test_importing_a_room_imports_nothing_heavy_and_lists_its_names(room: str) -> None:
    heavy = HEAVY | ({"numpy"} if room in ("probes", "analysis") else set())
    run(
        f"import sys, pathlib, fovea.{room} as room\n"
        "from fovea.lazy import public\n"
        "assert public(pathlib.Path(room.__file__)).keys() <= {*dir(room)}\n"
        f"assert not {heavy!r} & {{*sys.modules}}, {heavy!r} & {{*sys.modules}}\n"
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    "command",
    ["", "atari", "atari collect", "atari ls", "atari stats", "atari doctor", "pretrain", "hub",
     "hub ls", "hub show", "hub export", "hub adopt", "probes",
     "probes run", "agents", "agents evaluate", "agents record", "analysis",
     "analysis report", "analysis serve", "analysis study"],
)  # fmt: skip
def test_help_is_light(command: str) -> None:
    printed = run(
        "import sys\n"
        "from fovea.__main__ import run\n"
        "try:\n"
        f"    run({[*command.split(), '--help']!r})\n"
        "except SystemExit as end:\n"
        "    assert not end.code\n"
        f"assert not {HEAVY!r} & set(sys.modules), {HEAVY!r} & set(sys.modules)\n"
    )
    assert printed.startswith(f"usage: fovea {command}".rstrip())
    assert len(printed.splitlines()) > 4
