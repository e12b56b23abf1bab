"""How much memory and disk this process can still have."""

from __future__ import annotations

import shutil
from pathlib import Path


def free_memory() -> int:
    """Bytes that this process can still have, in this machine and in its control group."""
    fields = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
    free = int(fields["MemAvailable"].split()[0]) * 1024
    group = Path("/sys/fs/cgroup")
    limit = group / "memory.max"
    if limit.exists() and (most := limit.read_text().strip()) != "max":
        free = min(free, int(most) - int((group / "memory.current").read_text()))
    return free


def free_disk(folder: Path) -> int:
    """Bytes that are free where `folder` is or will be."""
    there = next(parent for parent in (folder, *folder.absolute().parents) if parent.exists())
    return shutil.disk_usage(there).free
