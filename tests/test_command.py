"""What all commands share besides their mistakes."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from fovea.command import SPINS, main

ROOT = Path(__file__).parents[1]


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


@pytest.mark.slow
def test_a_terminal_of_few_letters_shows_the_codes_of_the_others(tmp_path: Path) -> None:
    """As PYTHONIOENCODING says, and where a name is of bytes that are no letters at all."""
    code = "from fovea.command import main; import sys; main(lambda: print(*sys.argv[1:]))"
    env = os.environ | {"PYTHONIOENCODING": "ascii"}
    asked = [sys.executable, "-c", code, "müll", os.fsdecode(b"a\xff")]
    said = subprocess.run(asked, env=env, capture_output=True, text=True, cwd=ROOT)
    assert (said.returncode, said.stdout, said.stderr) == (0, "m\\xfcll a\\udcff\n", "")
    asked = [sys.executable, "-m", "fovea", "hub", "ls", str(tmp_path / "müll")]
    said = subprocess.run(asked, env=env, capture_output=True, text=True, cwd=ROOT)
    assert said.returncode == 2
    assert said.stderr.startswith("error: ")
    assert len(said.stderr.splitlines()) == 1


def test_what_the_system_refuses_cannot_steer_the_terminal(capsys: pytest.CaptureFixture) -> None:
    def refused() -> None:
        raise OSError(errno.EACCES, "text of the system", "\x1b[A\rok")

    with pytest.raises(SystemExit):
        main(refused)
    assert capsys.readouterr().err.startswith("error: \\x1b[A\\x0dok: you may not")
