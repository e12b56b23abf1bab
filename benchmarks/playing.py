"""Agent steps a second of `fovea agents fit` and of an agent of stable-baselines3."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.fitting import ROOT, begin, end
from fovea.command import UserError
from fovea.metrics import NOTHING, STEPS_PER_SECOND, read_metrics


def fit_rate(config: str, settings: dict[str, object], seconds: float, at: Path = ROOT) -> float:
    """Of `fovea agents fit`, logs and progress included, without its start.

    Args:
        config: by its name.
        settings: {dotted name: value} in place of the config's.
        seconds: that the run is given.
        at: the checkout that runs it.

    Raises UserError where they are too few.
    """
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        end(begin("agents", config, run, settings, at=at))
        rates = read_metrics(run / "metrics.csv").get(STEPS_PER_SECOND, NOTHING)
    if len(rates.steps) < 2:
        raise UserError(f"{seconds:g} seconds hold no two logged rates: give more --seconds")
    steps = np.diff(rates.steps)
    return steps.sum() / (steps / rates.values[1:]).sum()


def sb3_rate(agent, seconds: float, warm_up: int) -> float:
    """Of an agent of stable-baselines3 that learns for so many seconds, after `warm_up` steps."""
    from stable_baselines3.common.callbacks import BaseCallback

    class Clock(BaseCallback):
        """Notes when each stretch of play begins, and ends the run."""

        def __init__(self):
            super().__init__()
            self.seen, self.begin = [], time.perf_counter()

        def _on_rollout_start(self) -> None:
            if self.num_timesteps > warm_up:
                self.seen.append((self.num_timesteps, time.perf_counter()))

        def _on_step(self) -> bool:
            return len(self.seen) < 2 or time.perf_counter() < self.begin + seconds

    clock = Clock()
    agent.learn(10**8, callback=clock)
    agent.get_env().close()
    (first, begin), (last, end) = clock.seen[0], clock.seen[-1]
    return (last - first) / (end - begin)
