"""`fovea ROOM fit` in a process of its own, as several benchmarks run it."""

from __future__ import annotations

import itertools
import os
import shlex
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from fovea.command import UserError

ROOT = Path(__file__).parents[1]


def begin(
    room: str,
    config: str,
    run: Path,
    settings: Mapping[str, object],
    *,
    at: Path = ROOT,
    environment: Mapping[str, str] | None = None,
) -> subprocess.Popen:
    """Begin a run; what it prints is left out.

    Args:
        room: pretrain or agents.
        config: by its name.
        run: its folder.
        settings: {dotted name: value} in place of the config's.
        at: the checkout that runs it.
        environment: variables that it has beside those of this process.
    """
    words = [sys.executable, "-m", "fovea", room, "fit", "-c", config, "--run", str(run.absolute())]
    words += itertools.chain(*((f"--{name}", str(value)) for name, value in settings.items()))
    return subprocess.Popen(
        words,
        cwd=at,
        env={**os.environ, **(environment or {})},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def end(process: subprocess.Popen) -> None:
    """Wait until a run has ended. Raises UserError where it failed."""
    if code := process.wait():
        raise UserError(f"{shlex.join(process.args)} ended with {code}: try it by hand")
