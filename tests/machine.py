"""Commands in mounts of their own: read-only folders and full disks, of which nothing is left.

Run as a program it is that machine: it imports what commands need once, and runs each in a fork.
"""

from __future__ import annotations

import importlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

ROOT = Path(__file__).parent.parent
UNSHARE = ("unshare", *([] if os.geteuid() == 0 else ["--map-root-user"]), "--mount")
ONCE = (
    "fovea.pretrain.training.fit",
    "fovea.agents.fit",
    "fovea.agents.continual.run",
    "fovea.agents.record",
    "fovea.probes.run",
    "fovea.analysis.reporting",
)
"""What takes long to import, and is there in each fork."""
PATIENCE = 120  # seconds in which a command comes as far as it is waited for


class Machine:
    """A process whose mounts nobody else sees, and which go with it.

    Its temporary folder lies on a file system of its own, of memory.

    Args:
        out: folder of what its commands print, and of the temporary one.
    """

    def __init__(self, out: Path):
        self.out, self.begun = out, 0
        asked = subprocess.run([*UNSHARE, "true"], capture_output=True, text=True, check=False)
        self.refused = asked.stderr.strip() if asked.returncode else ""
        self.temporary = out / "temporary"
        self.temporary.mkdir(parents=True)
        # Of torch, the second thread of a process is gone in its forks.
        own = os.environ | {
            "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}",
            "OMP_NUM_THREADS": "1",
            "TMPDIR": str(self.temporary),
        }
        self.process = subprocess.Popen(
            [*(() if self.refused else UNSHARE), sys.executable, __file__],
            env=own, cwd=out, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        if not self.refused:
            self.refused = self.ask("mount", "-t", "tmpfs", "tmpfs", self.temporary)

    def ask(self, what: str, *values: object) -> Any:
        """What a function of the process returns, see `DOES`."""
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(json.dumps([what, *values], default=str) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def mount(self, *words: object) -> None:
        """`mount` with these words; where that is not permitted the test is skipped."""
        if why := self.refused or self.ask("mount", *words):
            pytest.skip(f"mounts of one's own are not permitted here: {why}")

    def read_only(self, folder: Path) -> None:
        """Nothing can be written to a folder."""
        folder.mkdir(parents=True, exist_ok=True)
        self.mount("--bind", folder, folder)
        self.mount("-o", "remount,bind,ro", folder)

    def full_at(self, size: object, folder: Path) -> None:
        """A folder is a disk of its own, empty, of so many bytes."""
        folder.mkdir(parents=True, exist_ok=True)
        self.mount("-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder)

    def seen(self, path: Path) -> Path:
        """Where this process finds what its commands have at `path`."""
        return Path(f"/proc/{self.process.pid}/root{path}")

    def begin(self, *words: object, **variables: object) -> Running:
        """`fovea WORDS` with these variables of the environment."""
        self.begun += 1
        log = self.out / "logs" / f"{self.begun}.log"
        own = {name: str(value) for name, value in variables.items()}
        return Running(self, self.ask("begin", [*map(str, words)], log, own), log)

    def fovea(self, *words: object) -> tuple[int, str]:
        """The exit code of `fovea WORDS`, and what it printed."""
        return self.begin(*words).ended()

    def end(self) -> None:
        """With the commands that it began."""
        assert self.process.stdin
        self.process.stdin.close()
        self.process.wait()


class Running(NamedTuple):
    """A command of a machine.

    Attributes:
        machine: that runs it.
        number: of its process.
        log: what it prints.
    """

    machine: Machine
    number: int
    log: Path

    def stop(self) -> None:
        """Let it stand still, until it is to `go_on`."""
        os.kill(self.number, signal.SIGSTOP)

    def go_on(self) -> None:
        os.kill(self.number, signal.SIGCONT)

    def ended(self) -> tuple[int, str]:
        """Its exit code, and what it printed, once it has ended.

        Without what multiprocessing says of processes that end as forks do.
        """
        code = self.machine.ask("ended", self.number)
        return code, re.sub(r"(?m)^.*/resource_tracker\.py:.*\n.*\n", "", self.log.read_text())


def until(condition: Callable[[], object]) -> None:
    """Wait until it is true."""
    over = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < over
        time.sleep(0.005)


def _mount(*words: str) -> str:
    """What `mount` says against it; empty where it has done it."""
    done = subprocess.run(["mount", *words], capture_output=True, text=True, check=False)
    return done.stderr.strip() or str(done.returncode or "")


def _serve() -> None:
    """Do what each line of stdin asks for, and answer in a line."""
    import torch

    from benchmarks.faults import commands

    torch.set_num_threads(1)
    for name in ONCE:
        importlib.import_module(name)

    def begin(words: list[str], log: str, variables: dict[str, str]) -> int:
        before = dict(os.environ)
        os.environ.update(variables)
        try:
            return commands.forked(words, Path(log))
        finally:
            os.environ.clear()
            os.environ.update(before)

    does: dict[str, Callable[..., object]] = {
        "mount": _mount,
        "begin": begin,
        "ended": commands.ended,
    }
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what anything prints is no answer
    for line in sys.stdin:
        what, *values = json.loads(line)
        print(json.dumps(does[what](*values)), file=answers, flush=True)


if __name__ == "__main__":
    _serve()
