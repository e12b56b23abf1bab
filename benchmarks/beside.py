"""How fast is pretraining beside a busy program, with threads as patient as Fovea has them or not?

    python -m benchmarks.beside FOLDER [--steps 50] [--rounds 3]

Runs VICReg on this machine's CPU, alone and beside a process that keeps one core busy, with the
patience of threads that `fovea.command` sets and with GNU OpenMP's own, in turns; prints the median
rate of each, in samples a second, and its ratio to OpenMP's own in the median of rounds.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from benchmarks.fitting import begin, end
from fovea import command
from fovea.command import SPINS
from fovea.metrics import read_metrics
from fovea.tables import markdown

PATIENCE = {"OpenMP's": "300000", "Fovea's": SPINS}
BESIDE = {"alone": 0, "beside a busy process": 1}


def rate(folder: Path, steps: int, spins: str, busy: int) -> float:
    """Samples a second of a run in which threads spin so often, beside so many busy processes."""
    with ExitStack() as stack:
        run = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "run"
        for _ in range(busy):
            # In a session of its own, as of another terminal: kernels share cores among sessions.
            other = subprocess.Popen(
                [sys.executable, "-c", "while True: pass"], start_new_session=True
            )
            stack.callback(other.wait)
            stack.callback(other.kill)
        settings = {
            "data.recordings": f"[{folder.absolute()}]",
            "trainer.accelerator": "cpu",
            "trainer.max_steps": steps,
            "trainer.log_every_n_steps": 5,
        }
        end(begin("pretrain", "vicreg", run, settings, environment={"GOMP_SPINCOUNT": spins}))
        rates = read_metrics(run / "metrics.csv")["samples_per_second"].values
    return float(np.median(rates))


def main() -> None:
    parser = argparse.ArgumentParser(
        "python -m benchmarks.beside", description=__doc__.split("\n")[0]
    )
    parser.add_argument("recordings", type=Path, metavar="FOLDER")
    parser.add_argument("--steps", type=int, default=50, help="of each run (50)")
    parser.add_argument("--rounds", type=int, default=3, help="(3)")
    args = parser.parse_args()
    found: dict[tuple[str, str], list[float]] = {}
    for turn in range(args.rounds):
        for beside, busy in BESIDE.items():
            for whose, spins in PATIENCE.items():
                found.setdefault((beside, whose), []).append(
                    rate(args.recordings, args.steps, spins, busy)
                )
                print(f"{turn} {beside}, {whose}: {found[beside, whose][-1]:.1f}", flush=True)
    rows = []
    for beside in BESIDE:
        theirs, ours = (np.array(found[beside, whose]) for whose in PATIENCE)
        rows.append([beside, *(f"{np.median(of):.0f}" for of in (theirs, ours)),
                     f"{np.median(ours / theirs):.2f}"])  # fmt: skip
    print(*markdown(["", *PATIENCE, "ratio"], rows), sep="\n")


if __name__ == "__main__":
    command.main(main)
