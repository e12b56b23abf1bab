"""What all commands share besides their mistakes."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from fovea.command import SPINS


@pytest.mark.parametrize("chosen", [None, "7"])
def test_threads_of_torch_wait_briefly_unless_the_user_says_otherwise(chosen: str | None) -> None:
    """Long waits, GNU OpenMP's own, make a step many times as long beside another busy program."""
    code = (
        "import os, sys; from fovea.command import main; "
        "main(lambda: print(os.environ['GOMP_SPINCOUNT'], 'torch' in sys.modules))"
    )
    env = {name: value for name, value in os.environ.items() if name != "GOMP_SPINCOUNT"}
    env |= {"GOMP_SPINCOUNT": chosen} if chosen else {}
    said = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True)
    assert said.stdout.split() == [chosen or SPINS, "False"]
