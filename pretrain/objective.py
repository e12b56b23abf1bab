"""An objective: which neighbours in time it wants, what views it makes of them, what it loses.

A new objective is one file with a subclass, a config beside it and a test:

    class Mine(Objective):
        offsets = (0, 4)                       # the screens now and four agent steps later

        def views(self, windows, draws):       # (B, K, stack, H, W) uint8 to whatever losses takes
            return windows[:, 0], windows[:, 1]

        def losses(self, now, later):          # named and weighted; the base sums and logs them
            now, later = self.encode(now, later)
            return {"slowness": (now.summary - later.summary).pow(2).mean()}
"""

from __future__ import annotations

import lightning
import torch
from torch import Tensor

from pretrain.data import Batch
from pretrain.draws import Draws
from pretrain.encoder import Features
from pretrain.optim import Optimisation, configure
from pretrain.vit import Shape, build

VIEWS = 2  # keeps the draws of the views apart from every other use of the seed


class Objective(lightning.LightningModule):
    """What every objective shares: an encoder, an optimiser, and how a step is logged.

    Args:
        encoder: shape of the encoder that is pretrained.
        optimisation: optimiser and learning rate.
        seed: of the initial weights and of every draw.
    """

    offsets: tuple[int, ...] = (0,)

    def __init__(
        self,
        encoder: Shape = Shape(),
        optimisation: Optimisation = Optimisation(),
        seed: int = 0,
    ):
        super().__init__()
        self.encoder = build(encoder, seed)
        self.optimisation, self.seed = optimisation, seed
        self.notes: dict[str, Tensor] = {}

    def views(self, windows: Tensor, draws: Draws) -> tuple[Tensor, ...]:
        """What `losses` takes, made of windows (B, K, stack, H, W) uint8 at `offsets`."""
        raise NotImplementedError

    def losses(self, *views: Tensor) -> dict[str, Tensor]:
        """Named, weighted scalar losses; a function of the views and the parameters alone."""
        raise NotImplementedError

    def encode(self, *views: Tensor) -> list[Features]:
        """Encode several (B, stack, H, W) uint8 views in one forward pass."""
        sizes = [len(view) for view in views]
        summary, tokens = self.encoder(torch.cat(views))
        self.note(feature_std=spread(summary.detach()[: sizes[0]]))
        return [
            Features(*both) for both in zip(summary.split(sizes), tokens.split(sizes), strict=True)
        ]

    def note(self, **numbers: Tensor) -> None:
        """Log numbers that are no losses, such as an accuracy, beside this step's losses."""
        self.notes.update({name: number.detach() for name, number in numbers.items()})

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        draws = Draws(
            self.seed ^ VIEWS,
            batch.step,
            len(batch.windows),
            batch.windows.device,
            batch.rank,
            batch.world,
        )
        losses = self.losses(*self.views(batch.windows, draws))
        loss = torch.stack(list(losses.values())).sum()
        self.log("loss", loss, prog_bar=True)
        self.log_dict({f"loss/{name}": value for name, value in losses.items()})
        self.log_dict(self.notes)
        return loss

    def configure_optimizers(self) -> dict:
        return configure(self, self.optimisation, self.trainer.max_steps)


def spread(features: Tensor) -> Tensor:
    """How far (B, D) features are from one point: sqrt(D) times the mean std of the unit vectors.

    0 where all are the same, about 1 where they point everywhere alike.
    """
    unit = torch.nn.functional.normalize(features.float(), dim=1)
    return unit.std(dim=0).mean() * features.shape[1] ** 0.5
