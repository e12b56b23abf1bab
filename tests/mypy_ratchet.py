"""Types on a ratchet: no file has other than the number of mypy errors that the baseline says.

    python tests/mypy_ratchet.py            # as `make types`
    python tests/mypy_ratchet.py --write    # as `make types-baseline`, after mending some

More errors than that are new ones. Fewer are good news that is to be written down, so that they
do not come back. A file that the baseline does not name has none.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections import Counter
from pathlib import Path, PurePosixPath

ROOT = Path(__file__).parent.parent
BASELINE = Path(__file__).with_name("mypy_baseline.txt")
CLEAN = (
    "fovea/*.py",
    "fovea/*/__init__.py",
    "fovea/atari/*.py",
    "fovea/pretrain/data.py",
    "fovea/pretrain/encoders/encoder.py",
    "fovea/pretrain/objectives/base.py",
    "fovea/agents/algorithms/base.py",
)
"""The ground floor and what others build on; the baseline never excuses these."""


def errors() -> list[str]:
    """The lines of mypy that name an error."""
    done = subprocess.run(
        [sys.executable, "-m", "mypy"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if done.returncode not in (0, 1):
        sys.exit(done.stdout + done.stderr)
    return [line for line in done.stdout.splitlines() if re.match(r"\S+\.py:\d+: error:", line)]


def main(write: bool) -> int:
    lines = errors()
    counts = Counter(line.partition(":")[0] for line in lines)
    if write:
        excused = {f: n for f, n in counts.items() if not any(map(PurePosixPath(f).match, CLEAN))}
        BASELINE.write_text("".join(f"{file} {excused[file]}\n" for file in sorted(excused)))
    known = Counter({f: int(n) for f, n in map(str.split, BASELINE.read_text().splitlines())})
    more, fewer = counts - known, known - counts
    for line in lines:
        if line.partition(":")[0] in more:
            print(line)
    for file in sorted(more):
        print(f"{file}: {counts[file]} errors, and {known[file]} are known: mend the new ones")
    for file in sorted(fewer):
        print(f"{file}: {counts[file]} errors, no longer {known[file]}: run make types-baseline")
    print(
        f"types: {counts.total()} errors in {len(counts)} files, {len(more | fewer)} files differ"
    )
    return 1 if more or fewer else 0


if __name__ == "__main__":
    sys.exit(main("--write" in sys.argv[1:]))
