"""An agent: how it acts, what it loses, and what experience it learns from.

A new agent is one file with a subclass, a config beside it and a test:

    class Mine(Agent):
        evaluated = "the likeliest action"               # how it acts in an evaluation

        def __init__(self, **base):
            super().__init__(**base)
            self.head = self.eyes.heads(lambda: nn.Linear(self.eyes.width, self.actions))

        def act(self, observed, explore, generator):     # to (N,) actions
            return self.head(self.eyes(observed)).argmax(dim=1)

        def losses(self, batch):                         # named and weighted; the base sums them
            logits = self.head(self.eyes(batch.observed))
            return {"imitation": F.cross_entropy(logits, batch.action)}

        def experience(self, play):                      # what yields the batches
            return Replayed(play, self, size=10_000, batch=32, n_step=1, gamma=0.99,
                            warmup=1000, steps_per_update=4)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import lightning
import torch
from jsonargparse.typing import NonNegativeInt
from torch import Tensor

from fovea.agents.adaptation.base import Adapted
from fovea.agents.networks.feature_extractor import Eyes, Pick
from fovea.command import UserError

if TYPE_CHECKING:
    from fovea.agents.experience.base import Experience
    from fovea.agents.task import Play


class Agent(lightning.LightningModule):
    """What every agent shares: eyes, an optimiser, and how a step is logged.

    Args:
        encoder: `Frozen`, `FineTuned` ... around an encoder.
        actions: size of the action set; set by the game.
        features: what of the encoder's features the heads are given.
        token_width: numbers left of each token where `features` are `tokens`.
        standardise: screens of random play, or of the recordings that it learns from, that the
            features' mean and deviations are taken from before anything is learnt (see
            `networks.feature_norm`), of one agent through a sequence of games from all of them; 0
            leaves features as they are.
        hidden: width of the layer between features and outputs.
        lr: Adam's learning rate of the heads; the encoder's is scaled by its `lr_scale`.
        adam_eps: Adam's epsilon.
        anneal: whether the rates fall linearly to 0 over the run.
        seed: of the initial heads.

    Attributes:
        played: agent steps played so far in training, kept up to date by the experience.
        schedule_steps: updates that schedules are stretched over, where it is not the whole run;
            after them their last values hold.
    """

    evaluated: ClassVar[str]  # how it acts in an evaluation, for the protocol's name
    schedule_steps: int | None = None

    def __init__(
        self,
        encoder: Adapted,
        actions: int,
        features: Pick = "summary_and_mean",
        token_width: int = 16,
        standardise: NonNegativeInt = 0,
        hidden: int = 512,
        lr: float = 2.5e-4,
        adam_eps: float = 1e-5,
        anneal: bool = False,
        seed: int = 0,
    ):
        super().__init__()
        encoder.begin(seed)
        self.eyes = Eyes(encoder, features, token_width, seed)
        self.actions, self.hidden, self.standardise = actions, hidden, standardise
        self.lr, self.adam_eps, self.anneal, self.seed = lr, adam_eps, anneal, seed
        self.played = 0
        self.notes: dict[str, Tensor | float] = {}

    def act(self, observed: Tensor, explore: bool, generator: torch.Generator) -> Tensor:
        """Choose an action for each of N environments.

        Args:
            observed: what `eyes.observe` made of the screens, N rows.
            explore: act as in training, not as in an evaluation.
            generator: on the CPU; every draw comes from it, one for each environment.

        Returns (N,) int64 below `actions`.
        """
        raise NotImplementedError

    def losses(self, batch) -> dict[str, Tensor]:
        """Named, weighted scalar losses; a function of the batch and the parameters alone."""
        raise NotImplementedError

    def experience(self, play: Play) -> Experience:
        """What steps the environments of `play` and yields the batches `losses` takes."""
        raise NotImplementedError

    def note(self, **numbers: Tensor | float) -> None:
        """Numbers of this step for the log (see `fovea.agents.progress`)."""
        self.notes.update(numbers)

    def training_step(self, batch, batch_idx: int) -> Tensor:
        losses = self.losses(batch) | self.eyes.encoder.penalties()
        loss = torch.stack(list(losses.values())).sum()
        # Noted and not logged: Lightning counts updates, an agent's curves count agent steps.
        self.note(
            loss=loss.detach(),
            lr=self.optimizers().param_groups[-1]["lr"],
            **self.eyes.encoder.notes(),
            **{f"loss/{name}": value.detach() for name, value in losses.items()},
        )
        return loss

    def configure_optimizers(self) -> dict:
        encoder = [p for p in self.eyes.encoder.parameters() if p.requires_grad]
        seen = {id(p) for p in encoder}
        heads = [p for p in self.parameters() if p.requires_grad and id(p) not in seen]
        groups = [{"params": heads, "lr": self.lr}]
        if encoder:
            groups.insert(0, {"params": encoder, "lr": self.lr * self.eyes.encoder.lr_scale})
        # One kernel a step; Lightning does not clip gradients for it in mixed precision.
        fused = self.trainer.precision == "32-true"
        optimiser = torch.optim.Adam(groups, eps=self.adam_eps, fused=fused)
        steps = self.schedule_steps or self.trainer.max_steps
        schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: self.rate(step, steps))
        return {"optimizer": optimiser, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def rate(self, step: int, steps: int) -> float:
        """The share of the learning rates at an update of one of so many, counted from 0."""
        return 1 - min(step, steps - 1) / steps if self.anneal else 1.0

    def schedules(self, step: int, steps: int) -> dict[str, float]:
        """What depends on the length of a run, at an update of one of so many."""
        return {"learning rate": self.lr * self.rate(step, steps)} if self.anneal else {}

    def on_load_checkpoint(self, checkpoint: dict) -> None:
        check_weights(self, checkpoint["state_dict"])


def check_weights(agent: Agent, weights: dict[str, Tensor]) -> None:
    """Raise UserError where `weights` are not those of an agent like this one."""
    wanted = {key: tuple(value.shape) for key, value in agent.state_dict().items()}
    found = {key: tuple(value.shape) for key, value in weights.items()}
    for key in sorted(wanted.keys() | found.keys()):
        if wanted.get(key) != found.get(key):
            raise UserError(
                f"the checkpoint is of another agent: weight {key} is {found.get(key, 'missing')} "
                f"in it and {wanted.get(key, 'unknown')} in this {type(agent).__name__}: "
                "give the config it was made with, or another --run"
            )
