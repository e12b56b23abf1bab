"""How the agents of a study play: returns by game, and human-normalised scores over games."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fovea.analysis.statistics import iqm
from fovea.analysis.study_measures import OF_AGENTS, took_off
from fovea.analysis.study_results import Results
from fovea.analysis.tables import (
    IMPROVEMENT,
    complete,
    differences,
    estimate,
    grid,
    improvements,
    known_mean,
    of_seeds,
    over,
)
from fovea.atari.games import find
from fovea.metrics import WINDOW
from fovea.tables import markdown

EACH = ["return of each seed", "take-off of each seed", "area of each seed, HNS"]
REFERENCES = {"random": 0.0, "human": 1.0}
"""By whom scores are normalised, and the score that it has thereby."""

NEVER, LATER = "–", "…"
"""For a seed that never took off, and for one that has no result yet."""

Scores = dict[str, np.ndarray]
"""By agent, (seeds, games); NaN where there is no result yet."""


@dataclass(frozen=True)
class AgentScores:
    """The evaluations of a study.

    Attributes:
        games: rom ids.
        seeds: of the study.
        mean: return.
        hns: human-normalised score.
        trained: agent steps.
        steps_per_second: the median while it trained; NaN where none was logged.
        taken_off: agent step at which it took off (see `learning`); infinity where it never did.
        area: under the learning curve over its length, a human-normalised score.
        pairs: [a, b] of agents whose differences in HNS are shown.
        take_off: human-normalised score at which an agent has taken off.
        others: by name, measures that only some agents have, such as the dip of one that began
            with another's weights.
    """

    games: list[str]
    seeds: list[int]
    mean: Scores
    hns: Scores
    trained: Scores
    steps_per_second: Scores
    taken_off: Scores
    area: Scores
    pairs: Sequence[Sequence[str]]
    take_off: float
    others: dict[str, Scores]

    @staticmethod
    def read(
        results: Results,
        names: list[str],
        games: list[str],
        seeds: list[int],
        pairs: Sequence[Sequence[str]],
        take_off: float,
    ) -> AgentScores:
        """Of kept results, of those of the agents `names` that have some."""
        here = [name for name in names if any(key.run == name for key in results)]

        def of(measure: str) -> Scores:
            return {name: grid(results, name, seeds, games, measure) for name in here}

        shown = {*OF_AGENTS, took_off(take_off)}
        measured = {measure for key, of in results.items() if key.run in here
                    for _, measure in of.scores}  # fmt: skip
        return AgentScores(
            games=games,
            seeds=seeds,
            mean=of("return"),
            hns=of("hns"),
            trained=of("steps"),
            steps_per_second=of("steps_per_second"),
            taken_off=of(took_off(take_off)),
            area=of("area"),
            pairs=pairs,
            take_off=take_off,
            others={
                measure: of(measure)
                for measure in sorted(measured - shown)
                if not measure.startswith("take_off_")  # at another score
            },
        )

    def differences(self) -> Scores:
        """{"a - b": (seeds, games)} of HNS."""
        return differences(self.hns, self.pairs)

    def markdown(self, title: str) -> str:
        """The page: over all games, and game by game."""
        whole = [
            [name, of_seeds(hns), estimate(hns), estimate(hns, statistic=iqm, one_by_one=False),
             *self._while_learning(name)]
            for name, hns in self.hns.items()
        ]  # fmt: skip
        none = [""] * 4
        whole += [[name, "", f"{one:.3f}", f"{one:.3f}", *none] for name, one in REFERENCES.items()]
        whole += [
            [pair, of_seeds(hns), estimate(hns, "+.3f"), "", *none]
            for pair, hns in self.differences().items()
        ]
        columns = ["run", "seeds", "HNS", "IQM of HNS", "agent steps", "steps a second", "take-off",
                   "area"]  # fmt: skip
        lines = [
            f"# {title}",
            "",
            f"{over(self.games)} The human-normalised score (HNS) is 0 for the random "
            "agent and 1 for the human tester; IQM is its mean without the best and the worst "
            "quarter of runs and games. Agent steps are those of training, each of four frames. "
            f"Take-off is the first agent step at which the mean return of the last {WINDOW} ended "
            f"episodes is at an HNS of {self.take_off:g} or above: how many runs got there, and "
            "the median, where those that did not count as later than all. Area is that under the "
            "learning curve over its length, the mean HNS while learning.",
            "",
            *markdown(columns, whole),
        ]
        finished = {name: rows for name, of in self.hns.items() if len(rows := complete(of))}
        if len(finished) > 1 and any(len(rows) > 1 for rows in finished.values()):
            lines += ["", f"Probability of improvement: {IMPROVEMENT}", ""]
            lines += markdown(*improvements(finished))
        for game, rom_id in enumerate(self.games):
            seeds = ", ".join(map(str, self.seeds))
            lines += ["", f"{find(rom_id).name}: mean over seeds, and each of the seeds {seeds} "
                      f"({NEVER} never took off, {LATER} no result yet)", ""]  # fmt: skip
            lines += markdown(["run", "return", "HNS", *EACH], self._rows(game))
            if others := self._others(game):
                lines += ["", f"{find(rom_id).name}, also measured", ""]
                lines += markdown(["measure", *self.hns], others)
        return "\n".join(lines) + "\n"

    def _while_learning(self, name: str) -> list[str]:
        """Agent steps, steps a second, take-off and area, of the seeds that are complete."""
        there = np.isfinite(self.hns[name]).all(axis=1)
        steps = self.taken_off[name][there]
        steps = steps[~np.isnan(steps)]
        early, median = np.isfinite(steps).sum(), np.median(steps) if len(steps) else np.inf
        return [
            known_mean(self.trained[name][there], ",.0f"),
            known_mean(self.steps_per_second[name][there], ",.0f"),
            f"{early} of {len(steps)}" + (f", {median:,.0f}" if np.isfinite(median) else ""),
            known_mean(self.area[name][there], ".3f"),
        ]

    def _rows(self, game: int) -> list[list[str]]:
        """The rows of one game: the runs, the references and the differences."""
        of, at, none = find(self.games[game]), slice(game, game + 1), [""] * len(EACH)
        rows = [
            [name, estimate(self.mean[name][:, at], ".1f", one_by_one=False),
             estimate(hns[:, at], one_by_one=False), each(self.mean[name][:, game], ".1f"),
             each(self.taken_off[name][:, game], ",.0f"), each(self.area[name][:, game], ".3f")]
            for name, hns in self.hns.items()
            if np.isfinite(hns[:, game]).any()
        ]  # fmt: skip
        rows += [[name, f"{getattr(of, name):.1f}", f"{one:.3f}", *none]
                 for name, one in REFERENCES.items()]  # fmt: skip
        return rows + [
            [pair, "", estimate(hns[:, at], "+.3f"), *none]
            for pair, hns in self.differences().items()
        ]

    def _others(self, game: int) -> list[list[str]]:
        """Rows (measure, each run), of the measures that some run of the game has."""
        at = slice(game, game + 1)
        return [
            [measure, *(estimate(of[name][:, at], ".2f") for name in self.hns)]
            for measure, of in self.others.items()
            if any(np.isfinite(scores[:, game]).any() for scores in of.values())
        ]


def each(values: np.ndarray, form: str) -> str:
    """The number of every seed."""
    return ", ".join(
        LATER if np.isnan(value) else NEVER if np.isinf(value) else f"{value:{form}}"
        for value in values
    )
