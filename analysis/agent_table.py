"""How the agents of a study play: returns by game, and human-normalised scores over games."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from fovea.analysis.agents import evaluation
from fovea.analysis.runs import read
from fovea.analysis.statistics import iqm
from fovea.analysis.tables import differences, estimate, markdown, number, over, sheet
from fovea.atari.games import find

REFERENCES = {"random": 0.0, "human": 1.0}
"""By whom scores are normalised, and the score that it has thereby."""

EVALUATED = ("mean", "hns", "episodes", "trained")
SPEED = "steps_per_second"


def table(
    out: Path, names: list[str], games: list[str], seeds: list[int], pairs: list[list[str]]
) -> dict:
    """What the evaluations of the runs OUT/seed-SEED/GAME/NAME say.

    {"games": [...], "seeds": [...], "mean" (return), "hns", "episodes", "trained" (agent steps)
    and "steps_per_second" (the median while it trained; NaN where none was logged):
    {name: (seeds, games)}, "differences": {"a - b": (seeds, games)} of HNS, of `pairs`}
    """
    found: dict = {"games": games, "seeds": seeds}
    runs = {
        name: [[_numbers(out / f"seed-{seed}" / game / name) for game in games] for seed in seeds]
        for name in names
    }
    for key in (*EVALUATED, SPEED):
        found[key] = {
            name: np.array([[one[key] for one in row] for row in rows], dtype=float)
            for name, rows in runs.items()
        }
    found["differences"] = differences(found["hns"], pairs)
    return found


def written(title: str, found: dict) -> dict[str, str]:
    """The files of a study: {"study.md": tables for people, "study.csv": every single score}."""
    return {"study.md": _markdown(title, found), "study.csv": _csv(found)}


def _numbers(folder: Path) -> dict[str, float]:
    (run,) = read([folder])
    found = evaluation(run)
    speed = np.median(run.metrics[SPEED].values) if SPEED in run.metrics else np.nan
    return {key: found[key] for key in EVALUATED} | {SPEED: speed}


def _markdown(title: str, found: dict) -> str:
    games, hns = found["games"], found["hns"]
    whole = [
        [name, estimate(scores), estimate(scores, statistic=iqm),
         number(found["trained"][name], ",.0f"), number(found[SPEED][name], ",.0f")]
        for name, scores in hns.items()
    ]  # fmt: skip
    whole += [[name, f"{one:.3f}", f"{one:.3f}", "", ""] for name, one in REFERENCES.items()]
    whole += [
        [pair, estimate(scores, "+.3f"), "", "", ""]
        for pair, scores in found["differences"].items()
    ]
    lines = [
        f"# {title}",
        "",
        f"{over(games, found['seeds'])} The human-normalised score (HNS) is 0 for the random agent "
        "and 1 for the human tester; IQM is its mean without the best and the worst quarter of "
        "runs and games. Agent steps are those of training, each of four frames.",
        "",
        *markdown(["run", "HNS", "IQM of HNS", "agent steps", "steps a second"], whole),
    ]
    for game in range(len(games)):
        lines += ["", f"{find(games[game]).name}, mean over seeds", ""]
        lines += markdown(["run", "return", "HNS"], _rows(found, game))
    return "\n".join(lines) + "\n"


def _rows(found: dict, game: int) -> list[list[str]]:
    """The rows of one game: the runs, the references and the differences."""
    known, at = find(found["games"][game]), slice(game, game + 1)
    rows = [
        [name, estimate(found["mean"][name][:, at], ".1f"), estimate(scores[:, at])]
        for name, scores in found["hns"].items()
    ]
    rows += [[name, f"{getattr(known, name):.1f}", f"{one:.3f}"]
             for name, one in REFERENCES.items()]  # fmt: skip
    return rows + [
        [pair, "", estimate(scores[:, at], "+.3f")] for pair, scores in found["differences"].items()
    ]


def _csv(found: dict) -> str:
    """A row for each run, seed and game."""
    rows = [
        [name, found["seeds"][seed], found["games"][game],
         *(f"{found[key][name][seed, game]:.10g}" for key in EVALUATED)]
        for name, hns in found["hns"].items()
        for seed, game in np.ndindex(hns.shape)
    ]  # fmt: skip
    return sheet(["run", "seed", "game", "return", "hns", "episodes", "steps"], rows)
