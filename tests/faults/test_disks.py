"""Read-only folders, full disks, and a temporary folder on another file system: real ones."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from kinds_of_writing import KINDS, not_whole, said_in_a_line, words
from machine import Machine

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

FULL = {
    "collect": "4k 40k",
    "pretrain fit": "4k 8m",
    "agents fit": "4k 2m",
    "record": "4k 20k",
    "continual": "4k 3m",
    "probes run": "4k 40k",
    "report": "4k 2m",
    "study": "4k 64k",
    "card": "6m",
    "push": "4k 2m",
    "pack": "4k 1m",
    "export npz": "4k 100k",
    "export images": "4k 40k",
    "import": "4k 60k",
}
"""Sizes of a disk on which there is room for nothing, and for a part of what a command leaves."""
LONG = "record", "study", "continual"
EACH = [pytest.param(one, marks=pytest.mark.evidence if one in LONG else ()) for one in KINDS]


def before(kind: str, given: Path, out: Path) -> None:
    """What the command changes is there."""
    out.mkdir(parents=True, exist_ok=True)
    if kind == "card":
        shutil.copytree(given / "encoder", out / "encoder")


def left(temporary: Path) -> list[Path]:
    """What a command left in a temporary folder, but for what W&B makes when it is imported."""
    return [path for path in temporary.iterdir() if "wandb" not in path.name]


@pytest.mark.parametrize("kind", EACH)
def test_a_read_only_folder_is_one_line(
    kind: str, machine: Machine, given: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    before(kind, given, out)
    there = sorted((path, path.stat().st_mtime_ns) for path in out.rglob("*"))
    machine.read_only(out)
    code, said = machine.fovea(*words(kind, given, out))
    assert code in (1, 2), said
    assert str(out) in said_in_a_line(said)
    assert sorted((path, path.stat().st_mtime_ns) for path in out.rglob("*")) == there
    assert not left(machine.seen(machine.temporary))


@pytest.mark.parametrize(
    ("kind", "size"),
    [
        pytest.param(kind, size, marks=pytest.mark.evidence if kind in LONG else ())
        for kind, sizes in FULL.items()
        for size in sizes.split()
    ],
)
def test_a_full_disk_is_one_line_and_leaves_nothing_half_written(
    kind: str, size: str, machine: Machine, given: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    machine.full_at(size, out)
    before(kind, given, machine.seen(out))
    code, said = machine.fovea(*words(kind, given, out))
    command_of_a_study = kind == "study"  # which says it first, and then the study which that was
    assert code == (2 if command_of_a_study else 1), said
    line = said_in_a_line(said, 2 if command_of_a_study else 1)
    assert line.startswith(f"error: the disk is full ({out}")
    assert not not_whole(machine.seen(out))
    assert not left(machine.seen(machine.temporary))


@pytest.mark.parametrize("kind", EACH)
def test_the_temporary_folder_may_lie_on_another_file_system(
    kind: str, machine: Machine, given: Path, tmp_path: Path
) -> None:
    out, temporary = tmp_path / "out", machine.seen(machine.temporary)
    before(kind, given, out)
    assert temporary.stat().st_dev != out.stat().st_dev
    code, said = machine.fovea(*words(kind, given, out))
    assert code == 0, said
    assert [path for path in out.rglob("*") if path.is_file()]
    assert not not_whole(out)
    assert not left(temporary)
