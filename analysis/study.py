"""`fovea analysis study`: many runs from one file, and the table that compares them."""

from __future__ import annotations

import argparse
import os
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import nullcontext
from dataclasses import MISSING, fields, replace
from pathlib import Path

import yaml

from fovea import command
from fovea.analysis import study_results
from fovea.analysis.study_kinds import KINDS as UNTIMED
from fovea.analysis.study_kinds import Command, EncoderStudy, Study
from fovea.analysis.study_results import Key, Results
from fovea.analysis.timed_study import TimedStudy
from fovea.command import ACCELERATORS, UserError, nearest, positive
from fovea.configs import locate, shipped
from fovea.files import exclusive, write_text
from fovea.progress import bar
from fovea.runs import read_run

ABOUT = """\
Run everything a study file asks for, seed by seed, and keep what came out in small tables:
RESULTS/runs.csv (what ran: commit, seconds, command), scores.csv, for agents curves.csv, and the
page study.md that compares them, made anew with each result. The same command again goes on where
it was. What runs.csv has with the settings that the study has now does not run again, also where
its run folder is gone; without its line there it does. The file's `kind` is one of:

  kind: encoders   pretrain every run on the same recordings, then probe each seed's together
  kind: agents     train every run in every game, then evaluate it; a setting may name what
                   another study made of the same seed: runs/objectives/seed-{seed}/recipe;
                   take_off: 0.1 is the human-normalised score at which one has taken off
  kind: timed      collect or take recordings along, measure speeds, pretrain every run for its
                   share of --minutes, and probe; what is to be kept is left in OUT/export
"""

EXAMPLE = """\
example:
  fovea analysis study objectives --out runs/objectives --seeds 0
  fovea analysis study agents --out runs/agents --seeds 0 --jobs 4
  fovea analysis study agents --out runs/agents --results docs/results/agents   # tables for git
  fovea analysis study agents --results docs/results/agents --page              # run nothing
  fovea analysis study gpu --out runs/gpu --accelerator gpu --minutes 8
"""

Jobs = dict[Path, list[Command]]
"""Runs, {the folder of each: its commands, one after the other}."""

KINDS = UNTIMED | {"timed": TimedStudy}

STUDIES = "fovea.analysis", "studies"
"""Where the shipped studies lie."""


def parsed(arguments: list[str]) -> argparse.Namespace:
    parser = command.parser("fovea analysis study", ABOUT)
    parser.epilog = EXAMPLE
    parser.add_argument(
        "study", metavar="STUDY", help=f"a file, or one of {', '.join(shipped(*STUDIES))}"
    )
    parser.add_argument("--out", metavar="OUT", type=Path, help="where the run folders lie")
    parser.add_argument(
        "--results", metavar="RESULTS", type=Path, help="where the tables lie (OUT)"
    )
    parser.add_argument(
        "--page", action="store_true", help="only make study.md anew, of the tables: run nothing"
    )
    parser.add_argument("--seeds", type=int, nargs="+", help="only these of the study's seeds")
    parser.add_argument(
        "--samples", type=positive, help="that each encoder sees, in place of the study's"
    )
    parser.add_argument("--only", nargs="+", metavar="NAME", help="only these runs")
    parser.add_argument(
        "--jobs",
        type=positive,
        default=1,
        help="runs at once, which share the cores or the GPU; each then writes to "
        "a log beside its folder, such as OUT/seed-0/NAME.log (1)",
    )
    parser.add_argument("--accelerator", choices=ACCELERATORS, default="auto", help="(auto)")
    parser.add_argument("--minutes", type=float, help="that a timed study may take")
    parser.add_argument(
        "--recordings",
        metavar="FOLDER",
        type=Path,
        nargs="+",
        default=[],
        help="that a timed study takes along, in place of collecting",
    )
    args = parser.parse_args(arguments)
    if args.out is None and not (args.page and args.results):
        parser.error("give --out, where the run folders lie (with --page it may be left out)")
    args.results = args.results or args.out
    return args


