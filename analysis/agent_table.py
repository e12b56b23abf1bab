"""How the agents of a study play: returns by game, and human-normalised scores over games."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fovea.analysis.statistics import iqm
from fovea.analysis.tables import differences, estimate, known_mean, over
from fovea.atari.games import find
from fovea.command import UserError
from fovea.metrics import STEPS_PER_SECOND, read_metrics
from fovea.runs import read_run
from fovea.tables import Table, markdown

REFERENCES = {"random": 0.0, "human": 1.0}
"""By whom scores are normalised, and the score that it has thereby."""

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
        pairs: [a, b] of agents whose differences in HNS are shown.
    """

    games: list[str]
    seeds: list[int]
    mean: Scores
    hns: Scores
    episodes: Scores
    trained: Scores
    steps_per_second: Scores
    pairs: Sequence[Sequence[str]]

    @staticmethod
    def read(
        out: Path,
        names: list[str],
        games: list[str],
        seeds: list[int],
        pairs: Sequence[Sequence[str]],
    ) -> AgentScores:
        """Of the runs OUT/seed-SEED/GAME/NAME."""
        runs = {
            name: [[_numbers(out / f"seed-{s}" / game / name) for game in games] for s in seeds]
            for name in names
        }
        return AgentScores(
            games=games,
            seeds=seeds,
            pairs=pairs,
            **{
                key: {
                    name: np.array([[run[key] for run in row] for row in rows], dtype=float)
                    for name, rows in runs.items()
                }
                for key in ("mean", "hns", "episodes", "trained", "steps_per_second")
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
        rows = [
            [name, self.seeds[seed], self.games[game],
             *(f"{of[name][seed, game]:.10g}"
               for of in (self.mean, self.hns, self.episodes, self.trained))]
            for name, hns in self.hns.items()
            for seed, game in np.ndindex(hns.shape)
        ]  # fmt: skip
        columns = ["run", "seed", "game", "return", "hns", "episodes", "steps"]
        return Table("study", "Study", columns, rows)

    def _markdown(self, title: str) -> str:
        whole = [
            [name, estimate(hns), estimate(hns, statistic=iqm),
             known_mean(self.trained[name], ",.0f"),
             known_mean(self.steps_per_second[name], ",.0f")]
            for name, hns in self.hns.items()
        ]  # fmt: skip
        whole += [[name, f"{one:.3f}", f"{one:.3f}", "", ""] for name, one in REFERENCES.items()]
        whole += [
            [pair, estimate(hns, "+.3f"), "", "", ""] for pair, hns in self.differences().items()
        ]
        lines = [
            f"# {title}",
            "",
            f"{over(self.games, self.seeds)} The human-normalised score (HNS) is 0 for the random "
            "agent and 1 for the human tester; IQM is its mean without the best and the worst "
            "quarter of runs and games. Agent steps are those of training, each of four frames.",
            "",
            *markdown(["run", "HNS", "IQM of HNS", "agent steps", "steps a second"], whole),
        ]
        for game, rom_id in enumerate(self.games):
            lines += ["", f"{find(rom_id).name}, mean over seeds", ""]
            lines += markdown(["run", "return", "HNS"], self._rows(game))
        return "\n".join(lines) + "\n"

    def _rows(self, game: int) -> list[list[str]]:
        """The rows of one game: the runs, the references and the differences."""
        known, at = find(self.games[game]), slice(game, game + 1)
        rows = [
            [name, estimate(self.mean[name][:, at], ".1f"), estimate(hns[:, at])]
            for name, hns in self.hns.items()
        ]
        rows += [[name, f"{getattr(known, name):.1f}", f"{one:.3f}"]
                 for name, one in REFERENCES.items()]  # fmt: skip
        return rows + [
            [pair, "", estimate(hns[:, at], "+.3f")] for pair, hns in self.differences().items()
        ]


def _numbers(folder: Path) -> dict[str, float | None]:
    record, metrics = read_run(folder), read_metrics(folder / "metrics.csv")
    if not record or not record.evaluation:
        raise UserError(f"{folder} holds no evaluation: run fovea agents evaluate --run {folder}")
    curve, found = metrics.get(STEPS_PER_SECOND), record.evaluation
    return {
        "mean": found.mean,
        "hns": found.hns,
        "episodes": found.episodes,
        "trained": found.trained,
        "steps_per_second": np.median(curve.values) if curve else np.nan,
    }
