"""Cal-QL: Q-learning from recordings; a DQN can start from it (`fovea agents fit --init_from`)."""

from __future__ import annotations

import torch
from jsonargparse.typing import (
    ClosedUnitInterval,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
)
from torch import Tensor

from fovea.agents.adaptation.base import Adapted
from fovea.agents.algorithms.q_learning import QAgent
from fovea.agents.experience.base import Task
from fovea.agents.experience.recorded import Recorded
from fovea.agents.experience.replay import Transitions
from fovea.agents.networks.value_heads import ValueHeadKind
from fovea.pretrain.encoders.read_out import ReadOut


class CalQL(QAgent):
    """Q-learning from recordings: Cal-QL (Nakamoto et al. 2023, arXiv 2303.05479), all actions.

    Values of actions that were not recorded are pushed down, but not below the return that was
    recorded: so they stay on the scale of returns, and learning online continues from there.

    Args:
        recordings: folder of recordings, or several: of `fovea atari collect` and `fovea agents
            record`.
        encoder: `Frozen`, `FineTuned` ... around an encoder.
        actions: size of the action set; set by the game.
        cql_alpha: weight of the conservative loss.
        calibrated: whether values are not pushed below the recorded return; false is CQL (Kumar et
            al. 2020, 2006.04779), whose values fall below the scale of returns.
        features: what the head is given of the encoder's features.
        hidden: units of the head's hidden layer.
        double_q: the online network chooses the next action and the target network gives its value
            (van Hasselt et al. 2016, 1509.06461).
        dueling: state values and advantages are separate streams of the head.
        noisy: initial noise of the head's weights (0.5 in Rainbow); 0 for none.
        value_head: what the head predicts of a return: its mean (`regression`), or a distribution
            over bins (`c51`, `hl_gauss`).
        value_range: smallest and largest return of the bins.
        bins: number of bins.
        target_update_interval: updates between two updates of the target network.
        tau: share by which it then moves to the online network; 1 copies it.
        gamma: discount.
        n_step: steps of reward before the value of the next observation.
        batch_size: recorded transitions per update.
        shift: pixels by which recorded screens are randomly shifted at most.
        epsilon_evaluation: chance of a random action in an evaluation.
        lr: Adam's learning rate of the head; the encoder's is scaled by its `lr_scale`.
        adam_eps: Adam's epsilon.
        anneal_lr: whether learning rates fall linearly to 0 over the run.
        seed: of the initial head.
    """

    def __init__(
        self,
        recordings: list[str] | str,
        encoder: Adapted,
        actions: PositiveInt,
        cql_alpha: NonNegativeFloat = 1.0,
        calibrated: bool = True,
        features: ReadOut = ReadOut(),
        hidden: PositiveInt = 512,
        double_q: bool = True,
        dueling: bool = False,
        noisy: NonNegativeFloat = 0.0,
        value_head: ValueHeadKind = "regression",
        value_range: tuple[float, float] = (-10.0, 10.0),
        bins: PositiveInt = 51,
        target_update_interval: PositiveInt = 2000,
        tau: ClosedUnitInterval = 1.0,
        gamma: ClosedUnitInterval = 0.99,
        n_step: PositiveInt = 1,
        batch_size: PositiveInt = 32,
        shift: NonNegativeInt = 0,
        epsilon_evaluation: ClosedUnitInterval = 0.001,
        lr: NonNegativeFloat = 2.5e-4,
        adam_eps: PositiveFloat = 1e-5,
        anneal_lr: bool = False,
        seed: NonNegativeInt = 0,
    ):
        super().__init__(
            encoder,
            actions,
            features=features,
            hidden=hidden,
            double_q=double_q,
            dueling=dueling,
            noisy=noisy,
            value_head=value_head,
            value_range=value_range,
            bins=bins,
            target_update_interval=target_update_interval,
            tau=tau,
            gamma=gamma,
            n_step=n_step,
            batch_size=batch_size,
            shift=shift,
            epsilon_evaluation=epsilon_evaluation,
            lr=lr,
            adam_eps=adam_eps,
            anneal_lr=anneal_lr,
            seed=seed,
        )
        self.recordings = [recordings] if isinstance(recordings, str) else recordings
        self.cql_alpha, self.calibrated = cql_alpha, calibrated

    def losses(self, batch: Transitions) -> dict[str, Tensor]:
        """The loss of the TD error, and the conservative loss."""
        outputs = self.outputs(batch.obs)
        to_go = batch.to_go if self.calibrated else torch.full_like(batch.reward, -torch.inf)
        overestimated = gap(self.value_head.value(outputs), batch.action, to_go)
        return {
            "td": self.td_loss(outputs, batch).loss.mean(),
            "conservative": self.cql_alpha * overestimated.mean(),
        }

    def make_experience(self, task: Task) -> Recorded:
        return Recorded(task, self, self.recordings, self.batch_size, self.n_step, self.gamma)


def gap(values: Tensor, action: Tensor, to_go: Tensor) -> Tensor:
    """(B,) by how much the values (B, actions) exceed those of the recorded actions.

    The soft maximum over all actions less the value of `action` (B,); an action that was not
    recorded counts with at least the return `to_go` (B,) that was, if that is finite.
    """
    recorded = action[:, None]
    taken = values.gather(1, recorded)
    bounded = torch.maximum(values, to_go[:, None]).scatter(1, recorded, taken)
    return bounded.logsumexp(dim=1) - taken[:, 0]
