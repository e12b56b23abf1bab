"""`fovea analysis report`: one folder that shows what runs did, opened from disk."""

from __future__ import annotations

import argparse
import os
import shutil
import time
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from fovea import command
from fovea.analysis.study_kinds import TAKE_OFF
from fovea.command import UserError
from fovea.files import replacing_folder

if TYPE_CHECKING:
    from fovea.analysis.page import Page

ABOUT = """\
Make a page from run folders: what ran, learning curves, what the probes found, how the agents
play. RUNS are run folders or folders that hold some at any depth. The page is a folder of its own
(index.html, assets/, data/, media/): it opens from disk, can be moved or sent as it is, and asks
nothing of the network. The same command again replaces it.
"""

EXAMPLE = """\
example:
  fovea analysis report runs/quickstart --out runs/quickstart/report
  fovea analysis report runs/a runs/b --out compared --title "A against B"
  fovea analysis report runs/agents --out page --figures paper/figures
"""

PARTS = {"index.html", "assets", "data", "media"}


def parser(prog: str, about: str, example: str) -> argparse.ArgumentParser:
    """A parser of what the page shows, whichever command makes it."""
    asked = command.parser(prog, about)
    asked.epilog = example
    asked.add_argument("runs", metavar="RUNS", nargs="+", type=Path, help="folders with runs")
    asked.add_argument(
        "--recordings",
        metavar="FOLDER",
        nargs="+",
        type=Path,
        default=[],
        help="recordings to look at, beside those that the runs learned from",
    )
    asked.add_argument(
        "--take-off",
        metavar="HNS",
        type=float,
        default=TAKE_OFF,
        help="the human-normalised score (0: random play, 1: the human tester) at which an agent "
        f"has taken off ({TAKE_OFF})",
    )
    asked.add_argument("--title", help="heading of the page (default: the names of RUNS)")
    return asked


def parsed(arguments: list[str]) -> argparse.Namespace:
    asked = parser("fovea analysis report", ABOUT, EXAMPLE)
    asked.add_argument(
        "--out", metavar="FOLDER", type=Path, required=True, help="the page's folder"
    )
    asked.add_argument(
        "--figures",
        metavar="FOLDER",
        type=Path,
        help="write the page's figures there as SVG and PDF for papers, by matplotlib "
        "(pip install 'fovea-rl[figures]'); files of the same names are replaced",
    )
    return asked.parse_args(arguments)


def run(arguments: list[str]) -> None:
    """Run `fovea analysis report ARGUMENTS`."""
    args = parsed(arguments)
    began = time.monotonic()
    index, about = report(
        args.runs, args.out, args.title, args.take_off, args.recordings, args.figures
    )
    print(f"{about}; made in {time.monotonic() - began:.1f} s\n{index}")
    if args.figures:
        print(f"figures: {args.figures}")


def report(
    places: Sequence[str | Path],
    out: str | Path,
    title: str | None = None,
    take_off: float = TAKE_OFF,
    recordings: Sequence[str | Path] = (),
    figures: str | Path | None = None,
) -> tuple[Path, str]:
    """Write the page of all runs in `places` to the folder `out`.

    Args:
        places: run folders, or folders that hold some at any depth.
        out: the page's folder; an older page there is replaced.
        title: heading of the page; the names of `places` by default.
        take_off: human-normalised score at which an agent has taken off.
        recordings: folders with recordings to look at, beside those that the runs learned from.
        figures: folder for the figures as SVG and PDF; None for none.

    Returns the path of index.html, and what it shows in words.

    Raises UserError where no run is found, or where `out` holds anything but such a page.
    """
    from fovea.analysis import contents, overview, paper
    from fovea.analysis.runs import read_runs

    out = Path(out)
    check(out)
    found = read_runs(places)
    page, text = contents.make(
        found, title or heading(places), take_off, places=checked(recordings)
    )
    if figures is not None:
        paper.write(page, Path(figures))
    write(out, page, text)
    return out / "index.html", overview.kinds(found)


def heading(places: Sequence[str | Path]) -> str:
    """The heading of a page of these folders that was given none."""
    return "Report on " + ", ".join(Path(place).resolve().name for place in places[:3])


def checked(recordings: Sequence[str | Path]) -> list[Path]:
    """The folders. Raises UserError for one that holds no finished recording."""
    from fovea.analysis.recordings import inside

    folders = [Path(folder) for folder in recordings]
    for folder in folders:
        if not list(inside([folder])):
            raise UserError(
                f"--recordings {folder} holds no finished recording: give what "
                "`fovea atari collect` wrote to, or finish it with the same command"
            )
    return folders


def check(out: Path) -> None:
    """Raise UserError unless `out` can be replaced: missing, empty, or a page made before."""
    if not out.exists():
        return
    if not out.is_dir():
        raise UserError(f"--out {out} is a file: give a folder")
    inside = set(os.listdir(out))
    if inside and not (inside <= PARTS and "index.html" in inside):
        other = sorted(inside - PARTS)[:1] or ["no index.html"]
        raise UserError(
            f"--out {out} holds something else than a report ({other[0]}) and would be replaced: "
            "give a folder of its own"
        )


def assets(live: bool = False) -> dict[str, bytes]:
    """What all pages share, by its place: their style, their scripts, and plotly."""
    from fovea.analysis.page import SCRIPTS

    own = resources.files("fovea.analysis").joinpath("assets")
    names = ["page.css", *(f"{name}.js" for name in SCRIPTS), *(["live.js"] if live else [])]
    plotly = resources.files("plotly").joinpath("package_data/plotly.min.js")
    return {f"assets/{of.name}": of.read_bytes() for of in (*(own / n for n in names), plotly)}


def write(out: Path, page: Page, text: str) -> None:
    """Write the folder, whole, in the place of an older one."""
    with replacing_folder(out.resolve()) as beside:
        for part in sorted(PARTS - {"index.html"}):
            (beside / part).mkdir()
        (beside / "index.html").write_text(text, encoding="utf-8")
        for path, content in {**page.files, **assets()}.items():
            if isinstance(content, Path):
                shutil.copyfile(content, beside / path)
            else:
                (beside / path).write_bytes(content)
