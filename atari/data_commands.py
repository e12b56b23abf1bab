"""The commands that make something else of recordings, and recordings of other data."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from fovea.command import natural, parser, positive
from fovea.progress import bar

PLAY = """Write an episode of a recording as a film. Beside the screen stands the console's memory:
by name in the games whose memory is described (`fovea atari ls`), all 128 bytes in others. What has
changed since the step before is bright.

  fovea atari play runs/recordings --game pong --episode 3 --out pong.webm

A film is WebM (VP8, which browsers play) or, by its name, MP4 (MPEG-4 part 2, for other players),
15 steps a second, which is the speed that people play at."""

EXPORT = """Write recordings for other libraries. They stay as they are; what was exported before is
not written again.

  fovea atari export runs/recordings --out runs/numpy
  fovea atari export runs/recordings --out runs/images --to images

npz: a NumPy file for each episode, GAME/EPISODE.npz, with the arrays screen (T, 84, 84), action,
reward, terminal, truncated, lives, step and ram (T, 128), and the words game, policy and actions.

images: Parquet files of the same columns for all games, whose screens are pictures (PGM). The
library `datasets` of Hugging Face shows them as images:
load_dataset("parquet", data_files="runs/images/*/*.parquet")

minari: the data set fovea/GAME-v0 for each game (pip install 'fovea-rl[minari]'), which
minari.load_dataset("fovea/pong-v0") finds with MINARI_DATASETS_PATH=runs/minari, and which
`fovea atari import minari` makes the same recording of again, to the byte.

pandas, pyarrow and polars read recordings as they are, without an export."""

IMPORT = """Import another data set into recordings.

  fovea atari import dqn-replay SOURCE --out runs/dqn_replay --games Pong --checkpoints 1 25 50
  fovea atari import minari atari/pong/expert-v0 --out runs/minari
  fovea atari import npz FOLDER --out runs/mine --games pong

dqn-replay is DQN Replay (Agarwal et al. 2020, arXiv 1907.04543): what DQN agents saw in training.
SOURCE is a folder or any address that fsspec opens; gs://atari-replay-datasets/dqn/Pong wants the
package gcsfs. Files are named as in that bucket (Pong/1/replay_logs/$store$_observation_ckpt.1.gz),
as in SGI's scripts (Pong/observation_1.gz), or Pong/observation_RUN_CHECKPOINT.gz.

The rows of zeros between episodes are left out; the row that stands last in a file and came first
is put there; of checkpoint 50 only what 49 does not have is taken, where both are imported; and
episodes are cut after 27,000 steps, as they were. Recordings hold whole episodes: the one that a
file begins in the middle of is left out, and the one that it ends in is cut short. There are no
lives and no memory of the console, and rewards are clipped to -1, 0 and 1.

minari is a data set of Minari (pip install 'fovea-rl[minari]'): SOURCE is its folder, or its id,
which Minari downloads. Observations become grey screens of 84x84: such as are (84, 84) stay as they
are, of a stack of four the newest is taken, frames of 210x160 are resized, in grey where they are
RGB. JPEG is decoded. The observation after an episode's last action is left out.

npz is files of your own: SOURCE is a folder with a NumPy file for each episode, as `fovea atari
export` writes them. Arrays: screen (T, ...) uint8 of a shape as above, action and reward (T,), and
where there are any terminal and truncated (T,), lives (T,), ram (T, 128), and the words game and
policy. Without terminal and truncated an episode counts as cut short.

--games names the game where the data does not; --runs, --checkpoints and --rows are of DQN Replay.

