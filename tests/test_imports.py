"""The rooms know each other in one direction only, and light commands stay light."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ROOMS = ("atari", "pretrain", "agents", "probes", "analysis")
MAY_IMPORT = {
    "atari": {"atari"},
    "pretrain": {"atari", "pretrain"},
    "agents": {"atari", "pretrain", "agents"},
    "probes": {"atari", "pretrain", "probes"},
    "analysis": {"atari", "analysis"},
}
LIGHT = (
    "fovea.atari.games",
    "fovea.atari.ram",
    "fovea.command",
    "fovea.files",
)  # all that analysis may see
HEAVY = {"torch", "lightning", "timm"}


def imports(path: Path) -> set[str]:
    """Every module that a file imports, wherever in the file."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(node.module or "")
    return names


def files(room: str) -> list[Path]:
    return sorted((ROOT / room).rglob("*.py"))


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_imports_only_the_rooms_below_it(room: str) -> None:
    assert files(room)
    for path in files(room):
        rooms = {name.split(".")[0] for name in imports(path)} & set(ROOMS)
        assert rooms <= MAY_IMPORT[room], f"{path} imports {rooms - MAY_IMPORT[room]}"


def test_analysis_sees_files_only() -> None:
    for path in files("analysis"):
        used = imports(path)
        assert not {name.split(".")[0] for name in used} & HEAVY, path
        assert all(name in LIGHT for name in used if name.startswith("atari")), path


def test_games_need_no_lightning_and_no_networks() -> None:
    for path in files("atari"):
        assert not {name.split(".")[0] for name in imports(path)} & {"lightning", "timm"}, path


def test_timm_models_are_imported_in_one_place() -> None:
    where = [p.name for room in ROOMS for p in files(room) if "timm" in imports(p)]
    assert where == ["vit.py"]


@pytest.mark.parametrize(
    "command",
    ["atari --help", "analysis --help", "analysis report --help", "pretrain --help",
     "fovea.pretrain.hub --help", "agents --help", "probes --help"],
)  # fmt: skip
def test_help_is_light_and_teaches(command: str) -> None:
    module, *arguments = command.split()
    code = (
        "import runpy, sys\n"
        f"sys.argv = [{module!r}, *{arguments!r}]\n"
        "try:\n"
        f"    runpy.run_module({module!r}, run_name='__main__')\n"
        "except SystemExit as end:\n"
        "    assert not end.code\n"
        f"assert not {HEAVY!r} & set(sys.modules), {HEAVY!r} & set(sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert done.returncode == 0, done.stderr
    assert f"python -m {module}" in done.stdout
