"""python -m probes: measure what encoders attend to, how sparse they are, and what they know."""

from __future__ import annotations

import argparse
from pathlib import Path

from atari import command

ABOUT = """Measure encoders side by side on recorded screens, training nothing but linear read-outs.

  python -m probes ls
  python -m probes run --encoder mine=runs/mine/encoder --recordings runs/recordings \\
      --run runs/probes

Then show the result: python -m analysis report runs --out runs/report"""

RUN = """Measure encoders by every probe, beside three references: an untrained encoder of the first
one's shape (random), a PCA of the raw screens (pixels) and the most frequent answer (majority).

Each result is stored when it is there; the same command again skips what is finished, and goes on
after a kill. Episodes are divided once into training, validation and test.

  python -m probes run --encoder tov=runs/tov/encoder --encoder vicreg=runs/vicreg/encoder \\
      --recordings runs/recordings --run runs/probes --probe state --samples 2000"""


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        "python -m probes", description=ABOUT, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    running = commands.add_parser(
        "run",
        help="measure encoders and store the tables",
        description=RUN,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    running.add_argument(
        "--encoder",
        action="append",
        required=True,
        metavar="NAME=REF",
        help="an encoder or run folder, hf-hub:ORG/NAME, or random:vit_micro; repeat for more",
    )
    running.add_argument(
        "--recordings",
        nargs="+",
        required=True,
        type=Path,
        metavar="FOLDER",
        help="what to look at",
    )
    running.add_argument("--run", required=True, type=Path, metavar="FOLDER", help="the run folder")
    running.add_argument(
        "--probe",
        action="append",
        metavar="NAME",
        help="one of `python -m probes ls`; repeat (all)",
    )
    running.add_argument(
        "--samples",
        type=command.positive,
        default=8600,
        help="screen stacks a game, 70%% for training, 10%% validation, 20%% test (8600)",
    )
    running.add_argument("--seed", type=int, default=0, help="of the division and the draws (0)")
    running.add_argument(
        "--accelerator", choices=command.ACCELERATORS, default="auto", help="(auto)"
    )
    running.set_defaults(command=run)
    listing = commands.add_parser("ls", help="list the probes and what they measure")
    listing.set_defaults(command=ls)
    return parser.parse_args(argv)


def run(args: argparse.Namespace) -> None:
    from probes.run import run

    run(
        args.encoder,
        args.recordings,
        args.run,
        only=args.probe,
        samples=args.samples,
        seed=args.seed,
        accelerator=args.accelerator,
    )


def ls(args: argparse.Namespace) -> None:
    from probes.run import found

    for name, module in found().items():
        print(f"{name:<12} {module.TITLE}\n{'':<12} {module.ABOUT}\n")


if __name__ == "__main__":
    args = parse()
    command.main(lambda: args.command(args))
