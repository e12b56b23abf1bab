"""python -m atari: play games into recordings, check them, and check this machine."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from atari import command

ABOUT = """Record Atari games, check recordings, and see whether this machine has what is needed.

A recording is one folder per game of Parquet shards: the screen an agent saw at each step, what it
did, what it got, and the console's 128 bytes of memory at that moment.

  python -m atari doctor
  python -m atari collect pong breakout freeway --out runs/recordings --steps 20000
  python -m atari verify runs/recordings
  python -m atari ls runs/recordings"""

COLLECT = """Play games with a random policy and record every step.

Games are played as ALE/*-v5 plays them (sticky actions 0.25, four frames a step), their screens
made as agents see them: grey, the maximum of the last two frames, 84x84. A kill at any time costs
the shards in hand; the same command again goes on, and what is recorded depends on the games,
--seed and the settings alone, never on --workers.

  python -m atari collect pong breakout --out runs/recordings --steps 20000"""


def probability(text: str) -> float:
    value = float(text)
    if not 0 <= value <= 1:
        raise ValueError
    return value


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        "python -m atari", description=ABOUT, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def add(run, about: str, text: str) -> argparse.ArgumentParser:
        added = commands.add_parser(
            run.__name__,
            help=about,
            description=text,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        added.set_defaults(run=run)
        return added

    collecting = add(collect, "play games and record them", COLLECT)
    collecting.add_argument("games", nargs="+", metavar="GAME", help="pong, MsPacman, ALE/Pong-v5")
    collecting.add_argument(
        "--out", required=True, type=Path, help="folder; a game gets its own in it"
    )
    collecting.add_argument(
        "--steps",
        type=command.positive,
        default=20_000,
        help="agent steps a game, at least (20000)",
    )
    collecting.add_argument("--seed", type=int, default=0, help="seed of games and policy (0)")
    collecting.add_argument("--workers", type=command.positive, help="processes (one per core)")
    collecting.add_argument(
        "--sticky",
        type=probability,
        default=0.25,
        help="chance that a frame repeats an action (0.25)",
    )
    collecting.add_argument(
        "--shard-steps",
        type=command.positive,
        default=5000,
        help="steps a shard, at least; what a kill costs a worker at most (5000)",
    )

    verifying = add(
        verify,
        "check recordings to the last byte",
        "Read recordings whole and check hashes, page checksums, counts and the order of steps.\n"
        "Names every damaged shard and how to mend it; the exit code is then 2.\n\n"
        "  python -m atari verify runs/recordings",
    )
    verifying.add_argument("folders", nargs="+", metavar="FOLDER", type=Path)

    listing = add(
        ls,
        "list the games, or what a folder holds",
        "List the games with their scores, or the recordings in a folder.\n\n"
        "  python -m atari ls\n  python -m atari ls runs/recordings",
    )
    listing.add_argument("folder", nargs="?", metavar="FOLDER", type=Path)

    add(
        doctor,
        "check Python, packages, games and this machine",
        "Check what this project needs and say how to mend what is missing.\n"
        "The exit code is 1 if anything fails.",
    )
    return parser.parse_args(argv)


def collect(args: argparse.Namespace) -> None:
    from atari.collect import collect
    from atari.emulator import Settings

    datasets = collect(
        args.games,
        args.out,
        steps=args.steps,
        seed=args.seed,
        settings=Settings(sticky=args.sticky),
        shard_steps=args.shard_steps,
        workers=args.workers,
    )
    for dataset in datasets:
        print(f"{args.out / dataset.origin.game}: {_counts(dataset)}")


def verify(args: argparse.Namespace) -> None:
    from atari.recordings import find_recordings, verify

    found = 0
    for folder in find_recordings(args.folders):
        dataset, faults = verify(folder)
        found += len(faults)
        for fault in faults:
            print(f"damaged: {fault}", file=sys.stderr)
        if not faults:
            print(f"{folder}: whole, {_counts(dataset)}")
    if found:
        raise command.UserError(f"faults found: {found}, each named above with its fix")


def ls(args: argparse.Namespace) -> None:
    if args.folder:
        from atari.recordings import find_recordings, open_dataset

        for folder in find_recordings([args.folder]):
            dataset = open_dataset(folder)
            print(f"{folder}: {_counts(dataset)}, seed {dataset.origin.seed}")
        return
    from atari.games import GAMES
    from atari.ram import variables

    print(f"{'game':<18} {'in ALE ids':<17} {'random':>9} {'human':>9}  {'100k':<4}  RAM variables")
    for rom_id, game in GAMES.items():
        known = len(variables(rom_id)) or ""
        print(
            f"{rom_id:<18} {game.name:<17} {game.random:>9} {game.human:>9}  "
            f"{'yes' if game.atari_100k else '':<4}  {known}".rstrip()
        )


def doctor(args: argparse.Namespace) -> int:
    from atari.doctor import report

    return report()


def _counts(dataset) -> str:
    return f"{dataset.rows} steps in {dataset.episodes} episodes, {len(dataset.shards)} shards"


if __name__ == "__main__":
    args = parse()
    command.main(lambda: args.run(args))
