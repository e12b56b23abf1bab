"""How the encoders of a study compare: means over games and seeds, with their intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fovea.analysis.compare import means
from fovea.analysis.figures import REFERENCES
from fovea.analysis.tables import differences, estimate, known_mean, over
from fovea.metrics import NOTHING, ORDER_ACCURACY, held_out, read_metrics
from fovea.results import ProbeResult, read_result
from fovea.tables import Table, markdown

Scores = dict[str, np.ndarray]
"""By encoder, (seeds, games)."""


@dataclass(frozen=True)
class EncoderScores:
    """The probe results of a study, for its encoders and the references.

    Attributes:
        games: rom ids.
        seeds: of the study.
        r2: of the state probe, mean of categories.
        f1: the same.
        categories: {encoder: {category: (seeds, 2)}} R2 and F1, means over the games that have it.
        rankme: of the summary, of the collapse probe.
        order: {encoder: (seeds,)} held-out order accuracy; NaN where the run has none.
        pairs: [a, b] of encoders whose differences are shown.
    """

    games: list[str]
    seeds: list[int]
    r2: Scores
    f1: Scores
    categories: dict[str, dict[str, np.ndarray]]
    rankme: Scores
    order: dict[str, np.ndarray]
    pairs: Sequence[Sequence[str]]

    @staticmethod
    def read(
        out: Path, names: list[str], seeds: list[int], pairs: Sequence[Sequence[str]]
    ) -> EncoderScores:
        """Of the runs OUT/seed-SEED/NAME and OUT/seed-SEED/probes."""
        states = [_probe(out, seed, "state") for seed in seeds]
        ranks = [_probe(out, seed, "collapse") for seed in seeds]
        everyone = [*names, *(name for name in REFERENCES if name in states[0].encoders)]
        categories = {
            name: [state.tables(name)["categories"] for state in states] for name in everyone
        }
        games = list(dict.fromkeys(row["game"] for row in categories[names[0]][0].records()))
        r2, f1 = (
            {name: _scores(of, games, column, category="mean") for name, of in categories.items()}
            for column in ("r2", "f1")
        )
        return EncoderScores(
            games=games,
            seeds=seeds,
            r2=r2,
            f1=f1,
            categories={
                name: _categories([state.tables(name)["overall"] for state in states])
                for name in everyone
            },
            rankme={
                name: _scores(
                    [rank.tables(name)["features"] for rank in ranks],
                    games,
                    "rankme",
                    place="summary",
                )
                for name in everyone
                if name in ranks[0].encoders
            },
            order={
                name: np.array([_order(out / f"seed-{seed}" / name) for seed in seeds])
                for name in names
            },
            pairs=pairs,
        )

    def files(self, title: str) -> dict[str, str]:
        """{"study.md": a table for people, "study.csv": every single score}."""
        return {"study.md": self._markdown(title), "study.csv": self.table().csv()}

    def table(self) -> Table:
        """A row for each encoder, seed and game."""
        rows = [
            [name, self.seeds[seed], self.games[game], f"{value:.6f}",
             f"{self.f1[name][seed, game]:.6f}"]
            for name, r2 in self.r2.items()
            for (seed, game), value in np.ndenumerate(r2)
        ]  # fmt: skip
        return Table("study", "Study", ["encoder", "seed", "game", "r2", "f1"], rows)

    def _markdown(self, title: str) -> str:
        games, whole = self.games, []
        for name, r2 in self.r2.items():
            above = (r2.mean(0) > self.r2["random"].mean(0)).sum()
            whole.append(
                [name, estimate(r2), estimate(self.f1[name]),
                 known_mean(self.rankme.get(name), ".1f"),
                 known_mean(self.order.get(name), ".2f"), f"{above} of {len(games)}"]
            )  # fmt: skip
        f1 = differences(self.f1, self.pairs)
        for pair, r2 in differences(self.r2, self.pairs).items():
            whole.append([pair, estimate(r2, "+.3f"), estimate(f1[pair], "+.3f"), "", "", ""])
        categories = list(self.categories[next(iter(self.r2))])
        lines = [
            f"# {title}",
            "",
            f"{over(games, self.seeds)} R2 and F1 are of the state "
            "probe, RankMe of the summary, order of held-out episodes.",
            "",
            *markdown(["encoder", "R2", "F1", "RankMe", "order", "games above random (R2)"], whole),
            "",
            "R2 by game, mean over seeds",
            "",
            *markdown(
                ["encoder", *games],
                [[name, *(f"{v:.3f}" for v in r2.mean(0))] for name, r2 in self.r2.items()],
            ),
            "",
            "R2 and F1 by category of variables, mean over seeds and the games that have it",
            "",
            *markdown(
                ["encoder", *categories],
                [
                    [name, *("{:.3f}, {:.3f}".format(*scores[one].mean(0)) for one in categories)]
                    for name, scores in self.categories.items()
                ],
            ),
        ]
        return "\n".join(lines) + "\n"


def _probe(out: Path, seed: int, probe: str) -> ProbeResult:
    return read_result(out / f"seed-{seed}" / "probes" / "probes" / f"{probe}.json")


def _scores(tables: list[Table], games: list[str], column: str, **where: str) -> np.ndarray:
    """(seeds, games) of one column, of the rows where other columns have a value."""
    found = [means(table, column, "game", *where) for table in tables]
    return np.array([[one.get((game, *where.values()), np.nan) for game in games] for one in found])


def _categories(tables: list[Table]) -> dict[str, np.ndarray]:
    """{category: (seeds, 2)} R2 and F1, means over the games that have it."""
    found: dict[str, list] = {}
    for table in tables:
        for row in table.records():
            found.setdefault(row["category"], []).append([row["r2"], row["f1"]])
    return {category: np.array(scores, float) for category, scores in found.items()}


def _order(run: Path) -> float:
    """The last held-out order accuracy of a run; NaN where it has none."""
    values = read_metrics(run / "metrics.csv").get(held_out(ORDER_ACCURACY), NOTHING).values
    return float(values[-1]) if len(values) else np.nan
