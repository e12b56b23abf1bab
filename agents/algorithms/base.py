"""An agent: how it acts, its losses, and what experience it learns from.

A new agent is one file with a subclass, a config beside it and a test:

    class Mine(Agent):
        evaluation = "the likeliest action"              # how it acts in an evaluation

        def __init__(self, encoder: Adapted, actions: int, lr: float = 1e-3, seed: int = 0):
            super().__init__(encoder, actions, lr=lr, seed=seed)
            self.head = self.extractor.make_heads(
                lambda: nn.Linear(self.extractor.width, self.actions)
            )

        def act(self, obs, generator, step=None):        # to (N,) actions
            return self.head(self.extractor(obs)).argmax(dim=1)

        def losses(self, batch):                         # named and weighted; their sum is trained
            logits = self.head(self.extractor(batch.obs))
            return {"imitation": F.cross_entropy(logits, batch.action)}

        def make_experience(self, task):                 # what yields the batches
            return OffPolicy(task, self, buffer_size=10_000, batch_size=32, n_step=1, gamma=0.99,
                             learning_starts=1000, train_freq=4)
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from itertools import chain
from typing import Literal

import lightning
import torch
from jsonargparse.typing import NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt
from torch import Tensor

from fovea.agents.adaptation.base import Adapted
from fovea.agents.experience.base import Experience, Task
from fovea.agents.networks.feature_extractor import FeatureExtractor
from fovea.command import UserError
from fovea.pretrain.encoders.read_out import ReadOut
from fovea.weights import check_shapes


class Agent(lightning.LightningModule, ABC):
    """What all agents share: a feature extractor, an optimiser, and how a step is logged.

    It is an `experience.base.Actor`.

    Args:
        encoder: `Frozen`, `FineTuned` ... around an encoder.
        actions: size of the action set; set by the game.
        features: what the heads are given of the encoder's features.
        lr: Adam's learning rate of the heads; the encoder's is scaled by its `lr_scale`.
        adam_eps: Adam's epsilon.
        anneal_lr: whether learning rates fall linearly to 0 over the run.
        seed: of the initial heads.
        keep_screens: whether screens are stored even where features of them never change, since
            those that are learnt from are augmented; set by the agent.

    Attributes:
        schedule_steps: updates that schedules are stretched over, where it is not the whole run;
            after them their last values hold.
        warmup_updates: the first updates, in which neither the encoder nor what chooses actions
            learns.
        weight_decay: AdamW's, of the matrices of the heads and the projection; biases, norms and
            the encoder are not decayed.
    """

    evaluation: str
    """How it acts in an evaluation, for the name of the protocol."""
    scores_are: Literal["values", "log_probabilities"] | None = None
    """What `action_scores` are; None for an agent that has no number for each action."""
    schedule_steps: int | None = None
    warmup_updates = 0
    weight_decay = 0.0

    def __init__(
        self,
        encoder: Adapted,
        actions: PositiveInt,
        features: ReadOut = ReadOut(),
        lr: NonNegativeFloat = 2.5e-4,
        adam_eps: PositiveFloat = 1e-5,
        anneal_lr: bool = False,
        seed: NonNegativeInt = 0,
        keep_screens: bool = False,
    ):
        super().__init__()
        encoder.reset_parameters(seed)
        self.extractor = FeatureExtractor(encoder, features, seed, keep_screens)
        self.actions, self.seed, self.read_out = actions, seed, features
        self.lr, self.adam_eps, self.anneal_lr = lr, adam_eps, anneal_lr
        self.notes: dict[str, Tensor | float] = {}

    @abstractmethod
    def act(self, obs: Tensor, generator: torch.Generator, step: int | None = None) -> Tensor:
        """Choose an action for each of N environments.

        Args:
            obs: what `observe` returned of the screens, N rows.
            generator: on the CPU; all randomness comes from it, drawn for each environment.
            step: agent steps of its training so far, to explore by; None in an evaluation.

        Returns (N,) int64 below `actions`.
        """

    def epsilon_greedy(
        self, obs: Tensor, epsilon: float | Tensor, generator: torch.Generator
    ) -> Tensor:
        """(N,) actions as in an evaluation, but with chance `epsilon` uniform ones.

        Args:
            obs: what `observe` returned of the screens, N rows.
            epsilon: of all, or (N,).
            generator: on the CPU; all randomness comes from it.
        """
        return self.explored(self.act(obs, generator), epsilon, generator)

    def explored(
        self, chosen: Tensor, epsilon: float | Tensor, generator: torch.Generator
    ) -> Tensor:
        """(N,) the actions `chosen`, but with chance `epsilon`, of all or (N,), uniform ones."""
        at_random = torch.rand(len(chosen), generator=generator) < epsilon
        uniform = torch.randint(self.actions, (len(chosen),), generator=generator)
        return torch.where(at_random.to(chosen.device), uniform.to(chosen.device), chosen)

    def sample(self, logp: Tensor, generator: torch.Generator) -> Tensor:
        """Actions (B,) from log-probabilities (B, actions), by the Gumbel-max trick."""
        uniform = torch.rand(logp.shape, generator=generator).to(logp.device)
        return (logp - (-uniform.log()).log()).argmax(dim=1)

    def begin_play(self, envs: int) -> None:
        """Episodes of an evaluation begin in so many environments."""

    def remember(
        self, obs: Tensor, action: Tensor, reward: Tensor, next_obs: Tensor, ended: Tensor
    ) -> None:
        """What happened in an evaluation, for an agent that learns from it as it goes.

        Args:
            obs: what `observe` returned of the screens, N rows.
            action: (N,) what it did.
            reward: (N,) float32, raw.
            next_obs: like `obs`; of the next episode where one has ended.
            ended: (N,) bool.
        """

    @property
    def acting_extractor(self) -> FeatureExtractor:
        """What gives the features that actions are chosen by."""
        return self.extractor

    @property
    def acting_encoder(self) -> Adapted:
        """The encoder whose features these are."""
        return self.acting_extractor.encoder

    def action_scores(self, screens: Tensor) -> Tensor:
        """(N, actions) the numbers by which it chooses, such as Q-values.

        Args:
            screens: (N, stack, H, W) uint8, oldest first; or float pixels in [0, 1], to which
                gradients flow.

        Raises UserError for an agent that has none.
        """
        raise UserError(
            f"a {type(self).__name__} has no number for each action: give it action_scores"
        )

    @abstractmethod
    def losses(self, batch) -> dict[str, Tensor]:
        """Named, weighted scalar losses; a function of the batch and the parameters alone."""

    @abstractmethod
    def make_experience(self, task: Task) -> Experience:
        """What steps the environments of `task` and yields the batches that `losses` takes."""

    @property
    def stores_features(self) -> bool:
        """Whether `observe` returns features, where it would else return the screens."""
        return self.extractor.stores_features

    def observe(self, screens: Tensor) -> Tensor:
        """What is stored of screens (B, stack, H, W) uint8 (see `FeatureExtractor.observe`)."""
        return self.extractor.observe(screens)

    def on_collect_start(self) -> None:
        """Experience is about to be collected: what must not change within it is updated now."""
        self.extractor.encoder.on_collect_start()

    def feed_back(self, experience: Experience) -> None:
        """Tell `experience` what it wants to know of the batch that was just learnt from."""

    def prepare(self, experiences: Sequence[Experience]) -> None:
        """Before a new agent learns: let its encoder read what it needs, and fit the feature norm.

        Args:
            experiences: of the games whose screens the norm is taken from, with equal shares.
        """
        self.on_collect_start()
        if self.read_out.norm != "none" and not self.extractor.norm.screens:
            each = -(-self.read_out.norm_samples // len(experiences))
            screens = (experience.random_observations(each) for experience in experiences)
            self.extractor.fit_norm(chain.from_iterable(screens), each * len(experiences))

    def note(self, **numbers: Tensor | float) -> None:
        """Numbers of this step for the log (see `fovea.agents.progress`)."""
        self.notes.update(numbers)

    def training_step(self, batch, batch_idx: int) -> Tensor:
        losses = self.losses(batch)
        if self.global_step >= self.warmup_updates:
            losses |= self.extractor.encoder.penalties()
        self.feed_back(self.trainer.train_dataloader)
        loss = torch.stack(list(losses.values())).sum()
        # Noted and not logged: Lightning counts updates, an agent's curves count agent steps.
        self.note(
            loss=loss.detach(),
            lr=self.optimizers().param_groups[-1]["lr"],
            **self.extractor.encoder.notes(),
            **{f"loss/{name}": value.detach() for name, value in losses.items()},
        )
        return loss

    def configure_optimizers(self) -> dict:
        encoder = [p for p in self.extractor.encoder.parameters() if p.requires_grad]
        encoder_ids = {id(p) for p in encoder}
        heads = [p for p in self.parameters() if p.requires_grad and id(p) not in encoder_ids]
        groups = [{"params": heads, "lr": self.lr}]
        if self.weight_decay:
            groups = [
                {"params": [p for p in heads if p.ndim <= 1], "lr": self.lr},
                {"params": [p for p in heads if p.ndim > 1], "lr": self.lr,
                 "weight_decay": self.weight_decay},
            ]  # fmt: skip
        if encoder:
            groups.insert(0, {"params": encoder, "lr": self.lr * self.extractor.encoder.lr_scale})
        # One kernel a step; Lightning does not clip gradients for it in mixed precision.
        fused = self.trainer.precision == "32-true"
        optimiser = torch.optim.Adam(
            groups, eps=self.adam_eps, fused=fused, decoupled_weight_decay=bool(self.weight_decay)
        )
        steps = self.schedule_steps
        if self.anneal_lr and not steps:
            steps = int(self.trainer.estimated_stepping_batches)
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimiser, lambda step: self.rate(step, steps or 1)
        )
        return {"optimizer": optimiser, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def rate(self, step: int, steps: int) -> float:
        """The share of the learning rates at an update of one of so many, counted from 0."""
        return 1 - min(step, steps - 1) / steps if self.anneal_lr else 1.0

    def schedules(self, step: int, steps: int) -> dict[str, float]:
        """What depends on the length of a run, at an update of one of so many."""
        return {"learning rate": self.lr * self.rate(step, steps)} if self.anneal_lr else {}

    def on_load_checkpoint(self, checkpoint: dict) -> None:
        check_weights(self, checkpoint["state_dict"])


def check_weights(agent: Agent, weights: dict[str, Tensor]) -> None:
    """Raise UserError where `weights` are not those of an agent like this one."""
    check_shapes(
        agent.state_dict(),
        weights,
        lambda name, given, expected: (
            f"the checkpoint is of another agent: weight {name} is {given or 'missing'} in it and "
            f"{expected or 'unknown'} in this {type(agent).__name__}: "
            "give the config it was made with, or another --run"
        ),
    )
