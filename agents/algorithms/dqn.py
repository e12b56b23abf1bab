"""DQN (Mnih et al. 2015), and as settings what Rainbow (Hessel et al. 2018, 1710.02298) adds."""

from __future__ import annotations

import torch
from torch import Tensor

from fovea.agents.adaptation.base import Adapted
from fovea.agents.algorithms.q_learning import QAgent
from fovea.agents.experience.base import Task
from fovea.agents.experience.off_policy import OffPolicy
from fovea.agents.experience.priorities import annealed
from fovea.agents.experience.replay import Transitions
from fovea.agents.networks.value_heads import ValueHeadKind
from fovea.pretrain.encoders.read_out import ReadOut


class DQN(QAgent):
    """Learns the value of every action from replayed transitions.

    Args:
        encoder: `Frozen`, `FineTuned` ... around an encoder.
        actions: size of the action set; set by the game.
        features: what the head is given of the encoder's features.
        hidden: units of the head's hidden layer.
        double_q: the online network chooses the next action and the target network gives its value
            (van Hasselt et al. 2016, 1509.06461).
        dueling: state values and advantages are separate streams of the head.
        noisy: initial noise of the head's weights (0.5 in Rainbow), which explores; 0 for none.
        value_head: what the head predicts of a return: its mean (`regression`), or a distribution
            over bins (`c51`, `hl_gauss`).
        value_range: smallest and largest return of the bins.
        bins: number of bins.
        target_update_interval: updates between two updates of the target network.
        tau: share by which it then moves to the online network; 1 copies it.
        gamma: discount.
        n_step: steps of reward before the value of the next observation.
        batch_size: transitions per update.
        buffer_size: agent steps that the replay holds.
        buffer_on_disk: hold what was observed in a file in the run folder, not in memory.
        per_alpha: exponent of prioritised experience replay (0.5 in Rainbow); 0 samples uniformly.
        per_beta: initial exponent of its importance weights; it grows to 1 over the run.
        shift: pixels by which replayed screens are randomly shifted at most.
        learning_starts: agent steps before the first update.
        train_freq: agent steps between two updates; below 1, several updates a step.
        epsilon_initial: chance of a random action before learning starts; 1 plays at random, a
            small one plays with the agent's initial weights.
        epsilon_final: the chance once it has fallen.
        epsilon_spread: environment i of N explores with epsilon_final ^ (1 + spread * i / (N - 1))
            (Horgan et al. 2018, 1803.00933, with 0.4 and 7); 0 treats all alike.
        epsilon_steps: agent steps over which it falls, once learning has started.
        epsilon_evaluation: chance of a random action in an evaluation.
        lr: Adam's learning rate of the head; the encoder's is scaled by its `lr_scale`.
        adam_eps: Adam's epsilon.
        anneal_lr: whether learning rates fall linearly to 0 over the run.
        seed: of the initial head.

    Attributes:
        td_errors: (B,) of the batch that `losses` took last.
    """

    td_errors: Tensor

    def __init__(
        self,
        encoder: Adapted,
        actions: int,
        features: ReadOut = ReadOut(),
        hidden: int = 512,
        double_q: bool = True,
        dueling: bool = False,
        noisy: float = 0.0,
        value_head: ValueHeadKind = "regression",
        value_range: tuple[float, float] = (-10.0, 10.0),
        bins: int = 51,
        target_update_interval: int = 2000,
        tau: float = 1.0,
        gamma: float = 0.99,
        n_step: int = 1,
        batch_size: int = 32,
        buffer_size: int = 1_000_000,
        buffer_on_disk: bool = False,
        per_alpha: float = 0.0,
        per_beta: float = 0.4,
        shift: int = 0,
        learning_starts: int = 20_000,
        train_freq: float = 4,
        epsilon_initial: float = 1.0,
        epsilon_final: float = 0.01,
        epsilon_spread: float = 0.0,
        epsilon_steps: int = 250_000,
        epsilon_evaluation: float = 0.001,
        lr: float = 2.5e-4,
        adam_eps: float = 1e-5,
        anneal_lr: bool = False,
        seed: int = 0,
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
        self.buffer_size, self.buffer_on_disk = buffer_size, buffer_on_disk
        self.per_alpha, self.per_beta = per_alpha, per_beta
        self.learning_starts, self.train_freq = learning_starts, train_freq
        self.epsilon_initial, self.epsilon_final = epsilon_initial, epsilon_final
        self.epsilon_spread, self.epsilon_steps = epsilon_spread, epsilon_steps

    def schedules(self, step: int, steps: int) -> dict[str, float]:
        values = super().schedules(step, steps)
        if self.per_alpha:
            values["per_beta"] = annealed(self.per_beta, step, steps)
        return values

    def epsilon(self, step: int, envs: int = 1) -> Tensor:
        """(envs,) chances of a random action after `step` agent steps."""
        fallen = min(1.0, max(0.0, (step - self.learning_starts) / self.epsilon_steps))
        final = self.epsilon_final ** (1 + self.epsilon_spread * torch.linspace(0, 1, envs))
        return self.epsilon_initial + fallen * (final - self.epsilon_initial)

    @torch.no_grad()
    def act(self, obs: Tensor, generator: torch.Generator, step: int | None = None) -> Tensor:
        if step is None:
            return super().act(obs, generator)
        epsilon = self.epsilon(step, len(obs))
        self.note(epsilon=epsilon[0])
        return self.epsilon_greedy(obs, epsilon, generator, with_noise=True)

    def losses(self, batch: Transitions) -> dict[str, Tensor]:
        """The loss of the TD error."""
        loss, self.td_errors = self.td_loss(self.outputs(batch.obs), batch)
        return {"td": (batch.weight * loss).mean()}

    def feed_back(self, experience: OffPolicy) -> None:
        if self.per_alpha:
            experience.update_priorities(self.td_errors)

    def make_experience(self, task: Task) -> OffPolicy:
        return OffPolicy(
            task,
            self,
            buffer_size=self.buffer_size,
            batch_size=self.batch_size,
            n_step=self.n_step,
            gamma=self.gamma,
            learning_starts=self.learning_starts,
            train_freq=self.train_freq,
            per_alpha=self.per_alpha,
            per_beta=self.per_beta,
            on_disk=self.buffer_on_disk,
        )
