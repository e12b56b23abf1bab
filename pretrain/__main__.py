"""`fovea pretrain`: encoders from recordings."""

from __future__ import annotations

import sys

from fovea import command
from fovea.command import Command, dispatch
from fovea.pretrain.training.malloc import keep_freed

ABOUT = """Pretrain vision encoders on recorded screens, without rewards.

  fovea pretrain fit -c pretrain/configs/tov_vicreg.yaml --run runs/mine
  fovea pretrain fit --help            every setting
  fovea hub --help                     list and verify encoder folders

fit needs recordings (fovea atari collect) and writes a run folder: run.json, config.yaml,
metrics.csv, checkpoints/ and, at the end, encoder/. The same command again resumes."""

COMMANDS = {
    "fit": Command("fovea.pretrain.training.fit:fit", "train an objective, export its encoder"),
}


def run(arguments: list[str]) -> int | None:
    """Run `fovea pretrain ARGUMENTS`."""
    keep_freed()
    return dispatch("fovea pretrain", ABOUT, COMMANDS, arguments)


if __name__ == "__main__":
    command.main(lambda: run(sys.argv[1:]))