def run(arguments: list[str]) -> None:
    """Run `fovea analysis study ARGUMENTS`."""
    args = parsed(arguments)
    study = read(locate(args.study, *STUDIES))
    if args.samples:
        study = _with_samples(study, args.samples)
    names = _chosen("run", args.only, list(study.runs))
    seeds = _chosen("seed", args.seeds, study.seeds)
    if isinstance(study, TimedStudy):
        _run_timed(study, args, names, seeds)
        return
    if args.minutes or args.recordings:
        raise UserError("--minutes and --recordings are of timed studies: leave them out")
    kept = study_results.read(args.results)
    if args.page and not kept:
        raise UserError(f"{args.results} holds no results: give the folder with runs.csv")
    due = {} if args.page else {seed: _due(study, args, names, seed, kept) for seed in seeds}
    if any(due.values()):
        _call(study.before(args.out))
    for seed, jobs in due.items():
        if jobs:
            _run_seed(study, args, seed, jobs)
    kept, made_by = _keep(study, args.results, {}), study.made_by()
    if others := [key for key, of in kept.items() if made_by.get(key) != of.command]:
        print(f"left out, of other settings than the study's now: {_places(others)}")
    print(f"table: {args.results / 'study.md'}", flush=True)


def _due(
    study: Study, args: argparse.Namespace, names: list[str], seed: int, kept: Results
) -> Jobs:
    """A seed's jobs without those whose result is kept, of the settings that they have now.

    Those whose folders are all finished stay: nothing is run, but they are read once more.
    """
    jobs = study.jobs(args.out, names, seed, args.accelerator)
    after, made_by = study.after(args.out, names, seed, args.accelerator), study.made_by()
    spared = {
        folder: key
        for folder, commands in jobs.items()
        if (key := Key.of(folder.relative_to(args.out))) in kept
        and kept[key].command == made_by[key]
        and not all(is_done(typed(one)) for one in [*commands, *after])
    }
    if spared:
        print(f"kept: {_places(spared.values())}", flush=True)
    return {folder: commands for folder, commands in jobs.items() if folder not in spared}


def _run_seed(study: Study, args: argparse.Namespace, seed: int, jobs: Jobs) -> None:
    """Run jobs, then what takes them together; each result is kept as soon as it is there."""

    def keep(*folders: Path) -> None:
        keys = [Key.of(folder.relative_to(args.out)) for folder in folders]
        _keep(study, args.results, study.results(args.out, keys))

    after = study.after(args.out, [folder.name for folder in jobs], seed, args.accelerator)
    ended: Callable[[Path], None] = (lambda folder: None) if after else keep
    if args.jobs > 1:
        side_by_side(jobs, args.jobs, f"seed {seed}", ended)
    else:
        in_turn(jobs, ended)
    if after:
        _call(after)
        keep(*jobs)


def _keep(study: Study, folder: Path, new: Results) -> Results:
    """Keep results, make the page of those that the study's settings make, and return all."""
    made_by = study.made_by()
    with exclusive(folder, wait=True):
        kept = study_results.merge(folder, new)
        own = {key: of for key, of in kept.items() if made_by.get(key) == of.command}
        for name, text in study.files(own).items():
            write_text(folder / name, text)
    return kept


def _places(keys: Iterable[Key]) -> str:
    return ", ".join(str(key.place) for key in keys)


def _run_timed(
    study: TimedStudy, args: argparse.Namespace, names: list[str], seeds: list[int]
) -> None:
    from fovea.analysis.timed_call import run

    if not args.minutes or args.minutes <= 0:
        raise UserError("this study is a timed one: say how long it may take, as --minutes 8")
    if args.jobs > 1:
        raise UserError(f"--jobs {args.jobs}: a timed study does one thing at a time, leave it out")
    if args.seeds and len(seeds) > 1:
        raise UserError(f"a timed study trains one seed a call: --seeds {seeds[0]}")
    run(study, args.out, names, seeds[0], args.accelerator, args.minutes, args.recordings)


def read(path: Path) -> Study:
    """A study file. Raises UserError where it lacks or has an unknown key or kind."""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except yaml.YAMLError as fault:
        raise UserError(f"the study {path} is no YAML: {' '.join(str(fault).split())}") from None
    kind = content.pop("kind", None)
    if kind not in KINDS:
        kinds = " or ".join(f"`kind: {name}`" for name in KINDS)
        raise UserError(f"the study {path} is of kind {kind!r}: write {kinds} into it")
    known = {field.name: field for field in fields(KINDS[kind])}
    needed = {name for name, field in known.items() if field.default is MISSING}
    for key in sorted((needed - content.keys()) | (content.keys() - known.keys())):
        what = "lacks" if key in known else "has an unknown key"
        keys = ", ".join(sorted(known))
        raise UserError(f"the study {path} {what} {key!r}: the keys of {kind} are kind, {keys}")
    return KINDS[kind](**content)


