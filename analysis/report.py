"""`python -m analysis report`: one folder that shows what runs did, opened from disk."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import time
from importlib import resources
from pathlib import Path

HELP = "make a page from run folders that opens from disk"

ABOUT = """\
Make a page from run folders: what ran, learning curves, what the probes found, how the agents
play. RUNS are run folders or folders that hold some at any depth. The page is a folder of its own
(index.html, assets/, data/, media/): it opens from disk, can be moved or sent as it is, and asks
nothing of the network. The same command again replaces it.
"""

EXAMPLE = """\
example:
  python -m analysis report runs/quickstart --out runs/quickstart/report
  python -m analysis report runs/a runs/b --out compared --title "A against B"
"""

PARTS = {"index.html", "assets", "data", "media"}


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.description, parser.epilog = ABOUT, EXAMPLE
    parser.add_argument("runs", metavar="RUNS", nargs="+", type=Path, help="folders with runs")
    parser.add_argument(
        "--out", metavar="FOLDER", type=Path, required=True, help="the page's folder"
    )
    parser.add_argument("--title", help="heading of the page (default: the names of RUNS)")


def run(args: argparse.Namespace) -> None:
    began = time.monotonic()
    index, about = report(args.runs, args.out, args.title)
    print(f"{about}; made in {time.monotonic() - began:.1f} s\n{index}")


def report(places: list[Path], out: Path, title: str | None = None) -> tuple[Path, str]:
    """Write the page of all runs in `places` to the folder `out`: (index.html, what it shows).

    Raises UserError where no run is found, or where `out` holds anything but such a page.
    """
    from analysis import overview, runs

    check(out)
    found = runs.read(places)
    names = ", ".join(place.resolve().name for place in places[:3])
    page, text = make(found, title or f"Report on {names}")
    write(out, page, text)
    return out / "index.html", overview.kinds(found)


def make(runs: list, title: str) -> tuple:
    """The page of these runs, and its index.html."""
    from analysis import agents, curves, overview, probing
    from analysis.figures import Looks
    from analysis.html import Html, join, slug, tag
    from analysis.page import Page

    pretraining = [run for run in runs if run.kind == "pretrain"]
    playing = [run for run in runs if run.kind == "agent"]
    encoders = [name for run in runs for probe in run.probes.values() for name in probe.encoders]
    names = [run.name for run in pretraining] + encoders + [run.name for run in runs]
    page = Page(title, Looks(names))

    sections = [
        ("verdicts", "In short", overview.verdicts(runs)),
        ("runs", "What ran", overview.what_ran(page, runs)),
    ]
    if pretraining:
        view = curves.view(page, "pretraining", pretraining)
        sections.append(("pretraining", "Pretraining", view))
    probed: dict[str, list[Html]] = {}
    titles: dict[str, str] = {}
    for run in runs:
        for probe in run.probes.values():
            head = tag("h3", f"Run {run.name}") if _several(runs, probe.name) else Html("")
            content = probing.view(page, f"{slug(probe.name)}-{run.slug}", probe)
            probed.setdefault(probe.name, []).append(join(head, content))
            titles.setdefault(probe.name, probe.title)
    for name in sorted(probed, key=probing.rank):
        sections.append((f"probe-{slug(name)}", titles[name], join(*probed[name])))
    if playing:
        without = ("return",)
        more = curves.view(page, "agents-learning", playing, without)
        view = join(agents.view(page, playing), tag("h3", "Learning curves"), more)
        sections.append(("agents", "Agents", view))
    head = tag(
        "p",
        "Vision encoders that were pretrained on Atari screens without rewards: what they know, "
        f"what they look at, and how agents play with them. {overview.kinds(runs)}.",
    )
    foot = f"Made by Fovea on {time.strftime('%Y-%m-%d %H:%M')} from files in this folder alone."
    return page, page.html(sections, head, foot)


def _several(runs: list, probe: str) -> bool:
    return sum(probe in run.probes for run in runs) > 1


def check(out: Path) -> None:
    """Raise UserError unless `out` can be replaced: missing, empty, or a page made before."""
    from atari.command import UserError

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


def write(out: Path, page, text: str) -> None:
    """Write the folder beside its place, then let it take the place of an older one."""
    out = out.resolve()
    beside = out.with_name(f".{out.name}.{os.getpid()}.tmp")
    old = out.with_name(f".{out.name}.{os.getpid()}.old")
    data = {"charts": page.charts, "pictures": page.pictures}
    script = f"window.fovea = {json.dumps(data, allow_nan=False, separators=(',', ':'))};\n"
    try:
        for part in sorted(PARTS - {"index.html"}):
            (beside / part).mkdir(parents=True)
        (beside / "index.html").write_text(text, encoding="utf-8")
        (beside / "assets" / "data.js").write_text(script, encoding="utf-8")
        own = resources.files("analysis").joinpath("assets")
        plotly = resources.files("plotly").joinpath("package_data/plotly.min.js")
        for source in (own / "page.css", own / "page.js", plotly):
            (beside / "assets" / source.name).write_bytes(source.read_bytes())
        for path, content in page.files.items():
            if isinstance(content, Path):
                shutil.copyfile(content, beside / path)
            else:
                (beside / path).write_bytes(content)
        if out.exists():
            out.rename(old)
        beside.rename(out)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)
