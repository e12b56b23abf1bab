"""`fovea ROOM COMMAND`, as `python -m fovea` too."""

from __future__ import annotations

import os
import sys
from typing import NoReturn

from fovea import __version__, command
from fovea.command import Command, dispatch

ABOUT = """Better eyes for agents that learn from pixels: pretrain vision encoders on what an Atari
agent sees, without rewards, plug them into reinforcement learning, and see what they know.

  fovea atari collect pong breakout --out runs/recordings
  fovea pretrain fit -c tov_vicreg --run runs/mine --data.recordings '[runs/recordings]'
  fovea probes run --encoder mine=runs/mine --recordings runs/recordings --run runs/probes
  fovea agents fit -c dqn_frozen --run runs/dqn
  fovea analysis report runs --out runs/report"""

COMMANDS = {
    "atari": Command("fovea.atari.__main__:run", "record games, check recordings and this machine"),
    "pretrain": Command("fovea.pretrain.__main__:run", "pretrain encoders on recordings"),
    "hub": Command(
        "fovea.pretrain.hub:run", "encoder folders: look at, verify, pack, export, adopt"
    ),
    "probes": Command("fovea.probes.__main__:run", "measure what encoders know and look at"),
    "agents": Command("fovea.agents.__main__:run", "train and evaluate agents"),
    "analysis": Command("fovea.analysis.__main__:run", "reports and studies from run folders"),
}


def run(arguments: list[str]) -> int | None:
    """Run `fovea ARGUMENTS`; modules in the current folder can be named in configs."""
    here = os.getcwd()  # not "", which changes where a config is read, below its folder
    if here not in sys.path:
        sys.path.append(here)  # last, so that no file there hides a package
    if arguments == ["--version"]:
        print(f"fovea {__version__}")
        return None
    return dispatch("fovea", ABOUT, COMMANDS, arguments)


def main() -> NoReturn:
    """The console script."""
    command.main(lambda: run(sys.argv[1:]))


if __name__ == "__main__":
    main()