def _with_samples(study: Study, samples: int) -> Study:
    if not isinstance(study, EncoderStudy):
        raise UserError(
            f"--samples {samples} is of encoders and this is a study of agents, or a timed one: "
            "leave it out, and set steps in the file"
        )
    return replace(study, samples=samples)


def in_turn(jobs: Jobs, ended: Callable[[Path], None]) -> None:
    """Run jobs one after the other; `ended` is called with the folder of each that has."""
    for number, (folder, commands) in enumerate(jobs.items(), start=1):
        print(f"== {number}/{len(jobs)}  {folder}", flush=True)
        _call(commands)
        ended(folder)


def side_by_side(jobs: Jobs, most: int, title: str, ended: Callable[[Path], None]) -> None:
    """The same, `most` at once, each with its share of the cores and a log of its own."""
    threads = max(1, (os.cpu_count() or 1) // most)
    with (
        ThreadPoolExecutor(most) as pool,
        bar(title, "runs", len(jobs)) as progress,
    ):
        begun = {
            pool.submit(_call, commands, folder.with_name(f"{folder.name}.log"), threads): folder
            for folder, commands in jobs.items()
        }
        try:
            for run in as_completed(begun):
                run.result()
                ended(begun[run])
                progress.update()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _call(commands: list[Command], log: Path | None = None, threads: int = 0) -> None:
    """Run commands in turn but those that are done, with so many threads, and print to `log`."""
    env = os.environ | ({"OMP_NUM_THREADS": str(threads)} if threads else {})
    if log:
        log.parent.mkdir(parents=True, exist_ok=True)
    with open(log, "ab") if log else nullcontext() as output:
        for one in commands:
            words = typed(one)
            if is_done(words):
                if not log:
                    print(f"already done: {shlex.join(words[:3])}", flush=True)
                continue
            code = subprocess.run(
                [sys.executable, "-m", *words],
                env=env, stdout=output, stderr=output and subprocess.STDOUT, check=False,
            ).returncode  # fmt: skip
            # Probes end with 1 where they left something out: what they measured is whole.
            if code and not (code == 1 and is_done(words)):
                raise UserError(
                    f"`{' '.join(words)}` ended with {code}: see the last line "
                    f"{f'of {log}' if log else 'above'}, mend that and run the same command again"
                )


def typed(command: Command) -> list[str]:
    """The words of a command."""
    return ["fovea", *map(str, command)]


def is_done(words: list[str]) -> bool:
    """Whether run.json of a command's run folder says that just this command has ended well.

    It does so in a moment, where the command itself would first import torch. Like make, it takes
    the command to be due again once a file or folder that it names is newer than run.json: a
    config, a recording, or the run of an encoder. What is due runs, and finds out itself what is
    left to do.
    """
    if "--run" not in words:
        return False
    folder = Path(words[words.index("--run") + 1])
    record, typed = read_run(folder), shlex.join(words)
    if not record or record.state != "done":
        return False
    evaluation = record.evaluation
    if evaluation and evaluation.command == typed:
        return evaluation.trained == record.step
    written = (folder / "run.json").stat().st_mtime
    given = [word.partition("=")[2] or word for word in words[3:]]
    each = [one for word in given for one in word.strip("[]").split(", ")]
    named = [Path(one) for one in each if one != str(folder)]
    paths = [path for name in named for path in (name, *_recorded(name))]
    changed = [path.stat().st_mtime > written for path in paths if path.exists()]
    return record.command == typed and not any(changed)


def _recorded(folder: Path) -> Iterator[Path]:
    """The shards of a folder of recordings; collecting them once more leaves them as they are."""
    return folder.glob("*/*.parquet")


def _chosen(what: str, asked: list | None, known: list) -> list:
    for one in asked or ():
        if one not in known:
            raise UserError(f"the study has no {what} {one}{nearest(one, map(str, known))}")
    return [one for one in known if asked is None or one in asked]
