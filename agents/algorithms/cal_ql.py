"""Cal-QL: a DQN from recordings, for another to begin from (`fovea agents fit --init_from`)."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from fovea.agents.algorithms.dqn import DQN
from fovea.agents.experience.recorded import Recorded
from fovea.agents.experience.replay import Transitions
from fovea.agents.task import Play


class CalQL(DQN):
    """A DQN from recordings: Cal-QL (Nakamoto et al. 2023, arXiv 2303.05479), all actions counted.

    Values of actions that were not recorded are pushed down, but not below the return that was
    recorded, so that what is learnt is on the scale of returns and learning online goes on from it.

    Args:
        recordings: folder of `fovea atari collect`.
        conservative: weight of the push.
    """

    def __init__(self, recordings: str, conservative: float = 1.0, **dqn):
        super().__init__(**dqn)
        self.recordings, self.conservative = Path(recordings), conservative

    def losses(self, batch: Transitions) -> dict[str, Tensor]:
        """The loss of the temporal difference, and the push."""
        outputs = self.by_action(self.head(self.eyes(batch.observed)))
        pushed = gap(self.values.value(outputs), batch.action, batch.to_go)
        return {
            "td": self.difference(outputs, batch),
            "conservative": self.conservative * pushed.mean(),
        }

    def experience(self, play: Play) -> Recorded:
        return Recorded(play, self, self.recordings, self.batch, self.n_step, self.gamma)


def gap(values: Tensor, action: Tensor, to_go: Tensor) -> Tensor:
    """(B,) by how much the values (B, actions) exceed those of the actions that were recorded.

    The soft maximum over all actions less the value of `action` (B,); an action that was not
    recorded counts with at least the return `to_go` (B,) that was.
    """
    recorded = action[:, None]
    taken = values.gather(1, recorded)
    bounded = torch.maximum(values, to_go[:, None]).scatter(1, recorded, taken)
    return bounded.logsumexp(dim=1) - taken[:, 0]
