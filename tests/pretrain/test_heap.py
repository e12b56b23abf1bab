"""Freed memory is kept, so that the next update finds its pages mapped."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROUNDS, BLOCKS, SIZE = 20, 4, 2**23
PROGRAM = f"""
import resource
from fovea.pretrain.training.malloc import keep_freed
{{}}
for round in range({ROUNDS}):
    if round == 1:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    held = [bytes({SIZE}) + b"1" for _ in range({BLOCKS})]
    held.clear()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(first: str) -> int:
    """Pages that were mapped in all rounds but the first, in a process of its own."""
    command = [sys.executable, "-c", PROGRAM.format(first)]
    return int(subprocess.run(command, cwd=ROOT, check=True, capture_output=True).stdout)


@pytest.mark.slow
def test_blocks_that_come_again_find_their_pages() -> None:
    pages = (ROUNDS - 1) * BLOCKS * SIZE / 4096
    assert faults("") > pages / 2
    assert faults("keep_freed()") < pages / 100
