"""`fovea analysis study`: many runs from one file, and the table that compares them."""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from fovea import command
from fovea.analysis import study_results, study_show
from fovea.analysis.study_cells import Cells, Processes, Workers, run_cells
from fovea.analysis.study_done import is_done, typed
from fovea.analysis.study_file import check_configs, check_settings, read
from fovea.analysis.study_kinds import EncoderStudy, Study
from fovea.analysis.study_results import Key, Results
from fovea.analysis.timed_study import TimedStudy
from fovea.cluster import LOCAL, connected
from fovea.command import ACCELERATORS, UserError, natural, nearest, positive, terminable
from fovea.configs import locate, shipped
from fovea.files import exclusive, write_text

ABOUT = """\
Run everything a study file asks for, seed by seed, and keep what came out in small tables:
RESULTS/runs.csv (what ran: commit, seconds, command), scores.csv, for agents curves.csv, and the
page study.md that compares them, made anew with each result. The same command again goes on where
it was. What runs.csv has with the settings that the study has now does not run again, also where
its run folder is gone; without its line there it does. Ctrl-C and SIGTERM stop what runs; what was
killed goes on from its newest checkpoint, at once or with the next call. Several calls on one OUT,
also from other machines that share it, divide the runs among them. The file's `kind` is one of:

  kind: encoders   pretrain every run on the same recordings, then probe each seed's together
  kind: agents     train every run in every game, then evaluate it; a setting may name what
                   another study made of the same seed: runs/objectives/seed-{seed}/recipe,
                   a run may name another one that it begins with (init_from: NAME);
                   take_off: 0.1 is the human-normalised score at which one has taken off
  kind: timed      collect or take recordings along, measure speeds, pretrain every run for its
                   share of --minutes, and probe; what is to be kept is left in OUT/export
"""

