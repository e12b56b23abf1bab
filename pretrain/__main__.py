"""`fovea pretrain`: encoders from recordings."""

from __future__ import annotations

import sys

from fovea import command
from fovea.command import Command, dispatch
from fovea.configs import show
from fovea.pretrain.training.malloc import keep_freed

ABOUT = """Pretrain vision encoders on recorded screens, without rewards.

  fovea pretrain configs               what -c finds by name
  fovea pretrain fit -c tov_vicreg --run runs/mine --data.recordings '[runs/recordings]'
  fovea pretrain fit --help            every setting
  fovea pretrain validate --run runs/mine
  fovea pretrain speed -c vicreg --data.recordings '[runs/recordings]' --bare true
  fovea hub --help                     encoder folders: check, pack, export, adopt

fit needs recordings (fovea atari collect) and writes a run folder: run.json, config.yaml,
metrics.csv, checkpoints/ and, at the end, encoder/. The same command again resumes. With another
--trainer.max_steps the run goes on to that; --init_from RUN begins a new run with the encoder of
another."""

COMMANDS = {
    "fit": Command("fovea.pretrain.training.fit:fit", "train an objective, export its encoder"),
    "validate": Command("fovea.pretrain.training.validate:validate", "print held-out numbers"),
    "speed": Command("fovea.pretrain.training.speed:speed", "samples a second of fit"),
    "configs": Command(f"{__name__}:configs", "list the configs that -c finds by name"),
}


def configs(arguments: list[str]) -> None:
    """Run `fovea pretrain configs`."""
    show("fovea pretrain configs", "fovea.pretrain", arguments)


def run(arguments: list[str]) -> int | None:
    """Run `fovea pretrain ARGUMENTS`."""
    keep_freed()
    return dispatch("fovea pretrain", ABOUT, COMMANDS, arguments)


if __name__ == "__main__":
    command.main(lambda: run(sys.argv[1:]))
