"""What a page of the docs shows, run as it stands there with smaller numbers."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parent.parent

# One process for all commands: what takes longest in each is to import torch.
COMMANDS = """
import json, sys
from fovea.__main__ import run
for words in json.loads(sys.argv[1]):
    sys.argv = words
    assert not run(words[1:]), words
"""


class Block(NamedTuple):
    """A fenced block of a page."""

    language: str
    text: str

    @property
    def file(self) -> str | None:
        """The file that it is: its first line is a comment that names one."""
        named = re.match(r"# (\S+\.(?:py|yaml))\n", self.text)
        return named[1] if named else None

    @property
    def commands(self) -> list[list[str]]:
        """The words of each command of a block, which may go on after a backslash."""
        joined = re.sub(r"\\\n\s*", "", self.text)
        lines = [line.split("  #")[0].strip() for line in joined.splitlines()]
        lines = [line for line in lines if not line.startswith("#")]
        return [shlex.split(line) for line in lines if line]


def blocks(page: Path, *languages: str) -> list[Block]:
    """The blocks of a page in these languages, in their order."""
    found = re.findall(r"```(\w+)\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    return [Block(*one) for one in found if one[0] in languages]


def smaller(words: Sequence[str], values: Mapping[str, str]) -> list[str]:
    """A command with `values` of options in place of its own."""
    before = ["", *words]
    return [values.get(option, word) for option, word in zip(before, words, strict=False)]


def run(folder: Path, *arguments: str, package: Path = ROOT) -> str:
    """What Python prints with these arguments, in `folder`, with the code of `package`."""
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(package)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{shlex.join(arguments)}\n{done.stdout}"
    return done.stdout


def run_commands(folder: Path, commands: Sequence[Sequence[str]], package: Path = ROOT) -> str:
    """What `fovea` commands print, one after the other, as the console script finds modules."""
    return run(folder, "-P", "-c", COMMANDS, json.dumps(commands), package=package)
