"""Whether processes that run for hours keep their memory and their open files.

    python -m benchmarks.long --pids 4242 4243 --hours 6 --out runs/long.csv

A line a minute goes to the CSV file: seconds, pid, MiB of memory, open files. After the first hour,
in which caches and a replay fill, memory is flat where it moves by 2 % at most. Exit code 1: it did
not, or open files grew, or a process ended.
"""

from __future__ import annotations

import argparse
import csv
import os
import sys
import time
from pathlib import Path

FLAT = 0.02


def sample(pid: int) -> tuple[float, int]:
    """MiB of memory and number of open files of a process. Raises OSError once it has ended."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    (resident,) = (line.split()[1] for line in status.splitlines() if line.startswith("VmRSS"))
    return int(resident) / 1024, len(os.listdir(f"/proc/{pid}/fd"))


def verdict(rows: list[tuple[float, int, float, int]], pid: int, begin: float) -> tuple[bool, str]:
    """Whether a process has stayed as it was after `begin` seconds, in words."""
    own = [row for row in rows if row[1] == pid and row[0] >= begin]
    if len(own) < 2:
        return False, f"{pid}: too few samples"
    memory = [row[2] for row in own]
    third = max(1, len(own) // 3)
    first, last = (sorted(part)[len(part) // 2] for part in (memory[:third], memory[-third:]))
    moved, files = last / first - 1, own[-1][3] - own[0][3]
    flat = abs(moved) <= FLAT and files <= 0
    return flat, f"{pid}: memory {first:.0f} to {last:.0f} MiB ({moved:+.1%}), files {files:+d}"


def main() -> int:
    parser = argparse.ArgumentParser("python -m benchmarks.long", description=__doc__)
    parser.add_argument("--pids", type=int, nargs="+", required=True)
    parser.add_argument("--hours", type=float, default=6.0)
    parser.add_argument("--every", type=float, default=60.0, help="seconds between samples (60)")
    parser.add_argument("--out", type=Path, default=Path("runs/long.csv"))
    args = parser.parse_args()
    args.out.parent.mkdir(parents=True, exist_ok=True)
    rows: list[tuple[float, int, float, int]] = []
    began, gone = time.monotonic(), False
    with open(args.out, "w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow(("seconds", "pid", "mib", "files"))
        while (now := time.monotonic() - began) < args.hours * 3600 and not gone:
            for pid in args.pids:
                try:
                    rows.append((now, pid, *sample(pid)))
                    table.writerow(rows[-1])
                except OSError:
                    print(f"{pid} has ended after {now:.0f} s", file=sys.stderr)
                    gone = True
            file.flush()
            time.sleep(args.every)
    begin = min(3600.0, args.hours * 3600 / 4)
    found = [verdict(rows, pid, begin) for pid in args.pids]
    print(*(text for _, text in found), sep="\n")
    return int(gone or not all(flat for flat, _ in found))


if __name__ == "__main__":
    sys.exit(main())
