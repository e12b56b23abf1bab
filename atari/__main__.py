"""`fovea atari`: play games into recordings, check them, and check this machine."""

from __future__ import annotations

import sys
from pathlib import Path

from fovea import command
from fovea.cluster import LOCAL
from fovea.command import (
    Command,
    UserError,
    dispatch,
    natural,
    parser,
    positive,
    probability,
)
from fovea.progress import bar
from fovea.tables import print_lines

ABOUT = """Record Atari games, look at recordings, make other things of them, and check that this
machine has what is needed.

A recording is a folder of Parquet shards for each game. It holds, for every agent step, the screen,
the action, the reward, and the console's 128 bytes of memory.

  fovea atari doctor
  fovea atari collect pong breakout freeway --out runs/recordings --steps 20000
  fovea atari verify runs/recordings
  fovea atari stats runs/recordings
  fovea atari play runs/recordings --game pong --out pong.webm

pandas.read_parquet("runs/recordings/pong") reads a game as a table. Agents play for
recordings too: fovea agents record."""

COLLECT = """Play games with a random policy and record every step.

Games are played as in ALE/*-v5 (sticky actions 0.25, four frames a step). Screens are those that
agents see: grey, the maximum of the last two frames, 84x84. If the command is stopped (Ctrl-C,
SIGTERM) or killed, run it again: only shards that were not complete are lost. What is recorded
depends on the games, --seed and the settings, never on --workers or --ray.

  fovea atari collect pong breakout --out runs/recordings --steps 20000
  fovea atari collect pong --out runs/kept --keep 0.8    holds an action for five steps on average
  fovea atari collect breakout --out runs/mode_8 --mode 8 --difficulty 1    another variant
  fovea atari collect pong --out s3://bucket/recordings    sent shard by shard (pip install s3fs)
  fovea atari collect pong --out runs/recordings --ray auto    played all over a Ray cluster

Recordings by trained agents are made with fovea agents record."""

VERIFY = """Read all of some recordings and check hashes, checksums, counts and the order of steps.
Every damaged shard and list of shards is named with its fix, and the exit code is then 1.

  fovea atari verify runs/recordings"""

LS = """List the games with their scores, or the recordings in folders: a line for each, and under
it one for each policy that played. Where recordings of a game were played with different settings
(sticky actions, all 18 actions ...), or with some that nobody wrote down, a last line says so. One
that is damaged or unfinished is listed as that, and the exit code is then 1.

  fovea atari ls
  fovea atari ls runs/recordings runs/by_agents"""

STATS = """Show how the policies of some recordings play, by game: episodes, returns, lengths and
how often each action was taken. Several recordings of a game are put together. Screens are read
only for --duplicates and --picture; hashes are checked by `fovea atari verify`.

  fovea atari stats runs/recordings runs/by_agents
  fovea atari stats runs/recordings --duplicates --picture screens.png"""

DOCTOR = """Check that this machine has what Fovea needs, and print the fix for what is missing.
The exit code is 1 if something needed is missing."""


def run(arguments: list[str]) -> int | None:
    """Run `fovea atari ARGUMENTS`."""
    return dispatch("fovea atari", ABOUT, COMMANDS, arguments)


def collect(arguments: list[str]) -> None:
    asked = parser("fovea atari collect", COLLECT)
    asked.add_argument("games", nargs="+", metavar="GAME", help="pong, MsPacman, ALE/Pong-v5")
    asked.add_argument(
        "--out",
        required=True,
        help="folder, or an address such as s3://bucket/recordings; each game gets a folder in it",
    )
    asked.add_argument(
        "--steps",
        type=positive,
        default=20_000,
        help="agent steps per game, at least: a recording is of whole shards (20000)",
    )
    asked.add_argument(
        "--seed", type=natural, default=0, help="seed of the games and the policy (0)"
    )
    asked.add_argument("--workers", type=positive, help="processes (one per core)")
    asked.add_argument(
        "--ray",
        metavar="ADDRESS",
        nargs="?",
        const=LOCAL,
        help="play in tasks of the Ray cluster there, such as auto or ray://HEAD:10001; without an "
        "ADDRESS, of a Ray of its own with --workers (pip install 'fovea-rl[ray]')",
    )
    asked.add_argument(
        "--sticky",
        type=probability,
        default=0.25,
        help="chance that a frame repeats an action (0.25)",
    )
    asked.add_argument(
        "--mode", type=natural, help="variant of the game, by ALE's number (the game's default)"
    )
    asked.add_argument(
        "--difficulty",
        type=natural,
        help="position of the difficulty switch, by ALE's number (the game's default)",
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
        help="agent steps per shard, at least; for recordings of fewer --steps give fewer (5000)",
    )
    args = asked.parse_args(arguments)

    from fovea.atari.collect import collect
    from fovea.atari.emulator import Settings

    datasets = collect(
        args.games,
        args.out,
        steps=args.steps,
        seed=args.seed,
        settings=Settings(sticky=args.sticky, mode=args.mode, difficulty=args.difficulty),
        shard_steps=args.shard_steps,
        keep=args.keep,
        workers=args.workers,
        ray=args.ray,
    )
    for dataset in datasets:
        print(f"{args.out.rstrip('/')}/{dataset.origin.game}: {dataset.counts}")


