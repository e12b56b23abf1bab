"""Faults with full counts: kill -9, signals, full disks, two processes, damaged files.

Every trial is written to OUT/trials.csv as soon as it has ended; the same command goes on with
those that are missing, also after Ctrl-C. faults.csv in RESULTS has a row for each kind of fault:
trials, of how many that are asked for, and how many lost something. Exit code 1: some did.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from pathlib import Path

EXAMPLE = """\
example:
  python -m benchmarks.faults --out runs/faults                  # all of it, some hours
  python -m benchmarks.faults --out runs/faults --share 0.1      # a tenth of each count
  python -m benchmarks.faults --out runs/faults --only "kill -9: dqn" storage
  python -m benchmarks.faults --ls
"""


def main() -> int:
    parser = argparse.ArgumentParser(
        "python -m benchmarks.faults",
        description=__doc__,
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--out", type=Path, default=Path("runs/faults"), help="(runs/faults)")
    parser.add_argument(
        "--results", type=Path, default=Path("docs/results/faults"), help="(docs/results/faults)"
    )
    parser.add_argument("--share", type=float, default=1.0, help="of each count (1)")
    parser.add_argument("--only", nargs="+", metavar="WORDS", help="faults whose names begin so")
    parser.add_argument("--ls", action="store_true", help="only list the faults")
    args = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # or forks could not use torch
    # A shell that starts this in the background has it, and the commands, ignore Ctrl-C.
    signal.signal(signal.SIGINT, signal.default_int_handler)

    # Once for all: commands run in forks, and so begin at once.
    import torch

    torch.set_num_threads(1)
    from benchmarks.faults import killing, storage, trials

    faults = [*killing.FAULTS, *storage.FAULTS]
    if args.only:
        faults = [one for one in faults if any(one.name.startswith(word) for word in args.only)]
    if args.ls:
        for one in faults:
            print(f"{one.count:4}  {one.name:40} {one.promise}")
        return 0
    out = args.out.absolute()
    lost = trials.run(faults, out, args.results, args.share)
    print(f"{len(faults)} faults, {lost} trials with losses: {args.results / 'faults.csv'}")
    return int(lost > 0)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        print("interrupted: the same command goes on", file=sys.stderr)
        sys.exit(130)
