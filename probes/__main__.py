"""`fovea probes`: measure what encoders attend to, how sparse they are, and what they know."""

from __future__ import annotations

import sys
from pathlib import Path

from fovea import command
from fovea.command import ACCELERATORS, Command, dispatch, parser, positive

NORMS = ("none", "standard", "whiten")  # FeatureNormKind, which lies beside torch
ABOUT = """Measure encoders side by side on recorded screens, training nothing but linear read-outs.

  fovea probes ls
  fovea probes run --encoder mine=runs/mine/encoder --recordings runs/recordings \\
      --run runs/probes

Then show the result: fovea analysis report runs --out runs/report"""

RUN = """Measure encoders by every probe, beside four references: an untrained encoder of the first
one's shape (random), a PCA of each game's raw screens (pixels), one of all games' with as many
numbers as the encoder's summary and mean token (pixels_pooled), and the most frequent answer
(majority).

Each result is stored when it is there; the same command again skips what is finished, and goes on
after a kill. Episodes are divided once into training, validation and test.

  fovea probes run --encoder tov=runs/tov/encoder --encoder vicreg=runs/vicreg/encoder \\
      --recordings runs/recordings --run runs/probes --probe state --samples 2000"""


def run(arguments: list[str]) -> int | None:
    """Run `fovea probes ARGUMENTS`."""
    return dispatch("fovea probes", ABOUT, COMMANDS, arguments)


def measure(arguments: list[str]) -> None:
    asked = parser("fovea probes run", RUN)
    asked.add_argument(
        "--encoder",
        action="append",
        required=True,
        metavar="NAME=REF",
        help="an encoder or run folder, hf-hub:ORG/NAME, or random:vit_micro; repeat for more",
    )
    asked.add_argument(
        "--recordings",
        nargs="+",
        required=True,
        metavar="FOLDER",
        help="what to look at: folders, or addresses such as s3://bucket/recordings",
    )
    asked.add_argument("--run", required=True, type=Path, metavar="FOLDER", help="the run folder")
    asked.add_argument(
        "--probe", action="append", metavar="NAME", help="one of `fovea probes ls`; repeat (all)"
    )
    asked.add_argument(
        "--samples",
        type=positive,
        default=8600,
        help="screen stacks a game, 70%% for training, 10%% validation, 20%% test (8600)",
    )
    asked.add_argument(
        "--blocks",
        nargs="+",
        type=positive,
        metavar="NUMBER",
        help="blocks whose features are read, side by side, counted from 1 (the last)",
    )
    asked.add_argument(
        "--norm",
        choices=NORMS,
        help="how the probe state normalises what it reads with few labels, as the agents' setting "
        "features.norm (standard)",
    )
    asked.add_argument("--seed", type=int, default=0, help="of the division and the draws (0)")
    asked.add_argument("--accelerator", choices=ACCELERATORS, default="auto", help="(auto)")
    args = asked.parse_args(arguments)

    from fovea.probes.run import run

    run(
        args.encoder,
        args.recordings,
        args.run,
        only=args.probe,
        samples=args.samples,
        blocks=args.blocks or (),
        norm=args.norm,
        seed=args.seed,
        accelerator=args.accelerator,
    )


def ls(arguments: list[str]) -> None:
    parser("fovea probes ls", "List the probes and what they measure.").parse_args(arguments)

    from fovea.probes.run import all_probes

    for name, module in all_probes().items():
        print(f"{name:<12} {module.TITLE}\n{'':<12} {module.ABOUT}\n")


COMMANDS = {
    "run": Command(f"{__name__}:measure", "measure encoders and store the tables"),
    "ls": Command(f"{__name__}:ls", "list the probes and what they measure"),
}

if __name__ == "__main__":
    command.main(lambda: run(sys.argv[1:]))
