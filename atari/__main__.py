"""`fovea atari`: play games into recordings, check them, and check this machine."""

from __future__ import annotations

import sys
from pathlib import Path

from fovea import command
from fovea.command import Command, UserError, dispatch, natural, parser, positive, probability

ABOUT = """Record Atari games, check recordings, and check that this machine has what is needed.

A recording is a folder of Parquet shards for each game. It holds, for every agent step, the screen,
the action, the reward, and the console's 128 bytes of memory.

  fovea atari doctor
  fovea atari collect pong breakout freeway --out runs/recordings --steps 20000
  fovea atari verify runs/recordings
  fovea atari stats runs/recordings

Agents play for recordings too: fovea agents record."""

COLLECT = """Play games with a random policy and record every step.

Games are played as in ALE/*-v5 (sticky actions 0.25, four frames a step). Screens are those that
agents see: grey, the maximum of the last two frames, 84x84. If the command is killed, run it again:
only shards that were not complete are lost. What is recorded depends on the games, --seed and the
settings, never on --workers.

  fovea atari collect pong breakout --out runs/recordings --steps 20000
  fovea atari collect pong --out runs/kept --keep 0.8    holds an action for five steps on average

Recordings by trained agents are made with fovea agents record."""

VERIFY = """Read all of some recordings and check hashes, checksums, counts and the order of steps.
Every damaged shard is named with its fix, and the exit code is then 2.

  fovea atari verify runs/recordings"""

LS = """List the games with their scores, or the recordings in folders: a line for each, and under
it one for each policy that played. Where recordings of a game were played with different settings
(sticky actions, all 18 actions ...), a last line says so.

  fovea atari ls
  fovea atari ls runs/recordings runs/by_agents"""

STATS = """Show how the policies of some recordings play, by game: episodes, returns, lengths and
how often each action was taken. Several recordings of a game are put together. Screens are not
read, and hashes not checked (`fovea atari verify` does that).

  fovea atari stats runs/recordings runs/by_agents"""

DOCTOR = """Check that this machine has what Fovea needs, and print the fix for what is missing.
The exit code is 1 if something needed is missing."""


def run(arguments: list[str]) -> int | None:
    """Run `fovea atari ARGUMENTS`."""
    return dispatch("fovea atari", ABOUT, COMMANDS, arguments)


def collect(arguments: list[str]) -> None:
    asked = parser("fovea atari collect", COLLECT)
    asked.add_argument("games", nargs="+", metavar="GAME", help="pong, MsPacman, ALE/Pong-v5")
    asked.add_argument(
        "--out", required=True, type=Path, help="folder; each game gets a folder in it"
    )
    asked.add_argument(
        "--steps", type=positive, default=20_000, help="agent steps per game, at least (20000)"
    )
    asked.add_argument(
        "--seed", type=natural, default=0, help="seed of the games and the policy (0)"
    )
    asked.add_argument("--workers", type=positive, help="processes (one per core)")
    asked.add_argument(
        "--sticky",
        type=probability,
        default=0.25,
        help="chance that a frame repeats an action (0.25)",
    )
    asked.add_argument(
        "--keep",
        type=probability,
        default=0.0,
        help="chance that the policy takes the action of the step before again (0)",
    )
    asked.add_argument(
        "--shard-steps",
        type=positive,
        default=5000,
        help="agent steps per shard, at least (5000)",
    )
    args = asked.parse_args(arguments)

    from fovea.atari.collect import collect
    from fovea.atari.emulator import Settings

    datasets = collect(
        args.games,
        args.out,
        steps=args.steps,
        seed=args.seed,
        settings=Settings(sticky=args.sticky),
        shard_steps=args.shard_steps,
        keep=args.keep,
        workers=args.workers,
    )
    for dataset in datasets:
        print(f"{args.out / dataset.origin.game}: {dataset.counts}")


def verify(arguments: list[str]) -> None:
    asked = parser("fovea atari verify", VERIFY)
    asked.add_argument("folders", nargs="+", metavar="FOLDER", type=Path)
    args = asked.parse_args(arguments)

    from fovea.atari.recordings import find_recordings, verify

    found = 0
    for folder in find_recordings(args.folders):
        dataset, faults = verify(folder)
        found += len(faults)
        for fault in faults:
            print(f"damaged: {fault}", file=sys.stderr)
        if not faults:
            print(f"{folder}: whole, {dataset.counts}")
    if found:
        raise UserError(f"faults found: {found}, each named above with its fix")


def ls(arguments: list[str]) -> None:
    asked = parser("fovea atari ls", LS)
    asked.add_argument("folders", nargs="*", metavar="FOLDER", type=Path)
    args = asked.parse_args(arguments)

    if args.folders:
        _ls_recordings(args.folders)
        return
    from fovea.atari.games import GAMES
    from fovea.atari.ram import variables

    print(f"{'game':<18} {'in ALE ids':<17} {'random':>9} {'human':>9}  {'100k':<4}  RAM variables")
    for rom_id, game in GAMES.items():
        known = len(variables(rom_id)) or ""
        print(
            f"{rom_id:<18} {game.name:<17} {game.random:>9} {game.human:>9}  "
            f"{'yes' if game.atari_100k else '':<4}  {known}".rstrip()
        )


def _ls_recordings(folders: list[Path]) -> None:
    from fovea.atari.recordings import find_recordings, open_dataset
    from fovea.atari.stats import differences, overview, tiers

    found = [(folder, open_dataset(folder)) for folder in find_recordings(folders)]
    for folder, dataset in found:
        print(f"{folder}: {dataset.counts}, seed {dataset.origin.seed}")
        print(*map("  {}".format, overview(tiers(folder, dataset))), sep="\n")
    for line in differences(dataset.origin for _, dataset in found):
        print(line)


def stats(arguments: list[str]) -> None:
    asked = parser("fovea atari stats", STATS)
    asked.add_argument("folders", nargs="+", metavar="FOLDER", type=Path)
    args = asked.parse_args(arguments)

    from fovea.atari.recordings import find_recordings
    from fovea.atari.stats import by_game, lines

    for game, tiers in by_game(find_recordings(args.folders)).items():
        print(*lines(game, tiers), sep="\n")


def doctor(arguments: list[str]) -> int:
    parser("fovea atari doctor", DOCTOR).parse_args(arguments)

    from fovea.atari.doctor import report

    return report()


COMMANDS = {
    "collect": Command(f"{__name__}:collect", "play games and record them"),
    "verify": Command(f"{__name__}:verify", "check every byte of recordings"),
    "ls": Command(f"{__name__}:ls", "list the games, or what a folder holds"),
    "stats": Command(f"{__name__}:stats", "show how the policies of recordings play"),
    "doctor": Command(f"{__name__}:doctor", "check Python, packages, games and this machine"),
}

if __name__ == "__main__":
    command.main(lambda: run(sys.argv[1:]))
