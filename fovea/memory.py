"""How much memory and disk there is for this process."""

from __future__ import annotations

import shutil
from pathlib import Path

GROUP = Path("/sys/fs/cgroup")


def total_memory() -> int:
    """Bytes of this machine, or of this process's control group where that allows fewer."""
    return min(_machine("MemTotal"), _limit() or _machine("MemTotal"))


def free_memory() -> int:
    """Bytes that this process can still have, in this machine and in its control group."""
    free = _machine("MemAvailable")
    if limit := _limit():
        free = min(free, limit - int((GROUP / "memory.current").read_text()))
    return free


def free_disk(folder: Path) -> int:
    """Bytes that are free where `folder` is or will be."""
    there = next(parent for parent in (folder, *folder.absolute().parents) if parent.exists())
    return shutil.disk_usage(there).free


def _machine(field: str) -> int:
    fields = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
    return int(fields[field].split()[0]) * 1024


def _limit() -> int | None:
    """Bytes that the control group allows, None where it sets no limit."""
    path = GROUP / "memory.max"
    text = path.read_text().strip() if path.exists() else "max"
    return None if text == "max" else int(text)
