"""DQN (Mnih et al. 2015), and as settings what Rainbow (Hessel et al. 2018, 1710.02298) adds."""

from __future__ import annotations

import torch
from jsonargparse.typing import (
    ClosedUnitInterval,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
)
from torch import Tensor, nn

from fovea.agents.adaptation.base import Adapted
from fovea.agents.algorithms import consistency
from fovea.agents.algorithms.q_learning import QAgent
from fovea.agents.algorithms.resets import geometric, last_reset, shrink_and_perturb
from fovea.agents.experience.base import Task
from fovea.agents.experience.off_policy import OffPolicy
from fovea.agents.experience.priorities import annealed
from fovea.agents.experience.replay import Transitions
from fovea.agents.networks.value_heads import ValueHeadKind
from fovea.pretrain.augment import Chain
from fovea.pretrain.encoders.read_out import ReadOut
from fovea.seeding import Draws, Stream, key


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
        target_update_interval: updates, and not agent steps, between two updates of the target
            network.
        tau: share by which it then moves to the online network; 1 copies it. An interval of 1 with
            0.005 makes it the exponential moving average of BBF (Schwarzer et al. 2023,
            2305.19452).
        act_with_target: the target network chooses the actions, in training and in evaluations, as
            in BBF.
        gamma: discount.
        gamma_final: the discount at the end of `anneal_updates`, 1 - gamma falling by equal factors
            (BBF: from 0.97 to 0.997); None keeps `gamma`.
        n_step: steps of reward before the value of the next observation.
        n_step_final: the steps at the end of `anneal_updates`, reached by equal factors (BBF: from
            10 to 3); None keeps `n_step`.
        anneal_updates: updates over which gamma and n_step go to their final values, from the first
            update and again from every reset.
        reset_interval: updates between two resets of all that learns beside the encoder, in the
            online and the target network; 0 for none. There is no reset where fewer updates than
            that are left. An encoder that learns is left as it is, since fresh weights would throw
            its pretraining away. Meant for a `train_freq` of 1 or less.
        reset_shrink: share of the old weights that a reset keeps (shrink and perturb); 0 draws them
            all anew.
        batch_size: transitions per update.
        buffer_size: agent steps that the replay holds.
        buffer_on_disk: hold what was observed in a file in the run folder, not in memory.
        per_alpha: exponent of prioritised experience replay (0.5 in Rainbow); 0 samples uniformly.
        per_beta: initial exponent of its importance weights; it grows to 1 over the run.
        recordings: folder of recordings, or several, that `offline_ratio` of every batch is taken
            from, such as those that the run of `--init_from` learnt from.
        offline_ratio: share of every batch that is recorded steps, below 1 (0.5 in RLPD, Ball et
            al. 2023, 2302.02948); 0 keeps no recordings, as WSRL (Zhou et al. 2024, 2412.07762).
        shift: pixels by which replayed screens are randomly shifted at most.
        augmentations: K chains of augmentations (see `pretrain.augment`) of replayed screens, under
            which the policy softmax(Q / consistency_tau) should be the same (see
            `algorithms.consistency`); those of a frozen encoder are not stored.
        consistency_coef: weight of the divergence of the worst of the K views.
        consistency_tau: temperature of that policy, in units of returns.
        positive_advantage_only: count the divergence only where the replayed action has a larger
            value than that policy has on average.
        learning_starts: agent steps before the first update, which fill the replay; after
            `--init_from` and with a small `epsilon_initial` they are the warm-up of WSRL (5,000 in
            its code), played by the policy that was learnt offline.
        train_freq: agent steps between two updates; below 1, several updates a step: 0.5 is a
            replay ratio of two updates an agent step, 0.125 one of eight. All environments are
            stepped together and the updates that are due then follow: with 8 of them and 0.5,
            sixteen.
        epsilon_initial: chance of a random action before learning starts; 1 plays at random, a
            small one plays with the agent's initial weights.
        epsilon_final: the chance once it has fallen.
        epsilon_spread: environment i of N explores with epsilon_final ^ (1 + spread * i / (N - 1))
            (Horgan et al. 2018, 1803.00933, with 0.4 and 7); 0 treats all alike.
        epsilon_steps: agent steps over which it falls, once learning has started.
        epsilon_evaluation: chance of a random action in an evaluation.
        lr: Adam's learning rate of the head; the encoder's is scaled by its `lr_scale`.
        adam_eps: Adam's epsilon.
        weight_decay: AdamW's (0.1 in BBF), of the matrices of the head and of the token projection;
            biases and the encoder are not decayed.
        anneal_lr: whether learning rates fall linearly to 0 over the run.
        seed: of the initial head.

    Attributes:
        td_errors: (B,) of the batch that `losses` took last.
    """

    td_errors: Tensor

    def __init__(
        self,
        encoder: Adapted,
        actions: PositiveInt,
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
        act_with_target: bool = False,
        gamma: ClosedUnitInterval = 0.99,
        gamma_final: ClosedUnitInterval | None = None,
        n_step: PositiveInt = 1,
        n_step_final: PositiveInt | None = None,
        anneal_updates: PositiveInt = 10_000,
        reset_interval: NonNegativeInt = 0,
        reset_shrink: ClosedUnitInterval = 0.0,
        batch_size: PositiveInt = 32,
        buffer_size: PositiveInt = 1_000_000,
        buffer_on_disk: bool = False,
        per_alpha: NonNegativeFloat = 0.0,
        per_beta: ClosedUnitInterval = 0.4,
        recordings: list[str] | str | None = None,
        offline_ratio: ClosedUnitInterval = 0.0,
        shift: NonNegativeInt = 0,
        augmentations: list[Chain] | None = None,
        consistency_coef: NonNegativeFloat = 0.1,
        consistency_tau: PositiveFloat = 0.1,
        positive_advantage_only: bool = False,
        learning_starts: NonNegativeInt = 20_000,
        train_freq: PositiveFloat = 4,
        epsilon_initial: ClosedUnitInterval = 1.0,
        epsilon_final: ClosedUnitInterval = 0.01,
        epsilon_spread: NonNegativeFloat = 0.0,
        epsilon_steps: PositiveInt = 250_000,
        epsilon_evaluation: ClosedUnitInterval = 0.001,
        lr: NonNegativeFloat = 2.5e-4,
        adam_eps: PositiveFloat = 1e-5,
        weight_decay: NonNegativeFloat = 0.0,
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
            keep_screens=bool(augmentations),
        )
        self.act_with_target = act_with_target
        # Plain: checkpoints hold it, and are loaded as plain data.
        self.weight_decay = float(weight_decay)
        self.gamma_final, self.n_step_final = gamma_final, n_step_final
        self.anneal_updates = anneal_updates
        self.reset_interval, self.reset_shrink = reset_interval, reset_shrink
        self.buffer_size, self.buffer_on_disk = buffer_size, buffer_on_disk
        self.per_alpha, self.per_beta = per_alpha, per_beta
        self.recordings = [recordings] if isinstance(recordings, str) else recordings
        self.offline_ratio = offline_ratio
        self.augmentations = consistency.checked(augmentations, self.stores_features)
        self.consistency_coef, self.consistency_tau = consistency_coef, consistency_tau
        self.positive_advantage_only = positive_advantage_only
        self.learning_starts, self.train_freq = learning_starts, train_freq
        self.epsilon_initial, self.epsilon_final = epsilon_initial, epsilon_final
        self.epsilon_spread, self.epsilon_steps = epsilon_spread, epsilon_steps

    def schedules(self, step: int, steps: int) -> dict[str, float]:
        values = super().schedules(step, steps)
        if self.per_alpha:
            values["per_beta"] = annealed(self.per_beta, step, steps)
        if self.reset_interval:
            values["updates since a reset"] = step - last_reset(step, self.reset_interval, steps)
        return values

    def horizon(self, update: int, updates: int) -> tuple[int, float]:
        """n_step and gamma at an update of one of so many, counted from 0."""
        since = update - last_reset(update, self.reset_interval, updates)
        share = min(1.0, since / self.anneal_updates)
        n_step, gamma = self.n_step, self.gamma
        if self.n_step_final is not None:
            n_step = round(geometric(n_step, self.n_step_final, share))
        if self.gamma_final is not None:
            gamma = 1 - geometric(1 - gamma, 1 - self.gamma_final, share)
        return n_step, gamma

    def training_step(self, batch: Transitions, batch_idx: int) -> Tensor:
        update = self.global_step
        updates = self.schedule_steps or len(self.trainer.train_dataloader)
        if update and update == last_reset(update, self.reset_interval, updates):
            self.reset_heads(update // self.reset_interval)
        if self.n_step_final is not None or self.gamma_final is not None:
            n_step, gamma = self.horizon(update, updates)
            self.note(n_step=n_step, gamma=gamma)
        return super().training_step(batch, batch_idx)

    def reset_heads(self, number: int) -> None:
        """Reset all that learns beside the encoder; the run's resets are counted from 1.

        The target network is given the same fresh weights, as at the start of a run.
        """
        seed = key(Stream.HEAD_RESETS, self.seed, number)
        fresh = nn.ModuleList([self.extractor.make_projection(seed), self.make_head(seed)])
        for extractor, head in ((self.extractor, self.head), self.target):
            heads = nn.ModuleList([extractor.projection, head])
            shrink_and_perturb(heads, fresh, self.reset_shrink, self.optimizers().optimizer)

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
        """The loss of the TD error, and with augmentations that of the policy's divergence."""
        outputs = self.outputs(batch.obs)
        loss, self.td_errors = self.td_loss(outputs, batch)
        losses = {"td": (batch.weight * loss).mean()}
        return losses | (self.consistency_loss(batch, outputs) if self.augmentations else {})

    def consistency_loss(self, batch: Transitions, outputs: Tensor) -> dict[str, Tensor]:
        """How much softmax(Q / tau) of augmented screens differs from that of the clean ones."""
        screens = batch.obs
        draws = Draws(Stream.CONSISTENCY, self.seed, self.global_step, len(screens), screens.device)
        views = consistency.views(screens, self.augmentations, draws)
        value = self.value_head.value(outputs.detach())
        view_value = self.value_head.value(self.outputs(views))
        logp, view_logp = (
            (each / self.consistency_tau).log_softmax(dim=1) for each in (value, view_value)
        )
        divergence = consistency.divergence(logp, view_logp)
        if self.positive_advantage_only:
            taken = value.gather(1, batch.action[:, None])[:, 0]
            divergence = divergence * (taken > (logp.exp() * value).sum(dim=1))
        return {"consistency": self.consistency_coef * divergence.mean()}

    def feed_back(self, experience: OffPolicy) -> None:  # type: ignore[override]
        # What its own `make_experience` gave.
        if self.per_alpha:
            experience.update_priorities(self.td_errors)

    def make_experience(self, task: Task) -> OffPolicy:
        return OffPolicy(
            task,
            self,
            buffer_size=self.buffer_size,
            batch_size=self.batch_size,
            n_step=max(self.n_step, self.n_step_final or 0),
            gamma=self.gamma,
            learning_starts=self.learning_starts,
            train_freq=self.train_freq,
            per_alpha=self.per_alpha,
            per_beta=self.per_beta,
            on_disk=self.buffer_on_disk,
            horizon=self.horizon,
            recordings=self.recordings or (),
            offline_ratio=self.offline_ratio,
        )