Run the same command again to go on after an interruption; only shards that are missing are made."""


def play(arguments: list[str]) -> None:
    asked = parser("fovea atari play", PLAY)
    asked.add_argument("folders", nargs="+", metavar="FOLDER")
    asked.add_argument("--game", help="which game (needed where there are several)")
    asked.add_argument(
        "--episode", type=natural, default=0, help="in the order of play, from 0 (0)"
    )
    asked.add_argument("--out", required=True, type=Path, help="the film: NAME.webm or NAME.mp4")
    args = asked.parse_args(arguments)

    from fovea.atari.film import check_name, write_film
    from fovea.atari.play import find_episode, pictures

    check_name(args.out)
    episode = find_episode(args.folders, args.game, args.episode)
    with bar("film", "steps", len(episode), delay=2) as shown:

        def counted() -> Iterator[np.ndarray]:
            for picture in pictures(episode):
                yield picture
                shown.update()

        write_film(args.out, counted())
    print(
        f"{args.out}: episode {episode.number} of {episode.game} by {episode.policy}, "
        f"{len(episode)} steps, return {episode.rows['reward'].sum()}"
    )


def export(arguments: list[str]) -> None:
    asked = parser("fovea atari export", EXPORT)
    asked.add_argument("folders", nargs="+", metavar="FOLDER")
    asked.add_argument("--out", required=True, type=Path, help="folder; each game gets one in it")
    asked.add_argument(
        "--to", choices=("npz", "images", "minari"), default="npz", help="see above (npz)"
    )
    args = asked.parse_args(arguments)

    from fovea.atari.export import export_images, export_numpy
    from fovea.atari.export_minari import export_minari, minari_folder
    from fovea.atari.recordings import find_recordings, open_dataset

    writers = {"npz": export_numpy, "images": export_images, "minari": export_minari}
    place = minari_folder if args.to == "minari" else Path.joinpath
    found = [(folder, open_dataset(folder)) for folder in find_recordings(args.folders)]
    with bar("export", "steps", sum(dataset.rows for _, dataset in found), delay=2) as shown:
        for folder, _ in found:
            for steps in writers[args.to](folder, args.out):
                shown.update(steps)
    for folder, dataset in found:
        print(f"{folder} to {place(args.out, dataset.origin.game)}: {dataset.counts}")


def import_(arguments: list[str]) -> None:
    asked = parser("fovea atari import", IMPORT)
    asked.add_argument("kind", choices=("dqn-replay", "minari", "npz"), help="the data set")
    asked.add_argument("source", metavar="SOURCE", help="folder, or address such as gs://...")
    asked.add_argument(
        "--out", required=True, type=Path, help="folder; each game gets a folder in it"
    )
    asked.add_argument("--games", nargs="+", metavar="GAME", help="pong, MsPacman (all there are)")
    asked.add_argument("--runs", nargs="+", type=positive, metavar="N", help="1 to 5 (all)")
    asked.add_argument("--checkpoints", nargs="+", type=natural, metavar="N", help="0 to 50 (all)")
    asked.add_argument(
        "--rows", type=positive, help="of each checkpoint, from the file's beginning (all)"
    )
    asked.add_argument(
        "--shard-steps", type=positive, default=5000, help="steps per shard, at least (5000)"
    )
    args = asked.parse_args(arguments)
    if args.kind != "dqn-replay":
        _import_one_game(asked, args)
        return

    from fovea.atari.import_dqn_replay import import_dqn_replay

    datasets = import_dqn_replay(
        args.source,
        args.out,
        games=args.games,
        runs=args.runs,
        checkpoints=args.checkpoints,
        rows=args.rows,
        shard_steps=args.shard_steps,
    )
    for dataset in datasets:
        print(f"{args.out / dataset.origin.game}: {dataset.counts}")


def _import_one_game(asked: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    """What --games names the one game of."""
    if args.runs or args.checkpoints or args.rows:
        asked.error("--runs, --checkpoints and --rows are of DQN Replay: leave them out")
    if args.games and len(args.games) > 1:
        asked.error(f"--games {' '.join(args.games)}: name the one game of {args.source}")

    from fovea.atari.import_minari import import_minari
    from fovea.atari.import_numpy import import_numpy

    importer = {"minari": import_minari, "npz": import_numpy}[args.kind]
    game = args.games[0] if args.games else None
    for dataset in importer(args.source, args.out, game=game, shard_steps=args.shard_steps):
        print(f"{args.out / dataset.origin.game}: {dataset.counts}")
