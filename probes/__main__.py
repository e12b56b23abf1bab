"""`fovea probes`: measure what encoders attend to, how sparse they are, and what they know."""

from __future__ import annotations

import sys
from pathlib import Path

from fovea import command
from fovea.command import ACCELERATORS, Command, UserError, dispatch, natural, parser, positive

NORMS = ("none", "standard", "whiten")  # FeatureNormKind, which lies beside torch
ABOUT = """Measure encoders side by side on recorded screens, training nothing but linear read-outs.

  fovea probes ls
  fovea probes run --encoder mine=runs/mine/encoder --recordings runs/recordings \\
      --run runs/probes

Then compare, and show the result:

  fovea probes compare runs/probes
  fovea analysis report runs --out runs/report"""

RUN = """Measure encoders by every probe, beside four references: an untrained encoder of the first
one's shape (random), a PCA of each game's raw screens (pixels), one of all games' with as many
numbers as the encoder's summary and mean token (pixels_pooled), and the most frequent answer
(majority).

Each result is stored when it is there; the same command again skips what is finished, and goes on
after a kill. Episodes are divided once into training, validation and test. Features are kept in
RUN/features (4 GB at most), so that another probe encodes no screen again; delete it at any time.

Where a probe does not apply to an encoder of yours, or a game lacks what it needs (episodes, a
table of its memory, rewards), that alone is left out: a line says so, and the exit code is 1.

  fovea probes run --encoder tov=runs/tov/encoder --encoder vicreg=runs/vicreg/encoder \\
      --recordings runs/recordings --run runs/probes --probe state --samples 2000"""

COMPARE = """Stored results side by side: scores of every encoder with 95 % bootstrap intervals over
test episodes, and what they are above or below another encoder, on the same episodes.

Encoders of one name in several folders are runs of one method (seeds): their mean is shown, and of
five or more the runs are drawn again as well.

  fovea probes compare runs/probes
  fovea probes compare runs/probes tov vicreg --against vicreg --probe state --by game
  fovea probes compare runs/probes tov --measure r2 --by game variable block --csv gained.csv
  fovea probes compare runs/seed-0/probes runs/seed-1/probes"""


CORRELATE = """Which probes told how well agents play: Spearman's rank correlation of what a verdict
of a probe is of with the agents' evaluated returns, and its p by permutations.

Agents are compared with agents that have the same settings but for encoder and seed, in one game
(a group); rho is the mean over groups. It reads run folders below those given, and runs nothing.
An encoder that agents were given has to be probed in that game, by fovea probes run.

  fovea probes correlate runs"""

CHOOSE = """Rank encoders for a game in minutes, before an agent is trained, by the probe that goes
best with returns in runs that there are. It says how well that predicted, over how many encoders,
and refuses to rank where the evidence is too thin.

  fovea probes choose --game pong --encoder a=runs/a --encoder b=runs/b \\
      --recordings runs/recordings/pong --runs runs --run runs/choice"""


def run(arguments: list[str]) -> int | None:
    """Run `fovea probes ARGUMENTS`."""
    return dispatch("fovea probes", ABOUT, COMMANDS, arguments)


