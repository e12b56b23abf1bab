"""How much memory does each rank of pretraining take, with all frames, shares or groups of shards?

    python -m benchmarks.ranks FOLDER [--ranks 2] [--memory 0.7]

Runs 30 steps of VICReg on CPU ranks of this machine in each way, and prints the most anonymous
memory (RssAnon) of every process, looked at twice a second.
"""

from __future__ import annotations

import argparse
import re
import tempfile
import time
from pathlib import Path

from benchmarks.fitting import begin, end
from fovea import command
from fovea.tables import markdown

SETTINGS = {
    "trainer.strategy": "ddp",
    "trainer.accelerator": "cpu",
    "trainer.max_steps": 30,
    "data.batch_size": 16,
    "model.init_args.encoder.patch": 42,
}


def most_memory(run: Path, settings: dict[str, object]) -> list[float]:
    """The most GiB of each process of a run, the largest first."""
    most: dict[str, int] = {}
    process = begin("pretrain", "vicreg", run, SETTINGS | settings)
    while process.poll() is None:
        for pid in _processes(str(run)):
            found = re.search(r"RssAnon:\s+(\d+)", _read(Path("/proc", pid, "status")))
            most[pid] = max(most.get(pid, 0), int(found[1]) if found else 0)
        time.sleep(0.5)
    end(process)
    return sorted((kilobytes / 2**20 for kilobytes in most.values()), reverse=True)


def _processes(run: str) -> list[str]:
    every = (path.parent.name for path in Path("/proc").glob("[0-9]*/cmdline"))
    return [pid for pid in every if f"--run\0{run}\0" in _read(Path("/proc", pid, "cmdline"))]


def _read(path: Path) -> str:
    """What a file of /proc says, and nothing where its process has ended."""
    try:
        return path.read_text()
    except OSError:
        return ""


def main() -> None:
    about = __doc__.split("\n")[0]
    parser = argparse.ArgumentParser("python -m benchmarks.ranks", description=about)
    parser.add_argument("recordings", type=Path, metavar="FOLDER")
    parser.add_argument("--ranks", type=int, default=2, help="(2)")
    parser.add_argument("--memory", type=float, default=0.7, help="GiB of --data.memory (0.7)")
    args = parser.parse_args()
    shared = {
        "data.recordings": f"[{args.recordings.absolute()}]",
        "trainer.devices": args.ranks,
    }
    ways: dict[str, dict[str, object]] = {
        "all in memory": {},
        f"--data.shares {args.ranks}": {"data.shares": args.ranks},
        f"--data.memory {args.memory}": {"data.memory": args.memory},
    }
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for number, (name, more) in enumerate(ways.items()):
            found = most_memory(Path(folder) / str(number), shared | more)
            rows.append([name, ", ".join(f"{gib:.2f}" for gib in found[: args.ranks])])
    print(*markdown(["", "GiB of each rank, the most first"], rows), sep="\n")


if __name__ == "__main__":
    command.main(main)
