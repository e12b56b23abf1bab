"""`python -m analysis`: run folders in, pages out. A command is one file of this folder."""

from __future__ import annotations

import argparse

from analysis import report, study
from atari.command import main

COMMANDS = {"report": report, "study": study}


def parser() -> argparse.ArgumentParser:
    whole = argparse.ArgumentParser(
        prog="python -m analysis",
        description="Show what runs did. Reads run folders through their files alone, also while "
        "they train; needs neither torch nor a server.",
    )
    commands = whole.add_subparsers(metavar="COMMAND", required=True)
    for name, command in COMMANDS.items():
        one = commands.add_parser(
            name, help=command.HELP, formatter_class=argparse.RawDescriptionHelpFormatter
        )
        command.arguments(one)
        one.set_defaults(run=command.run)
    return whole


if __name__ == "__main__":
    args = parser().parse_args()
    main(lambda: args.run(args))