def measure(arguments: list[str]) -> int:
    asked = parser("fovea probes run", RUN)
    asked.add_argument(
        "--encoder",
        action="append",
        required=True,
        metavar="NAME=REF",
        help="an encoder or run folder, hf-hub:ORG/NAME, or random:vit_micro; an agent's run "
        "folder (its encoder as adapted), or heads:FOLDER (what its heads read); timm:NAME, with "
        "published weights; repeat for more",
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
    asked.add_argument("--seed", type=natural, default=0, help="of the division and the draws (0)")
    asked.add_argument("--accelerator", choices=ACCELERATORS, default="auto", help="(auto)")
    asked.add_argument(
        "--no-cache", action="store_true", help="keep no features in RUN/features (they are kept)"
    )
    args = asked.parse_args(arguments)

    from fovea.probes.run import run

    lacking = run(
        args.encoder,
        args.recordings,
        args.run,
        only=args.probe,
        samples=args.samples,
        blocks=args.blocks or (),
        norm=args.norm,
        seed=args.seed,
        accelerator=args.accelerator,
        cache=not args.no_cache,
    )
    return 1 if lacking else 0


def compare(arguments: list[str]) -> None:
    asked = parser("fovea probes compare", COMPARE)
    asked.add_argument(
        "what",
        nargs="+",
        metavar="FOLDER|NAME",
        help="run folders of probes, then names of encoders in them (all)",
    )
    asked.add_argument(
        "--against", metavar="NAME", help="the encoder to subtract (random, else the first)"
    )
    asked.add_argument("--probe", action="append", metavar="NAME", help="repeat for more (all)")
    asked.add_argument(
        "--measure", action="append", metavar="NAME", help="r2, f1, ...; repeat for more (all)"
    )
    asked.add_argument(
        "--by",
        nargs="+",
        choices=("game", "variable", "category", "block"),
        default=[],
        help="what has rows of its own in place of a mean",
    )
    asked.add_argument("--csv", type=Path, metavar="FILE", help="write the table to a file, too")
    args = asked.parse_args(arguments)
    folders = [Path(one) for one in args.what if Path(one).is_dir()]
    names = [one for one in args.what if not Path(one).is_dir()]
    if not folders:
        raise UserError(f"{names[0]} is no folder: give one of `fovea probes run` first")

    from fovea.files import write_text
    from fovea.probes import compare as comparing
    from fovea.tables import print_lines

    table, notes = comparing.compare(
        folders,
        names,
        against=args.against,
        probes=args.probe or (),
        measures=args.measure or (),
        by=args.by,
    )
    print_lines([*comparing.text(table).splitlines(), *notes])
    if args.csv:
        write_text(args.csv, table.csv())


def correlate(arguments: list[str]) -> None:
    asked = parser("fovea probes correlate", CORRELATE)
    asked.add_argument("runs", nargs="+", type=Path, metavar="FOLDER", help="of runs of both kinds")
    asked.add_argument("--csv", type=Path, metavar="FILE", help="write the table to a file, too")
    args = asked.parse_args(arguments)

    from fovea.files import write_text
    from fovea.probes import predict
    from fovea.tables import aligned

    table = predict.table(predict.correlate(args.runs))
    rows = [[f"{cell:.3f}" if isinstance(cell, float) else str(cell) for cell in row]
            for row in table.rows]  # fmt: skip
    print(*aligned([table.columns, *rows], range(2, len(table.columns))), sep="\n")
    print(table.note)
    if args.csv:
        write_text(args.csv, table.csv())


def choose(arguments: list[str]) -> None:
    asked = parser("fovea probes choose", CHOOSE)
    asked.add_argument("--game", required=True, help="that the agent is to play")
    asked.add_argument("--encoder", action="append", required=True, metavar="NAME=REF",
                       help="as for fovea probes run; repeat")  # fmt: skip
    asked.add_argument("--recordings", nargs="+", required=True, metavar="FOLDER",
                       help="of the game")  # fmt: skip
    asked.add_argument("--runs", nargs="+", required=True, type=Path, metavar="FOLDER",
                       help="agents and probes to learn from what predicts")  # fmt: skip
    asked.add_argument("--run", required=True, type=Path, metavar="FOLDER",
                       help="where the probe's result goes")  # fmt: skip
    asked.add_argument("--samples", type=positive, default=4000, help="screen stacks (4000)")
    asked.add_argument("--accelerator", choices=ACCELERATORS, default="auto", help="(auto)")
    args = asked.parse_args(arguments)

    from fovea.probes.predict import choose

    print(*choose(args.game, args.encoder, args.recordings, args.runs, args.run,
                  args.samples, args.accelerator), sep="\n")  # fmt: skip


def ls(arguments: list[str]) -> None:
    parser("fovea probes ls", "List the probes and what they measure.").parse_args(arguments)

    from fovea.probes.run import all_probes

    for name, module in all_probes().items():
        print(f"{name:<12} {module.TITLE}\n{'':<12} {module.ABOUT}\n")


COMMANDS = {
    "run": Command(f"{__name__}:measure", "measure encoders and store the tables"),
    "compare": Command(f"{__name__}:compare", "stored results side by side, with intervals"),
    "correlate": Command(f"{__name__}:correlate", "which probes go with agents' returns"),
    "choose": Command(f"{__name__}:choose", "rank encoders for a game before training agents"),
    "ls": Command(f"{__name__}:ls", "list the probes and what they measure"),
}

if __name__ == "__main__":
    command.main(lambda: run(sys.argv[1:]))
