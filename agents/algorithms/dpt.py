"""DPT (Lee et al. 2023, arXiv 2306.14892): what to do is learnt in context, within an episode.

Tasks are a game whose buttons are permuted: which button does what can only be told from what came
of pressing it. A small transformer is given some steps and a query, and learns the action of who
was recorded, under the names that actions have in its task.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jsonargparse.typing import NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt
from torch import Tensor, nn

from fovea.agents.adaptation.base import Adapted
from fovea.agents.algorithms.base import Agent
from fovea.agents.experience.base import Task
from fovea.agents.experience.recorded import Recorded
from fovea.agents.experience.replay import Transitions
from fovea.pretrain.encoders.read_out import ReadOut
from fovea.seeding import Stream, keyed, seeded


class DPT(Agent):
    """Predicts in context the action of who was recorded, under any permutation of the buttons.

    A batch is queries and, for each, `context` recorded steps, in any order; for each query the
    actions are permuted by a draw of its own. The loss is that of every length of the context. In
    play the context is what happened since the episode began, the last `context` steps of it.

    Args:
        recordings: folder of recordings, or several, best of a strong agent: its actions are what
            is learnt.
        encoder: `Frozen`, `FineTuned` ... around an encoder.
        actions: size of the action set; set by the game.
        context: steps in the context.
        batch_size: queries per update, each with a context of its own.
        width: of the transformer's tokens.
        layers: of the transformer.
        heads: attention heads of a layer; `width` is a multiple.
        features: what the transformer is given of the encoder's features.
        lr: Adam's learning rate of the transformer; the encoder's is scaled by its `lr_scale`.
        adam_eps: Adam's epsilon.
        anneal_lr: whether learning rates fall linearly to 0 over the run.
        seed: of the initial weights and of the permutations.
    """

    evaluation = "actions sampled"
    scores_are = "log_probabilities"

    def __init__(
        self,
        recordings: list[str] | str,
        encoder: Adapted,
        actions: PositiveInt,
        context: PositiveInt = 50,
        batch_size: PositiveInt = 32,
        width: PositiveInt = 64,
        layers: PositiveInt = 4,
        heads: PositiveInt = 4,
        features: ReadOut = ReadOut(),
        lr: NonNegativeFloat = 3e-4,
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
        self.context, self.batch_size = context, batch_size
        with seeded(Stream.AGENT_HEAD, seed):
            inputs = self.extractor.width
            self.of_query = nn.Linear(inputs, width)
            self.of_step = nn.Linear(2 * inputs + actions + 1, width)
            layer = nn.TransformerEncoderLayer(
                width, heads, 4 * width, dropout=0.0, batch_first=True, norm_first=True
            )
            self.transformer = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
            self.policy = nn.Linear(width, actions)
        self.steps: Tensor | None = None
        self.lengths = torch.zeros(0, dtype=torch.long)

    def encoded(self, before: Tensor, action: Tensor, reward: Tensor, after: Tensor) -> Tensor:
        """(..., width) tokens of steps: what was seen, what was done, and what came of it."""
        done = F.one_hot(action, self.actions).to(before.dtype)
        return self.of_step(torch.cat([before, after - before, done, reward[..., None]], dim=-1))

    def predict(self, query: Tensor, steps: Tensor) -> Tensor:
        """(B, H + 1, actions) log-probabilities, after no step of the context and after each.

        Args:
            query: (B, F) what is seen.
            steps: (B, H, width) tokens of the context.
        """
        tokens = torch.cat([self.of_query(query)[:, None], steps], dim=1)
        mask = nn.Transformer.generate_square_subsequent_mask(tokens.shape[1], tokens.device)
        out = self.transformer(tokens, mask=mask, is_causal=True)
        return self.policy(out).log_softmax(dim=2)

    def losses(self, batch: Transitions) -> dict[str, Tensor]:
        """The cross-entropy of the recorded actions, mean over all lengths of the context."""
        count, size = self.batch_size, len(batch.action)
        generator = keyed("cpu", Stream.PERMUTED_ACTIONS, self.seed, self.global_step)
        names = torch.rand(count, self.actions, generator=generator).argsort(dim=1)
        names = names.to(batch.action.device)
        seen, after = self.extractor(batch.obs), self.extractor(batch.next_obs[count:])
        rows = (count, size // count - 1)
        done = names.gather(1, batch.action[count:].view(rows))
        wanted = names.gather(1, batch.action[:count, None]).expand(-1, rows[1] + 1)
        steps = self.encoded(
            seen[count:].unflatten(0, rows),
            done,
            batch.reward[count:].view(rows),
            after.unflatten(0, rows),
        )
        logp = self.predict(seen[:count], steps)
        with torch.no_grad():
            right = (logp.argmax(dim=2) == wanted).float().mean(dim=0)
        self.note(accuracy_without=right[0], accuracy=right[-1])
        return {"policy": F.nll_loss(logp.flatten(0, 1), wanted.flatten())}

    def begin_play(self, envs: int) -> None:
        """Forget what happened: so many environments begin."""
        self.steps, self.lengths = None, torch.zeros(envs, dtype=torch.long)

    @torch.no_grad()
    def remember(
        self, obs: Tensor, action: Tensor, reward: Tensor, next_obs: Tensor, ended: Tensor
    ) -> None:
        """Put a step of each environment into its context, which ends with its episode."""
        token = self.encoded(
            self.extractor(obs), action, reward.clamp(-1, 1), self.extractor(next_obs)
        )
        if self.steps is None:
            self.steps = token.new_zeros(len(token), self.context, token.shape[1])
        full = (self.lengths == self.context).to(token.device)
        self.steps[full] = self.steps[full].roll(-1, dims=1)
        at = self.lengths.clamp(max=self.context - 1)
        self.steps[torch.arange(len(token)), at] = token
        self.lengths = torch.where(ended.cpu(), 0, (self.lengths + 1).clamp(max=self.context))

    @torch.no_grad()
    def act(self, obs: Tensor, generator: torch.Generator, step: int | None = None) -> Tensor:
        features, rows = self.extractor(obs), torch.arange(len(obs))
        if self.steps is None or len(self.steps) != len(obs):
            logp = self.predict(features, self.no_steps(features))[:, 0]
        else:
            # What follows in the context of an environment with fewer steps is not looked at.
            logp = self.predict(features, self.steps)[rows, self.lengths]
        return self.sample(logp, generator)

    def no_steps(self, features: Tensor) -> Tensor:
        """An empty context (B, 0, width)."""
        return features.new_zeros(len(features), 0, self.of_query.out_features)

    def action_scores(self, screens: Tensor) -> Tensor:
        with torch.set_grad_enabled(torch.is_grad_enabled() and screens.is_floating_point()):
            features = self.extractor.of_screens(screens.to(self.device))
            return self.predict(features, self.no_steps(features))[:, 0]

    def make_experience(self, task: Task) -> Recorded:
        each = self.batch_size * (self.context + 1)
        return Recorded(task, self, self.recordings, each, n_step=1, gamma=0.99)
