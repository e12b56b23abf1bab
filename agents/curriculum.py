"""In which variant of a game each episode is played, chosen by absolute learning progress.

After ALP-GMM (Portelas et al. 2019, arXiv 1910.07224) and AGAIN (Portelas et al. 2020, arXiv
2011.08463). Contexts are few and named, so that progress is kept for each and no mixture is fitted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Sized
from typing import Literal, NamedTuple

import numpy as np

Way = Literal["alp", "uniform", "round_robin"]

FAST, SLOW = 0.3, 0.05  # rates of the two means of scores whose distance is the progress
UNIFORM = 0.2  # share of episodes whose context is drawn uniformly, as in ALP-GMM
STAGE = 20  # episodes between two notes of the chances
PRETEST = 20  # episodes, drawn uniformly, that tell which earlier run is nearest


class Earlier(NamedTuple):
    """The curriculum of a run that has ended."""

    scores: np.ndarray
    """(N,) mean scores of the contexts in its pretest; NaN of those that it did not meet."""
    chances: np.ndarray
    """(stages, N) of the contexts, every STAGE episodes."""


class Curriculum:
    """Chooses contexts of episodes by what was scored in them; it is an `atari.env.Contexts`.

    Args:
        settings: of each context, the settings of the emulator that are its own.
        way: `alp` (chances are a share of absolute learning progress, of two means of scores at
            different rates), `uniform`, or `round_robin`.
        low: return whose score is 0.
        high: return whose score is 1.
        earlier: curricula of earlier runs. After a pretest half of the episodes follow the one
            whose pretest is nearest, stage by stage, as long as it goes (AGAIN).
    """

    def __init__(
        self,
        settings: Sequence[dict[str, float]],
        way: Way,
        low: float,
        high: float,
        earlier: Sequence[Earlier] = (),
    ):
        self.settings, self.way, self.low, self.high = list(settings), way, low, high
        self.earlier = list(earlier)
        self.begin()

    def begin(self) -> None:
        """Forget all that was scored."""
        count = len(self.settings)
        self.fast, self.slow = np.full(count, np.nan), np.full(count, np.nan)
        self.sums, self.counts = np.zeros(count), np.zeros(count)
        self.ended = 0
        self.stages = np.zeros((0, count))

    def next(self, share: float, number: int) -> int:
        """The context of an episode that begins.

        Args:
            share: drawn uniformly from [0, 1).
            number: of the episode, counted from 0 over all environments.
        """
        if self.way == "round_robin":
            return number % len(self.settings)
        bounds = self.chances().cumsum()
        return min(int(np.searchsorted(bounds, share * bounds[-1], side="right")), len(bounds) - 1)

    def scored(self, context: int, total: float) -> None:
        """An episode in a context has ended with a raw return."""
        score = (total - self.low) / (self.high - self.low)
        for mean, rate in ((self.fast, FAST), (self.slow, SLOW)):
            old = mean[context]
            mean[context] = score if np.isnan(old) else old + rate * (score - old)
        if self.ended < PRETEST:
            self.sums[context] += score
            self.counts[context] += 1
        self.ended += 1
        if self.ended % STAGE == 0:
            self.stages = np.concatenate([self.stages, self.chances()[None]])

    def chances(self) -> np.ndarray:
        """(N,) of the contexts now."""
        count = len(self.settings)
        even = np.full(count, 1 / count)
        if self.way != "alp":
            return even
        progress = np.nan_to_num(np.abs(self.fast - self.slow))
        own = even
        if progress.sum():
            own = (1 - UNIFORM) * progress / progress.sum() + UNIFORM * even
        if not self.earlier or self.ended < PRETEST:
            return even if self.earlier else own
        theirs = self.earlier[self.nearest()].chances
        stage = self.ended // STAGE - PRETEST // STAGE
        return (own + theirs[stage]) / 2 if stage < len(theirs) else own

    @property
    def pretest(self) -> np.ndarray:
        """(N,) mean scores in the first episodes; NaN where there was none."""
        return np.where(self.counts > 0, self.sums / np.maximum(self.counts, 1), np.nan)

    def nearest(self) -> int:
        """The earlier run whose pretest is nearest, over the contexts that both have met."""
        away = [_distance(self.pretest, one.scores) for one in self.earlier]
        return int(np.argmin(away))

    def state(self) -> dict[str, np.ndarray]:
        """All that the future depends on, as arrays by name."""
        return {
            "fast": self.fast.copy(),
            "slow": self.slow.copy(),
            "sums": self.sums.copy(),
            "counts": self.counts.copy(),
            "ended": np.array(self.ended),
            "stages": self.stages.copy(),
            "earlier_scores": np.array([one.scores for one in self.earlier]),
            "earlier_chances": np.concatenate(
                [np.zeros((0, len(self.settings))), *(one.chances for one in self.earlier)]
            ),
            "earlier_stages": np.array([len(one.chances) for one in self.earlier], dtype=int),
        }

    def load_state(self, state: dict[str, np.ndarray]) -> None:
        """Go on from what `state` returned."""
        self.fast, self.slow = state["fast"].copy(), state["slow"].copy()
        self.sums, self.counts = state["sums"].copy(), state["counts"].copy()
        self.ended, self.stages = int(state["ended"]), state["stages"].copy()
        if self.keeps_earlier(state):
            ends = state["earlier_stages"].cumsum()[:-1]
            chances = np.split(state["earlier_chances"], ends)
            self.earlier = list(map(Earlier, state["earlier_scores"], chances))

    @staticmethod
    def keeps_earlier(state: Mapping[str, Sized]) -> bool:
        """Whether a state holds the curricula of earlier runs; older ones do not."""
        return len(state.get("earlier_stages", ())) > 0

    @staticmethod
    def of_state(state: dict[str, np.ndarray]) -> Earlier:
        """What an earlier run leaves to others, of its state."""
        counts = np.maximum(state["counts"], 1)
        scores = np.where(state["counts"] > 0, state["sums"] / counts, np.nan)
        return Earlier(scores, state["stages"])


def _distance(a: np.ndarray, b: np.ndarray) -> float:
    both = np.isfinite(a) & np.isfinite(b)
    return float(np.abs(a - b)[both].mean()) if both.any() else np.inf