def verify(arguments: list[str]) -> int:
    asked = parser("fovea atari verify", VERIFY)
    asked.add_argument("folders", nargs="+", metavar="FOLDER")
    args = asked.parse_args(arguments)

    from fovea.atari.recordings import find_recordings, open_dataset, verify

    found = 0
    for folder in find_recordings(args.folders):
        try:
            shards = len(open_dataset(folder).shards)
            with bar(str(folder), "shards", shards, delay=2) as shown:
                dataset, damage = verify(folder, shown.update)
            faults = [f"damaged: {fault}" for fault in damage]
        except UserError as unread:  # other recordings follow
            faults = [_said(folder, unread)]
        found += len(faults)
        for fault in faults:
            print(fault, file=sys.stderr)
        if not faults:
            print(f"{folder}: whole, {dataset.counts}")
    if found:
        print(f"error: faults found: {found}, each named above with its fix", file=sys.stderr)
    return 1 if found else 0


def ls(arguments: list[str]) -> int | None:
    asked = parser("fovea atari ls", LS)
    asked.add_argument("folders", nargs="*", metavar="FOLDER")
    asked.add_argument(
        "--strict",
        action="store_true",
        help="end with 1 where recordings of a game were played with different settings",
    )
    args = asked.parse_args(arguments)

    if args.folders:
        faults, differ = _ls_recordings(args.folders)
        return int(bool(faults or (differ and args.strict)))
    from fovea.atari.games import GAMES
    from fovea.atari.ram import variables

    head = f"{'game':<18} {'in ALE ids':<17} {'random':>9} {'human':>9}"
    lines = [f"{head}  {'100k':<4}  RAM variables"]
    for rom_id, game in GAMES.items():
        known = len(variables(rom_id)) or ""
        lines.append(
            f"{rom_id:<18} {game.name:<17} {game.random:>9} {game.human:>9}  "
            f"{'yes' if game.atari_100k else '':<4}  {known}".rstrip()
        )
    print_lines(lines)
    return None


def _ls_recordings(folders: list[str]) -> tuple[list[str], list[str]]:
    """List recordings: what is wrong with some, and how those of a game were played differently."""
    from fovea.atari.origin import differences
    from fovea.atari.recordings import find_recordings, open_dataset
    from fovea.atari.stats import overview, tiers

    origins, faults = [], []
    for folder in find_recordings(folders):
        try:
            dataset = open_dataset(folder)
            lines = [*map("  {}".format, overview(tiers(folder, dataset)))]
        except UserError as unread:  # others follow
            faults.append(_said(folder, unread))
            print_lines(faults[-1:])
            continue
        origin = dataset.origin
        by = f"of {origin.source}" if origin.source else f"seed {origin.seed}"
        print_lines([f"{folder}: {dataset.counts}, {by}", *lines])
        origins.append(origin)
    differ = list(differences(origins))
    print_lines(differ)
    return faults, differ


def _said(folder: Path, fault: UserError) -> str:
    """A line about a recording that cannot be read."""
    from fovea.atari.recordings import dataset_path

    return f"{'damaged' if dataset_path(folder).exists() else 'unfinished'}: {fault}"


def stats(arguments: list[str]) -> None:
    asked = parser("fovea atari stats", STATS)
    asked.add_argument("folders", nargs="+", metavar="FOLDER")
    asked.add_argument(
        "--duplicates", action="store_true", help="read all screens and count those seen before"
    )
    asked.add_argument(
        "--picture", type=Path, help="write some screens of each policy there, as a PNG"
    )
    args = asked.parse_args(arguments)

    from fovea.atari.contact_sheet import check_name, contact_sheet
    from fovea.atari.recordings import find_recordings
    from fovea.atari.stats import by_game, lines, repeats

    if args.picture:
        check_name(args.picture)
    folders = find_recordings(args.folders)
    games = by_game(folders)
    for game, tiers in games.items():
        print_lines(lines(game, tiers))
    if args.duplicates:
        steps = sum(tier.steps for tiers in games.values() for tier in tiers)
        with bar("screens", "screens", steps, delay=2) as shown:
            counts = repeats(folders, shown.update)
        for game, (screens, again) in counts.items():
            share = 100 * again / screens
            print(f"{game}: {again:,} of {screens:,} screens ({share:.1f} %) occurred before")
    if args.picture:
        contact_sheet(args.picture, folders)
        print(f"{args.picture}: some screens of each policy")


def doctor(arguments: list[str]) -> int:
    parser("fovea atari doctor", DOCTOR).parse_args(arguments)

    from fovea.atari.doctor import report

    return report()


DATA = "fovea.atari.data_commands"
COMMANDS = {
    "collect": Command(f"{__name__}:collect", "play games and record them"),
    "verify": Command(f"{__name__}:verify", "check every byte of recordings"),
    "ls": Command(f"{__name__}:ls", "list the games, or what a folder holds"),
    "stats": Command(f"{__name__}:stats", "show how the policies of recordings play"),
    "play": Command(f"{DATA}:play", "write an episode as a film, its memory beside it"),
    "export": Command(f"{DATA}:export", "write recordings as NumPy files, or with images"),
    "import": Command(
        f"{DATA}:import_", "make recordings of DQN Replay, of Minari, or of NumPy files"
    ),
    "doctor": Command(f"{__name__}:doctor", "check Python, packages, games and this machine"),
}

if __name__ == "__main__":
    command.main(lambda: run(sys.argv[1:]))
