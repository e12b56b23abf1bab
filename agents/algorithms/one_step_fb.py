"""One-step FB: values of any reward from recordings that need none (Zheng et al., 2602.11399)."""

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
from fovea.agents.algorithms.base import Agent
from fovea.agents.experience.base import Task
from fovea.agents.experience.recorded import Recorded
from fovea.agents.experience.replay import Transitions
from fovea.pretrain.encoders.read_out import ReadOut
from fovea.pretrain.terms.forward_backward import fb_loss, layers, orthonormal_loss, task_vector
from fovea.pretrain.terms.teacher import ema_update, make_teacher
from fovea.seeding import Stream, keyed, seeded

CHUNK = 500  # labelled observations that are encoded at once


class OneStepFB(Agent):
    """Learns without rewards where the recorded policy leads, and reads a policy off few of them.

    Discrete and without an actor: all actions are looked at. The forward features of a step and the
    backward features of a state give how much a policy that goes on as recorded comes to that
    state; with the rewards of `labelled` recorded steps their values, of which the largest is the
    action. That is one step of improvement on who was recorded, and no more.

    Args:
        recordings: folder of recordings, or several: of `fovea atari collect` and `fovea agents
            record`.
        encoder: `Frozen`, `FineTuned` ... around an encoder.
        actions: size of the action set; set by the game.
        labelled: recorded steps whose rewards are looked at.
        temperature: T of the weights softmax(T * reward) by which they count; 0 counts each by its
            reward alone.
        features: what the heads are given of the encoder's features.
        hidden: units of the two hidden layers of each map.
        dim: numbers of forward and backward features.
        orthonormal: coefficient of the term that keeps backward features apart.
        gamma: discount.
        tau: share by which the target maps move at each update.
        batch_size: recorded steps per update; pairs of all of them are compared.
        epsilon_evaluation: chance of a random action in an evaluation.
        lr: Adam's learning rate of the heads; the encoder's is scaled by its `lr_scale`.
        adam_eps: Adam's epsilon.
        anneal_lr: whether learning rates fall linearly to 0 over the run.
        seed: of the initial heads.

    Attributes:
        task_vector: (d,) what values are read with; set at the end of training, and at every
            tenth of it.
    """

    scores_are = "values"

    def __init__(
        self,
        recordings: list[str] | str,
        encoder: Adapted,
        actions: PositiveInt,
        labelled: PositiveInt = 10_000,
        temperature: NonNegativeFloat = 0.0,
        features: ReadOut = ReadOut(),
        hidden: PositiveInt = 256,
        dim: PositiveInt = 50,
        orthonormal: NonNegativeFloat = 1.0,
        gamma: ClosedUnitInterval = 0.99,
        tau: ClosedUnitInterval = 0.005,
        batch_size: PositiveInt = 256,
        epsilon_evaluation: ClosedUnitInterval = 0.001,
        lr: NonNegativeFloat = 1e-4,
        adam_eps: PositiveFloat = 1e-5,
        anneal_lr: bool = False,
        seed: NonNegativeInt = 0,
    ):
        super().__init__(
            encoder,
            actions,
            features=features,
            lr=lr,
            adam_eps=adam_eps,
            anneal_lr=anneal_lr,
            seed=seed,
        )
        self.recordings = [recordings] if isinstance(recordings, str) else recordings
        self.labelled, self.temperature = labelled, float(temperature)
        self.dim, self.orthonormal = dim, float(orthonormal)
        self.gamma, self.tau, self.batch_size = gamma, tau, batch_size
        self.epsilon_evaluation = epsilon_evaluation
        self.evaluation = f"epsilon {epsilon_evaluation:g}"
        with seeded(Stream.AGENT_HEAD, seed):
            width = self.extractor.width
            self.onward = nn.ModuleList(layers(width, hidden, actions * dim) for _ in range(2))
            self.backward_of = layers(width, hidden, dim)
        self.target = make_teacher(self.parts)
        self.register_buffer("task_vector", torch.zeros(dim))

    @property
    def parts(self) -> nn.ModuleList:
        """What the target follows: the feature extractor and both maps."""
        return nn.ModuleList([self.extractor, self.onward, self.backward_of])

    def measures(self, onward: nn.ModuleList, features: Tensor) -> Tensor:
        """(2, B, actions, d) the forward features of all actions."""
        return torch.stack([each(features).unflatten(1, (self.actions, -1)) for each in onward])

    def losses(self, batch: Transitions) -> dict[str, Tensor]:
        """The loss of the measure, and the one that keeps backward features apart."""
        features, rows = self.extractor(batch.obs), torch.arange(len(batch.action))
        backward = self.backward_of(features)
        extractor, onward, backward_of = self.target
        with torch.no_grad():
            following = self.measures(onward, extractor(batch.next_obs))
            target = backward_of(extractor(batch.obs))
        loss = fb_loss(
            self.measures(self.onward, features)[:, rows, batch.action],
            backward,
            following[:, rows, batch.next_action],
            target,
            batch.discount,
            self.gamma,
        )
        return {"measure": loss, "orthonormal": self.orthonormal * orthonormal_loss(backward)}

    def values(self, features: Tensor) -> Tensor:
        """(B, actions) of what the heads are given: the mean of both forward features."""
        return self.measures(self.onward, features).mean(dim=0) @ self.task_vector

    @torch.no_grad()
    def act(self, obs: Tensor, generator: torch.Generator, step: int | None = None) -> Tensor:
        best = self.values(self.extractor(obs)).argmax(dim=1)
        return self.explored(best, self.epsilon_evaluation, generator)

    def action_scores(self, screens: Tensor) -> Tensor:
        with torch.set_grad_enabled(torch.is_grad_enabled() and screens.is_floating_point()):
            return self.values(self.extractor.of_screens(screens.to(self.device)))

    def optimizer_step(self, *args, **kwargs) -> None:
        super().optimizer_step(*args, **kwargs)
        ema_update(self.target, self.parts, 1 - self.tau)
        experience = self.trainer.train_dataloader
        done, updates = self.global_step, experience.updates
        if done == updates or done % -(-updates // 10) == 0:
            self.read_rewards(experience)

    @torch.no_grad()
    def read_rewards(self, experience: Recorded) -> None:
        """Take the task vector from the rewards of recorded steps, the same whenever it is read."""
        generator = keyed("cpu", Stream.LABELLED_STEPS, self.seed)
        row, env = experience.steps.draw(self.labelled, generator)
        backward, rewards = [], []
        for rows, envs in zip(row.split(CHUNK), env.split(CHUNK), strict=True):
            obs, reward = experience.steps.labelled(rows, envs)
            backward.append(self.backward_of(self.extractor(obs.to(self.device))))
            rewards.append(reward.to(self.device))
        self.task_vector.copy_(
            task_vector(torch.cat(backward), torch.cat(rewards), self.temperature)
        )

    def make_experience(self, task: Task) -> Recorded:
        return Recorded(task, self, self.recordings, self.batch_size, n_step=1, gamma=self.gamma)