EXAMPLE = """\
example:
  fovea analysis study objectives --out runs/objectives --seeds 0
  fovea analysis study agents --out runs/agents --seeds 0 --jobs 4
  fovea analysis study agents --out runs/agents --show                          # how far it is
  fovea analysis study agents --out runs/agents --ray                           # tasks of Ray
  fovea analysis study agents --out runs/agents --results docs/results/agents   # tables for git
  fovea analysis study agents --results docs/results/agents --page              # run nothing
  fovea analysis study gpu --out runs/gpu --accelerator gpu --minutes 8
"""

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
    parser.add_argument(
        "--show",
        action="store_true",
        help="only say which runs are done, running, failed or waiting, and how long the rest "
        "will take: run nothing",
    )
    parser.add_argument("--seeds", type=natural, nargs="+", help="only these of the study's seeds")
    parser.add_argument(
        "--samples", type=positive, help="that each encoder sees, in place of the study's"
    )
    parser.add_argument("--only", nargs="+", metavar="NAME", help="only these runs")
    parser.add_argument(
        "--jobs",
        type=positive,
        default=1,
        help="runs at once, which share the cores or the GPU; each then writes to "
        "a log beside its folder, such as OUT/seed-0/NAME.log (1); with --ray, runs at once on a "
        "machine like this one",
    )
    parser.add_argument(
        "--ray",
        metavar="ADDRESS",
        nargs="?",
        const=LOCAL,
        help="run each as a task of the Ray cluster there, such as auto or ray://HEAD:10001, whose "
        "machines share OUT and have Fovea; without an ADDRESS, of a Ray of its own on this "
        "machine (pip install 'fovea-rl[ray]')",
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
    if args.show and args.page:
        parser.error("--show and --page: give one of them")
    args.results = args.results or args.out
    return args


def run(arguments: list[str]) -> None:
    """Run `fovea analysis study ARGUMENTS`."""
    args = parsed(arguments)
    study = read(locate(args.study, *STUDIES))
    if not args.page:  # which another machine may make too, without the configs
        check_configs(study)
    if args.samples:
        study = _with_samples(study, args.samples)
    names = _chosen("run", args.only, list(study.runs))
    seeds = _chosen("seed", args.seeds, study.seeds)
    if isinstance(study, TimedStudy):
        if args.show or args.ray:
            raise UserError("--show and --ray are not of timed studies: leave them out")
        _run_timed(study, args, names, seeds)
        return
    if args.minutes or args.recordings:
        raise UserError("--minutes and --recordings are of timed studies: leave them out")
    kept = study_results.read(args.results)
    if args.page and not kept:
        raise UserError(f"{args.results} holds no results: give the folder with runs.csv")
    if args.show:
        stand = study_show.look(study, args.out, names, seeds, kept)
        print(*study_show.lines(study.title, stand), sep="\n")
        return
    due = {} if args.page else {seed: _due(study, args, names, seed, kept) for seed in seeds}
    if any(due.values()):
        with terminable(), ExitStack() as stack:
            check_settings(due.values())
            at = Where.of(args, stack)
            if before := study.before(args.out):
                run_cells({args.out / "recordings": before}, at.alone, "record", at.logs)
            for seed, cells in due.items():
                if cells:
                    _run_seed(study, args, seed, cells, at)
    kept, made_by = keep_results(study, args.results, {}), study.made_by()
    if others := [key for key, of in kept.items() if made_by.get(key) != of.command]:
        print(f"left out, of other settings than the study's now: {_places(others)}")
    print(f"table: {args.results / 'study.md'}", flush=True)


def _due(
    study: Study, args: argparse.Namespace, names: list[str], seed: int, kept: Results
) -> Cells:
    """A seed's cells without those whose result is kept, of the settings that they have now.

    Those whose folders are all finished stay: nothing is run, but they are read once more.
    """
    cells = study.jobs(args.out, names, seed, args.accelerator)
    after, made_by = study.after(args.out, names, seed, args.accelerator), study.made_by()
    spared = {
        folder: key
        for folder, commands in cells.items()
        if (key := Key.of(folder.relative_to(args.out))) in kept
        and kept[key].command == made_by[key]
        and not all(is_done(typed(one)) for one in [*commands, *after])
    }
    if spared:
        print(f"kept: {_places(spared.values())}", flush=True)
    return {folder: commands for folder, commands in cells.items() if folder not in spared}


@dataclass(frozen=True)
class Where:
    """What runs the cells of a study.

    Attributes:
        cells: runs them.
        alone: runs what has a machine to itself: the commands before and after them.
        logs: whether all of it writes to logs; else the cells do where several run at once.
    """

    cells: Workers
    alone: Workers
    logs: bool

    @staticmethod
    def of(args: argparse.Namespace, stack: ExitStack) -> Where:
        if not args.ray:
            here, one = (stack.enter_context(Processes(jobs)) for jobs in (args.jobs, 1))
            return Where(here, one, logs=False)
        from fovea.analysis.study_ray import Tasks

        cluster = stack.enter_context(connected(args.ray))
        cells, alone = (Tasks(cluster, jobs, args.accelerator) for jobs in (args.jobs, 1))
        return Where(stack.enter_context(cells), stack.enter_context(alone), logs=True)


def _run_seed(study: Study, args: argparse.Namespace, seed: int, cells: Cells, at: Where) -> None:
    """Run cells, then what takes them together; each result is kept as soon as it is there."""

    def keep(*folders: Path) -> None:
        keys = [Key.of(folder.relative_to(args.out)) for folder in folders]
        keep_results(study, args.results, study.results(args.out, keys))

    after = study.after(args.out, [folder.name for folder in cells], seed, args.accelerator)
    title, logs = f"seed {seed}", at.logs or args.jobs > 1
    for wave in waves(study, cells):
        run_cells(wave, at.cells, title, logs, *([] if after else [keep]))
    if after:
        folder = args.out / f"seed-{seed}" / "after"
        run_cells({folder: after}, at.alone, f"{title}, all", at.logs)
        keep(*cells)


def waves(study: Study, cells: Cells) -> list[Cells]:
    """The cells in the order in which they run: what others begin with comes before them."""
    depth = {folder: len(study.bases(folder.name)) for folder in cells}
    return [
        {folder: cells[folder] for folder in cells if depth[folder] == one}
        for one in sorted({*depth.values()})
    ]


def keep_results(study: Study, folder: Path, new: Results) -> Results:
    """Keep results, make the page of those that the study's settings make, and return all."""
    made_by = study.made_by()
    with exclusive(folder, wait=True):
        kept = study_results.merge(folder, new)
        own = {key: of for key, of in kept.items() if made_by.get(key) == of.command}
        picture = _picture(study.panels(own), folder)
        for name, text in study.files(own).items():
            title, rest = text.split("\n", 1)
            write_text(folder / name, f"{title}\n{picture}{rest}")
    return kept


def _picture(panels: list[dict], folder: Path) -> str:
    """Draw the figure of a page where matplotlib is installed; the lines that show it."""
    from fovea.analysis import paper

    if not panels or not paper.installed():
        return ""
    (path,) = paper.draw(panels, folder / "study", ["svg"])
    titles = "; ".join(panel["layout"]["title"]["text"] for panel in panels)
    return f"\n![{titles}]({path.name})\n"


def _places(keys: Iterable[Key]) -> str:
    return ", ".join(str(key.place) for key in keys)


def _run_timed(
    study: TimedStudy, args: argparse.Namespace, names: list[str], seeds: list[int]
) -> None:
    from fovea.analysis.timed_call import run

    if not 0 < (args.minutes or 0) < math.inf:
        raise UserError("this study is a timed one: say how long it may take, as --minutes 8")
    if args.jobs > 1:
        raise UserError(f"--jobs {args.jobs}: a timed study does one thing at a time, leave it out")
    if args.seeds and len(seeds) > 1:
        raise UserError(f"a timed study trains one seed a call: --seeds {seeds[0]}")
    run(study, args.out, names, seeds[0], args.accelerator, args.minutes, args.recordings)


def _with_samples(study: Study, samples: int) -> Study:
    if not isinstance(study, EncoderStudy):
        raise UserError(
            f"--samples {samples} is of encoders and this is a study of agents, or a timed one: "
            "leave it out, and set steps in the file"
        )
    return replace(study, samples=samples)


def _chosen(what: str, asked: list | None, known: list) -> list:
    for one in asked or ():
        if one not in known:
            raise UserError(f"the study has no {what} {one}{nearest(one, map(str, known))}")
    return [one for one in known if asked is None or one in asked]
