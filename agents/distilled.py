"""A policy that learns from an agent that can play already, and `fovea agents distil`."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import torch
from jsonargparse.typing import NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt
from torch import Tensor

from fovea.agents.adaptation.base import Adapted
from fovea.agents.algorithms.actor_critic import ActorCriticAgent
from fovea.agents.algorithms.base import Agent
from fovea.agents.experience.base import Task
from fovea.agents.experience.taught import Lessons, Taught
from fovea.agents.loading import load_agent
from fovea.command import UserError, parser
from fovea.old_names import read_config
from fovea.pretrain.encoders.read_out import ReadOut

ABOUT = """Teach a policy from an agent that can play: another encoder's, or a small network's that
plays fast; `fovea agents fit -c ppo_frozen --init_from RUN` then goes on with PPO.

It is `fovea agents fit -c distilled` in the teacher's game, under its protocol; every setting of
that can be given as well. The same command again goes on after a kill.

    fovea agents distil --teacher runs/dqn --run runs/small
    fovea agents distil --teacher runs/dqn --run runs/policy --model.init_args.top_k 3"""

PROTOCOL = ("game", "stack", "protocol", "sticky", "noop_max", "life_loss_terminal", "max_frames",
            "fire_reset", "full_actions", "frame_skip", "mode", "difficulty",
            "clip_rewards")  # fmt: skip
"""Settings of the game that are the teacher's."""


class Distilled(ActorCriticAgent):
    """A policy and a value that imitate a teacher: discrete PA-RL.

    PA-RL (Mark et al. 2024, arXiv 2412.06685) improves any policy by supervised learning on actions
    that a critic has made better: of those that the policy would take itself the best by the critic
    are its labels. With so few actions all of them can be looked at, and there is no gradient of
    actions.

    Args:
        teacher: run folder of the agent that is learnt from.
        encoder: `Frozen`, `FineTuned` ... around an encoder.
        actions: size of the action set; set by the game.
        teacher_tau: temperature of the labels softmax(Q / tau), in units of returns; small ones
            want the best action alone. For a teacher with a policy it divides log-probabilities.
        top_k: only the policy's own k likeliest actions are labels, as in PA-RL; None for all.
        features: what the heads are given of the encoder's features.
        hidden: units of the hidden layer that policy and value share.
        vf_coef: weight of the loss of the value, which learns what the state is worth to the
            teacher.
        batch_size: observations per update.
        buffer_size: agent steps that are held.
        learning_starts: agent steps before the first update, played by the teacher; after them the
            policy plays.
        train_freq: agent steps between two updates; below 1, several updates a step.
        lr: Adam's learning rate of the heads; the encoder's is scaled by its `lr_scale`.
        adam_eps: Adam's epsilon.
        anneal_lr: whether learning rates fall linearly to 0 over the run.
        seed: of the initial heads.
    """

    def __init__(
        self,
        teacher: str,
        encoder: Adapted,
        actions: PositiveInt,
        teacher_tau: PositiveFloat = 0.1,
        top_k: PositiveInt | None = None,
        features: ReadOut = ReadOut(),
        hidden: PositiveInt = 512,
        vf_coef: NonNegativeFloat = 0.5,
        batch_size: PositiveInt = 64,
        buffer_size: PositiveInt = 100_000,
        learning_starts: NonNegativeInt = 2000,
        train_freq: PositiveFloat = 2,
        lr: NonNegativeFloat = 5e-4,
        adam_eps: PositiveFloat = 1e-5,
        anneal_lr: bool = True,
        seed: NonNegativeInt = 0,
    ):
        super().__init__(
            encoder,
            actions,
            features=features,
            hidden=hidden,
            vf_coef=vf_coef,
            gamma=1.0,
            lr=lr,
            adam_eps=adam_eps,
            anneal_lr=anneal_lr,
            seed=seed,
        )
        self.teacher, self.teacher_tau, self.top_k = teacher, teacher_tau, top_k
        self.batch_size, self.buffer_size = batch_size, buffer_size
        self.learning_starts, self.train_freq = learning_starts, train_freq

    def losses(self, batch: Lessons) -> dict[str, Tensor]:
        """The cross-entropy with the teacher's actions, and the value's squared error."""
        logp, value = self.policy_and_value(batch.obs)
        wanted = labels(batch.scores, logp, self.teacher_tau, self.top_k)
        with torch.no_grad():
            same = (logp.argmax(dim=1) == batch.scores.argmax(dim=1)).float().mean()
        self.note(agreement=same)
        return {
            "policy": -(wanted * logp).sum(dim=1).mean(),
            "value": self.vf_coef * 0.5 * (value - batch.value).square().mean(),
        }

    def make_experience(self, task: Task) -> Taught:
        loaded = load_agent(self.teacher)
        theirs, mine = loaded.task, (task.game, task.stack, task.envs.action_count)
        if (theirs.game, theirs.stack, theirs.action_count) != mine:
            raise UserError(
                f"the teacher {self.teacher} plays {theirs.game} with {theirs.action_count} "
                f"actions on stacks of {theirs.stack}, and this agent {mine[0]} with {mine[2]} on "
                f"stacks of {mine[1]}: fovea agents distil takes these settings over"
            )
        return Taught(
            task,
            self,
            partial(FromRun, loaded.agent, self.teacher_tau),
            buffer_size=self.buffer_size,
            batch_size=self.batch_size,
            learning_starts=self.learning_starts,
            train_freq=self.train_freq,
        )


