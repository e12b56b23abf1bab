"""Which sections a page has, and in which order."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from fovea.analysis import (
    agent_curves,
    agents,
    continual,
    curves,
    overview,
    probing,
    recordings,
)
from fovea.analysis.figures import Looks
from fovea.analysis.html import join, tag
from fovea.analysis.page import Page
from fovea.analysis.runs import Run
from fovea.analysis.study_kinds import TAKE_OFF
from fovea.command import UserError
from fovea.metrics import RETURN


def make(
    runs: list[Run],
    title: str,
    take_off: float = TAKE_OFF,
    live: bool = False,
    places: Sequence[Path] = (),
) -> tuple[Page, str]:
    """The page of these runs with what belongs to it, and its HTML.

    `take_off` is the human-normalised score at which an agent has taken off; a `live` page is
    served, and may be of no runs yet. `places` are folders with recordings, beside those that runs
    learned from.

    A run of which no page can be made is left out and named: one odd folder takes none of the
    others with it.
    """
    try:
        return _make(runs, title, take_off, live, places)
    except UserError:
        raise
    except Exception:
        shown = [run if _can_be_shown(run, take_off) else run.unread() for run in runs]
        if shown == runs:
            raise
        return _make(shown, title, take_off, live, places)


def _can_be_shown(run: Run, take_off: float) -> bool:
    try:
        _make([run], "", take_off, False, ())
    except UserError:
        raise
    except Exception as fault:
        run.problems.append(f"it cannot be shown: {type(fault).__name__}: {fault}")
        return False
    return True


def _make(
    runs: list[Run], title: str, take_off: float, live: bool, places: Sequence[Path]
) -> tuple[Page, str]:
    pretraining = [run for run in runs if run.kind == "pretrain"]
    playing = [run for run in runs if run.kind == "agent"]
    sequences = [run for run in runs if run.kind == "continual"]
    encoders = [
        name for run in runs for probe in run.probes.values() for name in probe.result.encoders
    ]
    # Pretraining runs first: an encoder of the same name has the colour of its run.
    names = [run.method for run in pretraining] + encoders + [run.method for run in runs]
    names += continual.methods(sequences)
    page = Page(title, Looks(names), {run.slug: k for k, run in enumerate(runs)}, live=live)

    sections = []
    if pretraining:
        view = curves.view(page, "pretraining", pretraining, "optimiser steps")
        sections.append(("pretraining", "Pretraining", view))
    sections += probing.sections(page, runs)
    if playing:
        more = curves.view(page, "agents-learning", playing, agent_curves.STEPS, without=(RETURN,))
        view = join(agents.view(page, playing, take_off), tag("h3", "Learning curves"), more)
        sections.append(("agents", "Agents", view))
    if sequences:
        sections.append(("continual", "Continual play", continual.view(page, sequences)))
    if played := recordings.view(page, runs, places):
        sections.append(("recordings", "Recordings", played))
    # Made last, because only now all files are read and the damaged ones known.
    sections = [
        ("verdicts", "In short", overview.verdicts(runs)),
        ("runs", "What ran", overview.what_ran(page, runs)),
        *sections,
    ]
    head = tag(
        "p",
        "Vision encoders that were pretrained on Atari screens without rewards: what they know, "
        f"what they look at, and how agents play with them. {overview.kinds(runs)}.",
    )
    foot = f"Made by Fovea on {time.strftime('%Y-%m-%d %H:%M')} from run folders alone."
    text = page.html(sections, head, foot)
    page.attach("assets/data.js", page.script())  # here, where what it cannot hold is found
    return page, text
