"""How the encoders of a study compare: means over games and seeds, with their intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fovea.analysis.figures import REFERENCES
from fovea.analysis.study_results import Results
from fovea.analysis.tables import (
    complete,
    differences,
    estimate,
    grid,
    known_mean,
    of_seeds,
    over,
)
from fovea.atari.ram import CATEGORIES
from fovea.tables import markdown

Scores = dict[str, np.ndarray]
"""By encoder, (seeds, games); NaN where there is no result yet."""


@dataclass(frozen=True)
class EncoderScores:
    """The probe results of a study, for its encoders and the references.

    Attributes:
        games: rom ids of those that the probe can read.
        seeds: of the study.
        r2: of the state probe, mean of categories.
        f1: the same.
        categories: {category: (R2, F1)}.
        rankme: of the summary, of the collapse probe.
        order: held-out order accuracy, (seeds, 1); NaN where the run has none.
        pairs: [a, b] of encoders whose differences are shown.
    """

    games: list[str]
    seeds: list[int]
    r2: Scores
    f1: Scores
    categories: dict[str, tuple[Scores, Scores]]
    rankme: Scores
    order: Scores
    pairs: Sequence[Sequence[str]]

    @staticmethod
    def read(
        results: Results,
        names: list[str],
        games: list[str],
        seeds: list[int],
        pairs: Sequence[Sequence[str]],
    ) -> EncoderScores:
        """Of kept results, of those of the encoders `names` and the references that have some."""
        measured = {at for result in results.values() for at in result.scores}
        games = [game for game in games if (game, "r2") in measured]
        here = [
            name
            for name in [*names, *REFERENCES]
            if np.isfinite(grid(results, name, seeds, games, "r2")).any()
        ]
        categories = [one for one in CATEGORIES if any(at[1] == f"f1/{one}" for at in measured)]

        def of(measure: str, games: list[str] = games) -> Scores:
            return {name: grid(results, name, seeds, games, measure) for name in here}

        return EncoderScores(
            games=games,
            seeds=seeds,
            r2=of("r2"),
            f1=of("f1"),
            categories={one: (of(f"r2/{one}"), of(f"f1/{one}")) for one in categories},
            rankme=of("rankme"),
            order=of("order_accuracy", [""]),
            pairs=pairs,
        )

    def markdown(self, title: str) -> str:
        """The page: over all games, R2 by game, R2 and F1 by category."""
        games, whole = self.games, []
        for name, r2 in self.r2.items():
            whole.append(
                [name, of_seeds(r2), estimate(r2), estimate(self.f1[name]),
                 known_mean(self.rankme[name], ".1f"), known_mean(self.order[name], ".2f"),
                 self._above_random(r2)]
            )  # fmt: skip
        f1 = differences(self.f1, self.pairs)
        for pair, r2 in differences(self.r2, self.pairs).items():
            whole.append([pair, of_seeds(r2), estimate(r2, "+.3f"), estimate(f1[pair], "+.3f"),
                          "", "", ""])  # fmt: skip
        columns = ["encoder", "seeds", "R2", "F1", "RankMe", "order", "games above random (R2)"]
        by_category = [
            [name, *(f"{known_mean(r2[name], '.3f')}, {known_mean(f1[name], '.3f')}"
                     for r2, f1 in self.categories.values())]
            for name in self.r2
        ]  # fmt: skip
        lines = [
            f"# {title}",
            "",
            f"{over(games)} R2 and F1 are of the state "
            "probe, RankMe of the summary, order of held-out episodes.",
            "",
            *markdown(columns, whole),
            "",
            "R2 by game, mean over seeds",
            "",
            *markdown(
                ["encoder", *games],
                [[name, *(known_mean(game, ".3f") for game in r2.T)]
                 for name, r2 in self.r2.items()],
            ),
            "",
            "R2 and F1 by category of variables, mean over seeds and the games that have it",
            "",
            *markdown(["encoder", *self.categories], by_category),
        ]  # fmt: skip
        return "\n".join(lines) + "\n"

    def _above_random(self, r2: np.ndarray) -> str:
        """In how many games it is above the untrained encoder, over the seeds of both."""
        both = complete(r2 - self.r2.get("random", np.full_like(r2, np.nan)))
        return f"{(both.mean(0) > 0).sum()} of {len(self.games)}" if len(both) else ""
