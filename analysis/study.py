"""`python -m analysis study`: many runs from one file, probed alike, and the table of them."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import nullcontext
from dataclasses import dataclass, fields
from pathlib import Path

import yaml
from tqdm import tqdm

from atari.command import UserError
from atari.files import write_text

HELP = "pretrain many encoders, probe them alike, and write the table that compares them"

ABOUT = """\
Pretrain every run of a study file for the same number of samples and several seeds, probe each
seed's encoders together, and write OUT/study.md and OUT/study.csv. Seed by seed, so that there is
a table after the first. The same command again skips what is finished and goes on where it was.
"""

EXAMPLE = """\
example:
  python -m analysis study analysis/studies/objectives.yaml --out runs/objectives --seeds 0
"""


@dataclass(frozen=True)
class Study:
    """A study file.

    Attributes:
        title: heading of the table.
        games: what is recorded, with the random policy.
        steps: agent steps a game.
        samples, batch: of every run.
        stacks: of screens that the probes look at, a game.
        seeds: of the split by episode, the weights and every draw, of a run as of its probes.
        runs: {name: {"config": file, "settings": {dotted name: value}}}.
        differences: pairs of runs [a, b] whose difference a - b is shown.
    """

    title: str
    games: list[str]
    steps: int
    samples: int
    batch: int
    stacks: int
    seeds: list[int]
    runs: dict[str, dict]
    differences: list[list[str]]


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.description, parser.epilog = ABOUT, EXAMPLE
    parser.add_argument("study", metavar="FILE", type=Path, help="what is run")
    parser.add_argument("--out", metavar="FOLDER", type=Path, required=True, help="where to")
    parser.add_argument("--seeds", type=int, nargs="+", help="only these of the study's seeds")
    parser.add_argument("--samples", type=int, help="of each run, in place of the study's")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="only these runs")
    parser.add_argument(
        "--jobs",
        type=int,
        default=1,
        help="runs at once, which share the cores or the GPU; each then writes what it says to "
        "OUT/seed-N/NAME.log (1)",
    )
    parser.add_argument(
        "--accelerator", choices=("auto", "cpu", "cuda"), default="auto", help="(auto)"
    )


def run(args: argparse.Namespace) -> None:
    from analysis import standing

    study = read(args.study)
    names = _chosen("run", args.only, list(study.runs))
    seeds = _chosen("seed", args.seeds, study.seeds)
    samples = args.samples or study.samples
    recordings = args.out / "recordings"
    _call("atari", "collect", *study.games, "--out", recordings, "--steps", study.steps)
    for done, seed in enumerate(seeds):
        folder = args.out / f"seed-{seed}"
        fits = {
            folder / name: _fit(study, name, seed, samples, recordings, folder, args)
            for name in names
        }
        if args.jobs > 1:
            _side_by_side(fits, args.jobs, f"seed {seed}")
        else:
            _in_turn(fits, f"seed {seed}")
        encoders = [part for name in names for part in ("--encoder", f"{name}={folder / name}")]
        print(f"== probes, seed {seed}", flush=True)
        _call("probes", "run", *encoders, "--recordings", recordings, "--run", folder / "probes",
              "--probe", "state", "--probe", "collapse", "--samples", study.stacks, "--seed", seed,
              "--accelerator", args.accelerator)  # fmt: skip
        table = standing.table(args.out, names, seeds[: done + 1], study.differences)
        for name, text in standing.written(study.title, table).items():
            write_text(args.out / name, text)
        print(f"table: {args.out / 'study.md'}", flush=True)


def read(path: Path) -> Study:
    """A study file. Raises UserError where it is missing or lacks or has an unknown key."""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as fault:
        raise UserError(f"no study file {path}: {fault.strerror}") from None
    known = {field.name for field in fields(Study)}
    for key in sorted(known ^ content.keys()):
        what = "lacks" if key in known else "has an unknown key"
        raise UserError(f"the study {path} {what} {key!r}: its keys are {', '.join(sorted(known))}")
    return Study(**content)


def _fit(
    study: Study, name: str, seed: int, samples: int, recordings: Path, folder: Path, args
) -> list[object]:
    """The arguments of a run's `pretrain fit`."""
    settings = {
        "seed_everything": seed,
        "data.recordings": f"[{recordings}]",
        "data.batch": study.batch,
        "trainer.max_steps": samples // study.batch,
        "trainer.accelerator": args.accelerator,
        "run": folder / name,
        **study.runs[name].get("settings", {}),
    }
    more = [part for key, value in settings.items() for part in (f"--{key}", value)]
    return ["-c", study.runs[name]["config"], *more]


def _in_turn(fits: dict[Path, list], title: str) -> None:
    """Pretrain each run {its folder: its arguments}, for all to see."""
    for number, (folder, arguments) in enumerate(fits.items(), start=1):
        print(f"== {number}/{len(fits)}  {folder.name}, {title}", flush=True)
        _call("pretrain", "fit", *arguments)


def _side_by_side(fits: dict[Path, list], jobs: int, title: str) -> None:
    """The same with so many at once, each with its share of the cores and a log of its own."""
    threads = max(1, (os.cpu_count() or 1) // jobs)
    with (
        ThreadPoolExecutor(jobs) as pool,
        tqdm(total=len(fits), desc=title, unit="run", dynamic_ncols=True) as bar,
    ):
        begun = [
            pool.submit(_call, "pretrain", "fit", *arguments,
                        log=folder.with_name(f"{folder.name}.log"), threads=threads)
            for folder, arguments in fits.items()
        ]  # fmt: skip
        try:
            for run in as_completed(begun):
                run.result()
                bar.update()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _call(room: str, *arguments: object, log: Path | None = None, threads: int = 0) -> None:
    """Run a command of `room`, what it says to `log` instead of here, with so many threads."""
    command = [sys.executable, "-m", room, *map(str, arguments)]
    env = os.environ | ({"OMP_NUM_THREADS": str(threads)} if threads else {})
    if log:
        log.parent.mkdir(parents=True, exist_ok=True)
    with open(log, "wb") if log else nullcontext() as said:
        code = subprocess.run(
            command, env=env, stdout=said, stderr=said and subprocess.STDOUT, check=False
        ).returncode
    if code:
        raise UserError(
            f"`{' '.join(['python', *command[1:]])}` ended with {code}: see the last line "
            f"{f'of {log}' if log else 'above'}, mend that and run the same command again"
        )


def _chosen(what: str, asked: list | None, known: list) -> list:
    for one in asked or ():
        if one not in known:
            raise UserError(
                f"the study has no {what} {one}: choose from {', '.join(map(str, known))}"
            )
    return [one for one in known if asked is None or one in asked]
