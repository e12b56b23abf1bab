"""How the agents of a study play: returns by game, and human-normalised scores over games."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fovea.analysis import learning
from fovea.analysis.statistics import iqm
from fovea.analysis.study_kinds import TAKE_OFF
from fovea.analysis.tables import (
    IMPROVEMENT,
    differences,
    estimate,
    improvements,
    known_mean,
    over,
)
from fovea.atari.games import find, hns
from fovea.command import UserError
from fovea.metrics import NOTHING, RETURN, STEPS_PER_SECOND, WINDOW, read_metrics
from fovea.runs import read_run
from fovea.tables import Table, markdown

EACH = ["return of each seed", "take-off of each seed", "area of each seed, HNS"]
REFERENCES = {"random": 0.0, "human": 1.0}
"""By whom scores are normalised, and the score that it has thereby."""

NUMBERS = ("mean", "hns", "episodes", "trained", "steps_per_second", "taken_off", "area")
Scores = dict[str, np.ndarray]
"""By agent, (seeds, games)."""


@dataclass(frozen=True)
class AgentScores:
    """The evaluations of a study.

    Attributes:
        games: rom ids.
        seeds: of the study.
        mean: return.
        hns: human-normalised score.
        episodes: of the evaluation.
        trained: agent steps.
        steps_per_second: the median while it trained; NaN where none was logged.
        taken_off: agent step at which it took off (see `learning`); NaN where it never did.
        area: under the learning curve over its length, a human-normalised score.
        pairs: [a, b] of agents whose differences in HNS are shown.
        take_off: human-normalised score at which an agent has taken off.
    """

    games: list[str]
    seeds: list[int]
    mean: Scores
    hns: Scores
    episodes: Scores
    trained: Scores
    steps_per_second: Scores
    taken_off: Scores
    area: Scores
    pairs: Sequence[Sequence[str]]
    take_off: float

    @staticmethod
    def read(
        out: Path,
        names: list[str],
        games: list[str],
        seeds: list[int],
        pairs: Sequence[Sequence[str]],
        take_off: float = TAKE_OFF,
    ) -> AgentScores:
        """Of the runs OUT/seed-SEED/GAME/NAME."""
        runs = {
            name: [
                [_numbers(out / f"seed-{s}" / game / name, game, take_off) for game in games]
                for s in seeds
            ]
            for name in names
        }
        return AgentScores(
            games=games,
            seeds=seeds,
            pairs=pairs,
            take_off=take_off,
            **{
                key: {
                    name: np.array([[run[key] for run in row] for row in rows], dtype=float)
                    for name, rows in runs.items()
                }
                for key in NUMBERS
            },
        )

    def differences(self) -> Scores:
        """{"a - b": (seeds, games)} of HNS."""
        return differences(self.hns, self.pairs)

    def files(self, title: str) -> dict[str, str]:
        """{"study.md": tables for people, "study.csv": every single score}."""
        return {"study.md": self._markdown(title), "study.csv": self.table().csv()}

    def table(self) -> Table:
        """A row for each agent, seed and game."""
        each = self.mean, self.hns, self.episodes, self.trained, self.taken_off, self.area
        rows = [
            [name, self.seeds[seed], self.games[game],
             *(known(float(of[name][seed, game]), ".10g") for of in each)]
            for name, hns in self.hns.items()
            for seed, game in np.ndindex(hns.shape)
        ]  # fmt: skip
        columns = ["run", "seed", "game", "return", "hns", "episodes", "steps", "take_off", "area"]
        return Table("study", "Study", columns, rows)

    def _markdown(self, title: str) -> str:
        whole = [
            [name, estimate(hns), estimate(hns, statistic=iqm),
             known_mean(self.trained[name], ",.0f"),
             known_mean(self.steps_per_second[name], ",.0f"),
             self._took_off(name), known_mean(self.area[name], ".3f")]
            for name, hns in self.hns.items()
        ]  # fmt: skip
        none = [""] * 4
        whole += [[name, f"{one:.3f}", f"{one:.3f}", *none] for name, one in REFERENCES.items()]
        whole += [
            [pair, estimate(hns, "+.3f"), "", *none] for pair, hns in self.differences().items()
        ]
        columns = ["run", "HNS", "IQM of HNS", "agent steps", "steps a second", "take-off", "area"]
        lines = [
            f"# {title}",
            "",
            f"{over(self.games, self.seeds)} The human-normalised score (HNS) is 0 for the random "
            "agent and 1 for the human tester; IQM is its mean without the best and the worst "
            "quarter of runs and games. Agent steps are those of training, each of four frames. "
            f"Take-off is the first agent step at which the mean return of the last {WINDOW} ended "
            f"episodes is at an HNS of {self.take_off:g} or above: how many runs got there, and "
            "the median, where those that did not count as later than all. Area is that under the "
            "learning curve over its length, the mean HNS while learning.",
            "",
            *markdown(columns, whole),
        ]
        if len(self.hns) > 1 and len(self.seeds) > 1:
            lines += ["", f"Probability of improvement: {IMPROVEMENT}", ""]
            lines += markdown(*improvements(self.hns))
        for game, rom_id in enumerate(self.games):
            lines += ["", f"{find(rom_id).name}, mean over seeds", ""]
            lines += markdown(["run", "return", "HNS", *EACH], self._rows(game))
        return "\n".join(lines) + "\n"

    def _rows(self, game: int) -> list[list[str]]:
        """The rows of one game: the runs, the references and the differences."""
        of, at, none = find(self.games[game]), slice(game, game + 1), [""] * len(EACH)
        rows = [
            [name, estimate(self.mean[name][:, at], ".1f"), estimate(hns[:, at]),
             each(self.mean[name][:, game], ".1f"), each(self.taken_off[name][:, game], ",.0f"),
             each(self.area[name][:, game], ".3f")]
            for name, hns in self.hns.items()
        ]  # fmt: skip
        rows += [[name, f"{getattr(of, name):.1f}", f"{one:.3f}", *none]
                 for name, one in REFERENCES.items()]  # fmt: skip
        return rows + [
            [pair, "", estimate(hns[:, at], "+.3f"), *none]
            for pair, hns in self.differences().items()
        ]

    def _took_off(self, name: str) -> str:
        """ "3 of 4, 42,000": how many runs took off, and the median step where most did."""
        steps = np.nan_to_num(self.taken_off[name], nan=np.inf)
        there, median = np.isfinite(steps).sum(), float(np.median(steps))
        return f"{there} of {steps.size}" + (f", {median:,.0f}" if np.isfinite(median) else "")


def known(value: float, form: str) -> str:
    """A number; empty where it is none."""
    return "" if np.isnan(value) else f"{value:{form}}"


def each(values: np.ndarray, form: str) -> str:
    """The number of every seed, a dash where there is none."""
    return ", ".join(known(value, form) or "–" for value in values)


def _numbers(folder: Path, game: str, take_off: float) -> dict[str, float | None]:
    record, metrics = read_run(folder), read_metrics(folder / "metrics.csv")
    if not record or not record.evaluation:
        raise UserError(f"{folder} holds no evaluation: run fovea agents evaluate --run {folder}")
    curve, found = metrics.get(STEPS_PER_SECOND), record.evaluation
    returns, steps = metrics.get(RETURN, NOTHING), found.trained or 0
    return {
        "mean": found.mean,
        "hns": found.hns,
        "episodes": found.episodes,
        "trained": found.trained,
        "steps_per_second": np.median(curve.values) if curve else np.nan,
        "taken_off": learning.take_off(returns, learning.raw_return(game, take_off)),
        "area": hns(game, learning.area(returns, steps)),
    }
