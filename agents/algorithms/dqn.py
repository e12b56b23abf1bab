"""DQN (Mnih et al. 2015), and as settings what Rainbow (Hessel et al. 2018, 1710.02298) adds."""

from __future__ import annotations

from contextlib import nullcontext

import torch
from torch import Tensor, nn

from fovea.agents.algorithms.base import Agent
from fovea.agents.experience.off_policy import Replayed
from fovea.agents.experience.replay import Transitions
from fovea.agents.networks.heads import head
from fovea.agents.networks.noisy import noise
from fovea.agents.networks.value_heads import Kind, judge
from fovea.agents.task import Play
from fovea.command import UserError
from fovea.pretrain.augment import shift
from fovea.pretrain.terms.teacher import copied, follow
from fovea.seeding import Draws, Stream, keyed, seeded


class DQN(Agent):
    """Learns the value of every action from replayed transitions.

    Args:
        double: the online network picks the next action and the target network values it.
        dueling: the head values states and the advantages of actions apart.
        noisy: initial noise of the head's weights (0.5 in Rainbow); 0 has none.
        values: what the head says of a value: a number (`regression`), or a distribution over
            bins (`c51`, `hl_gauss`).
        value_range: least and largest value that the bins tell apart.
        bins: how many.
        target_every: updates between two moves of the target network.
        target_share: how far it then moves to the online network; 1 makes it a copy.
        gamma: discount.
        n_step: steps of reward before the value of what follows.
        batch: transitions an update.
        replay: agent steps that are remembered.
        replay_mapped: hold them in a file in the run folder, not in memory.
        priority: exponent of prioritised replay (0.5 in Rainbow); 0 draws uniformly.
        importance: exponent of its weights at first; it grows to 1 over the run.
        shift: pixels by which replayed screens are moved at random at most.
        warmup: agent steps before the first update.
        steps_per_update: agent steps between two updates; below 1, several updates a step.
        epsilon_initial: chance of a random action in the warm-up; 1 warms up at random, a small
            one with the agent as it starts.
        epsilon_final: the chance once it has fallen.
        epsilon_spread: environment i of N explores with epsilon_final ^ (1 + spread * i / (N - 1))
            (Horgan et al. 2018, 1803.00933, with 0.4 and 7); 0 treats all alike.
        epsilon_steps: agent steps over which it falls, after the warm-up.
        epsilon_evaluation: chance of a random action in an evaluation.

    Attributes:
        errors: (B,) how wrong it was about each transition of the last batch.
    """

    errors: Tensor

    def __init__(
        self,
        double: bool = True,
        dueling: bool = False,
        noisy: float = 0.0,
        values: Kind = "regression",
        value_range: tuple[float, float] = (-10.0, 10.0),
        bins: int = 51,
        target_every: int = 2000,
        target_share: float = 1.0,
        gamma: float = 0.99,
        n_step: int = 1,
        batch: int = 32,
        replay: int = 1_000_000,
        replay_mapped: bool = False,
        priority: float = 0.0,
        importance: float = 0.4,
        shift: int = 0,
        warmup: int = 20_000,
        steps_per_update: float = 4,
        epsilon_initial: float = 1.0,
        epsilon_final: float = 0.01,
        epsilon_spread: float = 0.0,
        epsilon_steps: int = 250_000,
        epsilon_evaluation: float = 0.001,
        **base,
    ):
        super().__init__(**base)
        self.double, self.target_every, self.target_share = double, target_every, target_share
        self.gamma, self.n_step, self.batch = gamma, n_step, batch
        self.replay, self.replay_mapped = replay, replay_mapped
        self.priority, self.importance, self.shift = priority, importance, shift
        self.warmup, self.steps_per_update = warmup, steps_per_update
        self.epsilon_initial, self.epsilon_final = epsilon_initial, epsilon_final
        self.epsilon_spread, self.epsilon_steps = epsilon_spread, epsilon_steps
        self.epsilon_evaluation = epsilon_evaluation
        if shift and self.eyes.encoder.frozen:
            raise UserError(
                f"model.init_args.shift {shift} moves replayed screens, and with a frozen encoder "
                "the replay holds features: set it to 0, or let the encoder learn"
            )
        self.values = judge(values, *value_range, bins)
        with seeded(Stream.AGENT_HEAD, self.seed):
            self.head = self.eyes.heads(
                lambda: head(
                    self.eyes.width,
                    self.hidden,
                    self.actions,
                    self.values.outputs,
                    dueling=dueling,
                    noisy=noisy,
                )
            )
        self.target = copied(nn.Sequential(self.eyes, self.head))

    def schedules(self, step: int, steps: int) -> dict[str, float]:
        values = super().schedules(step, steps)
        if self.priority:
            share = min(1, step / steps)
            values["the exponent of importance weights"] = (
                self.importance + (1 - self.importance) * share
            )
        return values

    @property
    def evaluated(self) -> str:
        return f"epsilon {self.epsilon_evaluation:g}"

    def epsilon(self, envs: int = 1) -> Tensor:
        """(envs,) chances of a random action after the steps played so far."""
        fallen = min(1.0, max(0.0, (self.played - self.warmup) / self.epsilon_steps))
        final = self.epsilon_final ** (1 + self.epsilon_spread * torch.linspace(0, 1, envs))
        return self.epsilon_initial + fallen * (final - self.epsilon_initial)

    @torch.no_grad()
    def act(self, observed: Tensor, explore: bool, generator: torch.Generator) -> Tensor:
        count = len(observed)
        chance = self.epsilon(count) if explore else self.epsilon_evaluation
        if explore:
            self.note(epsilon=chance[0])
        at_random = torch.rand(count, generator=generator) < chance
        random = torch.randint(self.actions, (count,), generator=generator)
        if at_random.all():
            return random
        with noise(self.head, generator, count) if explore else nullcontext():
            best = self.best(self.head(self.eyes(observed)))
        return torch.where(at_random.to(best.device), random.to(best.device), best)

    def best(self, outputs: Tensor) -> Tensor:
        """(B,) the actions of the largest values that (B, actions * K) outputs stand for."""
        return self.values.value(self.by_action(outputs)).argmax(dim=1)

    def by_action(self, outputs: Tensor) -> Tensor:
        """(B, actions, K) of (B, actions * K)."""
        return outputs.unflatten(1, (self.actions, -1))

    def losses(self, batch: Transitions) -> dict[str, Tensor]:
        """The loss of the temporal difference."""
        return {"td": self.difference(self.by_action(self.head(self.eyes(batch.observed))), batch)}

    def difference(self, outputs: Tensor, batch: Transitions) -> Tensor:
        """The loss of (B, actions, K) outputs of what was observed."""
        with torch.no_grad():
            following = self.target(batch.following)
            choosing = self.head(self.eyes(batch.following)) if self.double else following
            best = self.best(choosing)
        each = torch.arange(len(outputs), device=outputs.device)
        loss, self.errors = self.values.loss(
            outputs[each, batch.action],
            batch.reward,
            batch.discount,
            self.by_action(following)[each, best],
        )
        return (batch.weight * loss).mean()

    def training_step(self, batch: Transitions, batch_idx: int) -> Tensor:
        if self.global_step % self.target_every == 0:
            self.move_target()
        if self.shift:
            batch = shifted(batch, self.shift, self.seed, self.global_step)
        generator = keyed(self.device, Stream.NOISE, self.seed, self.global_step)
        with noise(self.head, generator), noise(self.target, generator):
            return super().training_step(batch, batch_idx)

    @torch.no_grad()
    def move_target(self) -> None:
        """Let the target network follow the online one by `target_share`."""
        online = nn.Sequential(self.eyes, self.head)
        follow(self.target, online, 1 - self.target_share)
        for ours, theirs in zip(self.target.buffers(), online.buffers(), strict=True):
            ours.copy_(theirs)

    def experience(self, play: Play) -> Replayed:
        return Replayed(
            play,
            self,
            size=self.replay,
            batch=self.batch,
            n_step=self.n_step,
            gamma=self.gamma,
            warmup=self.warmup,
            steps_per_update=self.steps_per_update,
            priority=self.priority,
            importance=self.importance,
            mapped=self.replay_mapped,
        )


def shifted(batch: Transitions, pixels: int, seed: int, step: int) -> Transitions:
    """The batch with every stack of screens moved by itself (Yarats et al. 2021, 2004.13649)."""
    both = torch.cat([batch.observed, batch.following])
    moved = shift(both, Draws(Stream.REPLAY_SHIFT, seed, step, len(both), both.device), pixels)
    observed, following = moved.chunk(2)
    return batch._replace(observed=observed, following=following)
