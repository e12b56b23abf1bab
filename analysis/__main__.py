"""`fovea analysis`: run folders in, pages out. A command is one file of this folder."""

from __future__ import annotations

import sys

from fovea import command
from fovea.command import Command, dispatch

ABOUT = """Show what runs did. Reads run folders through their files alone, also while they train;
needs no torch."""

COMMANDS = {
    "report": Command(
        "fovea.analysis.reporting:run", "make a page from run folders that opens from disk"
    ),
    "serve": Command(
        "fovea.analysis.serve:run", "the same page live, on this machine alone, while runs train"
    ),
    "study": Command(
        "fovea.analysis.study:run", "run many encoders or agents alike and write their table"
    ),
    "choose-tasks": Command(
        "fovea.analysis.transfer:run", "which contexts to train agents in, of many"
    ),
}


def run(arguments: list[str]) -> int | None:
    """Run `fovea analysis ARGUMENTS`."""
    return dispatch("fovea analysis", ABOUT, COMMANDS, arguments)


if __name__ == "__main__":
    command.main(lambda: run(sys.argv[1:]))
