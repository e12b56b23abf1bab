"""Behaviour cloning: a PPO from recordings, for another to begin from."""

from __future__ import annotations

from pathlib import Path

import torch.nn.functional as F
from torch import Tensor

from fovea.agents.algorithms.ppo import PPO
from fovea.agents.experience.recorded import Recorded
from fovea.agents.experience.replay import Transitions
from fovea.agents.task import Play


class Cloned(PPO):
    """A PPO from recordings: the policy that recorded them, and the value of playing on with it.

    Args:
        recordings: folder of `fovea atari collect`.
        batch: recorded steps an update.
    """

    def __init__(self, recordings: str, batch: int = 256, **ppo):
        super().__init__(**ppo)
        self.recordings, self.batch = Path(recordings), batch

    def losses(self, batch: Transitions) -> dict[str, Tensor]:
        """How unlikely the recorded actions are, and the value's squared error."""
        logp, value = self.judge(batch.observed)
        error = (value - batch.to_go).square().mean()
        return {
            "policy": F.nll_loss(logp, batch.action),
            "value": self.value_weight * 0.5 * error,
        }

    def experience(self, play: Play) -> Recorded:
        return Recorded(play, self, self.recordings, self.batch, n_step=1, gamma=self.gamma)