class FromRun:
    """An agent as a teacher; it is an `experience.taught.Teacher`.

    Args:
        agent: that can play.
        tau: temperature of the policy that states are valued by.
        device: where it computes.
    """

    def __init__(self, agent: Agent, tau: float, device: torch.device):
        self.agent, self.tau = agent.to(device), tau

    def act(self, screens: Tensor, generator: torch.Generator) -> Tensor:
        return self.agent.act(self.agent.observe(screens), generator)

    def scores_and_value(self, screens: Tensor) -> tuple[Tensor, Tensor]:
        if self.agent.scores_are == "values":
            values = self.agent.action_scores(screens)
            return values, ((values / self.tau).softmax(dim=1) * values).sum(dim=1)
        if isinstance(self.agent, ActorCriticAgent):
            return self.agent.policy_and_value(self.agent.observe(screens))
        raise UserError(
            f"a {type(self.agent).__name__} has neither values nor a policy to teach: name a run "
            "of DQN, PPO, Cal-QL or cloning"
        )


def labels(scores: Tensor, logp: Tensor, tau: float, top_k: int | None) -> Tensor:
    """(B, actions) softmax(scores / tau), over the `top_k` likeliest actions of the policy alone.

    Args:
        scores: (B, actions), the teacher's.
        logp: (B, actions), the policy's log-probabilities; no gradient flows into them.
        tau: temperature.
        top_k: number of actions; None for all.
    """
    scaled = scores / tau
    if top_k and top_k < logp.shape[1]:
        kept = torch.zeros_like(logp, dtype=torch.bool)
        kept.scatter_(1, logp.detach().topk(top_k, dim=1).indices, True)
        scaled = scaled.masked_fill(~kept, -torch.inf)
    return scaled.softmax(dim=1)


def distil(arguments: list[str]) -> None:
    """Run `fovea agents distil ARGUMENTS`."""
    asked = parser("fovea agents distil", ABOUT)
    asked.add_argument("--teacher", required=True, type=Path, help="run folder of who teaches")
    asked.add_argument("--run", required=True, type=Path, help="run folder of the new agent")
    args, more = asked.parse_known_args(arguments)
    there = [run for run in (args.teacher, args.run) if (run / "config.yaml").exists()]
    if not there:
        raise UserError(f"{args.teacher} holds no agent: train one with fovea agents fit")
    theirs = read_config(there[0])["data"]  # a run that is done does without its teacher
    given = [
        word
        for name in PROTOCOL
        if theirs.get(name) is not None
        for word in (f"--data.{name}", str(theirs[name]).lower())
    ]

    from fovea.agents.fit import fit

    fit(
        ["-c", "distilled", "--run", str(args.run), "--model.init_args.teacher", str(args.teacher),
         *given, *more]
    )  # fmt: skip
