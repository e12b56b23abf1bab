"""An objective: which neighbours in time it takes, what views it makes of them, what it loses.

A new objective is one file with a subclass, a config beside it and a test:

    class Mine(Objective):
        offsets = (0, 4)                       # the screens now and four agent steps later

        def views(self, windows, draws):       # (B, K, stack, H, W) uint8 to whatever losses takes
            return windows[:, 0], windows[:, 1]

        def losses(self, now, later):          # named and weighted; the base sums and logs them
            now, later = self.encode(now, later)
            return {"slowness": (now.summary - later.summary).pow(2).mean()}

On several ranks each makes the views of its own samples. `encode` returns the features of the whole
batch, and `gather` does the same for anything else that belongs to samples (labels, orders): a loss
is then that of the whole batch on every rank, and so are the statistics of batch norms.

From a notebook, without the command line and its run folder:

    lightning.Trainer(max_steps=1000).fit(objective, Windows(["recordings/pong"]))

`max_epochs=3` is three passes over all windows. A DataLoader of yours works in place of `Windows`
where the objective needs nothing but windows of one game: (B, K, stack, H, W) uint8, K =
len(objective.offsets).
`objective(screens)` are the encoder's features.
"""

from __future__ import annotations

import inspect
import os
import shutil
from collections.abc import Callable
from typing import Any

import lightning
import torch
from jsonargparse.typing import NonNegativeInt
from torch import Tensor

from fovea.atari.frames import LABELS, Frames
from fovea.command import UserError, nearest
from fovea.metrics import FEATURE_STD, LOSS, held_out
from fovea.pretrain.data import Batch, Windows
from fovea.pretrain.encoders.build import build_encoder
from fovea.pretrain.encoders.encoder import Encoder, Features
from fovea.pretrain.encoders.vit import Shape
from fovea.pretrain.optim import Optimisation, configure, cosine, decay, rate, share
from fovea.pretrain.terms.all_gather import all_gather
from fovea.pretrain.terms.cls_and_mean import cls_and_mean
from fovea.pretrain.terms.feature_std import feature_std
from fovea.seeding import Draws, Stream

BY_PLACE = ("game", "place")
"""Labels that are no columns of a recording, see `Objective.labels`."""


class Objective(lightning.LightningModule):
    """What every objective shares: an encoder, an optimiser, and how a step is logged.

    Args:
        encoder: shape of the encoder that is pretrained.
        optimisation: optimiser and learning rate.
        compiled: compile the encoder and its teachers with torch.compile.
        seed: of the initial weights and of every draw.

    Attributes:
        offsets: agent steps from an anchor that its episode must hold, whichever of them `places`
            takes.
        labels: what `views` gets beside the windows: columns of `frames.LABELS`, "game"
            (index into the data's games) and "place" (index into all training screens, in memory
            or not), each (B, K, ...).
        progress: the share of the run's steps that are over, for schedules.
        schedule_steps: steps that schedules are stretched over, where it is not the whole run;
            after them their last values hold.
        may_collapse: whether features that become one point are a result, as of a control, and no
            fault that ends the run.
    """

    offsets: tuple[int, ...] = (0,)
    labels: tuple[str, ...] = ()
    schedule_steps: int | None = None
    may_collapse: bool = False

    def __init__(
        self,
        encoder: Shape = Shape(),
        optimisation: Optimisation = Optimisation(),
        compiled: bool = False,
        seed: NonNegativeInt = 0,
    ):
        super().__init__()
        self.encoder = build_encoder(encoder, seed)
        self.optimisation, self.compiled, self.seed = optimisation, compiled, seed
        self.notes: dict[str, Tensor] = {}
        self.progress = 0.0
        self.prepared_for: Windows | None = None

    def prepare(self, frames: Frames) -> None:
        """Compute what the objective needs to know of the training frames as a whole.

        Called once for a data module, before weights are restored: keep the results in buffers.
        Where not all frames are in memory at once, these are the first group of the first share,
        and may lack games.
        """

    def places(self, at: Tensor, frames: Frames, draws: Draws) -> Tensor:
        """(B, K) int64: the newest screens of the windows that belong to the anchors `at` (B,).

        Both are indices into `frames`, those that are in memory now.
        """
        return at[:, None] + torch.tensor(self.offsets, device=at.device)

    def views(self, windows: Tensor, draws: Draws, *args: Any, **labels: Any) -> tuple[Tensor, ...]:
        """What `losses` takes, made of windows (B, K, stack, H, W) uint8 and their `labels`.

        Each label that the class names is handed over by keyword, (B, K, ...).
        """
        raise NotImplementedError

    def losses(self, *views: Any, **named: Any) -> dict[str, Tensor]:
        """Named, weighted scalar losses; a function of the views and the parameters alone."""
        raise NotImplementedError

    def after_optimizer_step(self) -> None:
        """Called after every step of the optimiser: update teachers here."""

    def forward(self, screens: Tensor) -> Features:
        """The encoder's features of screens (B, stack, H, W) uint8."""
        return self.encoder(screens)

    def encode(
        self, *views: Tensor, by: Callable[[Tensor], Features] | None = None
    ) -> list[Features]:
        """Encode several (B, stack, H, W) uint8 views in one forward pass, or `by` a teacher.

        Returns float32 features of the whole batch: those of all ranks, in the order of slots.
        """
        sizes = [len(view) for view in views]
        summary, tokens = (by or self.encoder)(torch.cat(views))
        features = [
            Features(all_gather(one.float()), all_gather(many.float()))
            for one, many in zip(summary.split(sizes), tokens.split(sizes), strict=True)
        ]
        if by is None:
            self.note(**{FEATURE_STD: feature_std(features[0].summary.detach())})
        return features

    @property
    def state_dim(self) -> int:
        """S, the width of what `state` returns."""
        return self.encoder.summary_dim + (0 if self.encoder.read_out else self.encoder.dim)

    def state(self, features: Features) -> Tensor:
        """(B, S) what heads read of a window: its read-out, or summary and mean token."""
        return features.summary if self.encoder.read_out else cls_and_mean(features)

    def gather(self, *parts: Tensor) -> tuple[Tensor, ...]:
        """Tensors of this rank's samples (B, ...) to those of the whole batch, as `encode` does."""
        return tuple(all_gather(part) for part in parts)

    def note(self, **numbers: Tensor) -> None:
        """Log numbers other than losses, such as an accuracy, beside this step's losses."""
        self.notes.update({name: number.detach() for name, number in numbers.items()})

    def setup(self, stage: str) -> None:
        data = getattr(self.trainer, "datamodule", None)
        if not isinstance(data, Windows):
            self._check_needs_windows_alone()
        elif data is not self.prepared_for:
            self._check_labels(data)
            if type(self).prepare is not Objective.prepare:  # or frames were loaded for nothing
                self.prepare(data.frames)
            self.prepared_for = data
        if self.compiled:
            self.compile_encoders()

    def _check_labels(self, data: Windows) -> None:
        """Raise UserError for a label that nobody knows, or that a game's recordings lack."""
        mine, takes = type(self).__name__, inspect.signature(self.views).parameters
        named = not any(one.kind is one.VAR_KEYWORD for one in takes.values())
        for label in self.labels:
            if named and label not in takes:
                raise UserError(
                    f"{mine}.views takes no {label}, which {mine}.labels names: add it to what it "
                    "takes"
                )
            if label not in (known := (*LABELS, *BY_PLACE)):
                raise UserError(f"{mine}.labels: {label!r}{nearest(label, known, 1)}")
            for game, lacking in data.absent.items():
                if label in lacking:
                    raise UserError(
                        f"{mine} needs the label {label}, and recordings of {game} among "
                        f"{', '.join(data.recordings)} were imported without: leave them out"
                    )

    def _check_needs_windows_alone(self) -> None:
        """Raise UserError where a loader of the user's lacks what this objective needs."""
        mine = type(self)
        lacks = [name for name in self.labels if name != "game"]  # windows of a loader are of one
        needs = [f"the labels {', '.join(lacks)}"] if lacks else []
        if mine.prepare is not Objective.prepare:
            needs.append("all frames beforehand")
        if mine.places is not Objective.places:
            needs.append("windows at places that it draws")
        if needs:
            raise UserError(
                f"{mine.__name__} needs {' and '.join(needs)}, which a loader of windows has not: "
                'trainer.fit(objective, Windows(["recordings/pong"]))'
            )

    def compile_encoders(self) -> None:
        """Compile the encoder and its teachers in place; names of weights stay.

        Raises UserError where there is no C++ compiler.
        """
        compiler = os.environ.get("CXX", "g++")
        if not shutil.which(compiler):
            raise UserError(
                f"compiled: true needs a C++ compiler, and {compiler} is not here: install one, "
                "name it in CXX, or leave the setting out"
            )
        for module in self.modules():
            if isinstance(module, Encoder):
                module.compile()

    def training_step(self, batch: Batch | Tensor, batch_idx: int) -> Tensor:
        batch = self._batch(batch, self.trainer.global_step)
        self.progress = self.share(self.trainer.global_step)
        losses = self.losses(*self.views_of(batch, Stream.VIEWS))
        loss = self._sum(losses)
        if not loss.requires_grad:
            raise UserError(
                f"{type(self).__name__}.losses gave nothing that depends on the weights: take out "
                "what detaches it, such as detach() and no_grad()"
            )
        # Lightning takes hundreds of Python calls for a number, and would drop most of them.
        if (self.trainer.global_step + 1) % self.trainer.log_every_n_steps == 0:
            named = {f"loss/{name}": value for name, value in losses.items()}
            self.log_dict({LOSS: loss} | named | self.notes)
        return loss

    def validation_step(self, batch: Batch | Tensor, batch_idx: int) -> None:
        batch = self._batch(batch, batch_idx)
        losses = self.losses(*self.views_of(batch, Stream.HELD_OUT_VIEWS))
        numbers = {LOSS: self._sum(losses)} | self.notes
        numbers |= {f"loss/{name}": value for name, value in losses.items()}
        self.log_dict(
            {held_out(name): value for name, value in numbers.items()},
            batch_size=len(batch.windows),
        )

    def _sum(self, losses: object) -> Tensor:
        """Of named losses. Raises UserError where they are none."""
        named = losses if isinstance(losses, dict) else {}
        if not named or any(not isinstance(one, Tensor) or one.ndim for one in named.values()):
            gave = {name: _kind(loss) for name, loss in named.items()} or _kind(losses)
            raise UserError(
                f"{type(self).__name__}.losses gave {gave}: return tensors of one number by name, "
                "such as dict(slowness=loss.mean())"
            )
        return torch.stack(list(named.values())).sum()

    def _batch(self, batch: Any, step: int) -> Batch:
        """What a loader gave as a `Batch`. Raises UserError where it is none and no windows."""
        if isinstance(batch, Batch):
            return batch
        if isinstance(batch, list | tuple) and len(batch) == 1:  # as TensorDataset has it
            batch = batch[0]
        wanted = len(self.offsets), self.encoder.stack, *self.encoder.screen
        found = f"{type(batch).__name__}"
        if isinstance(batch, Tensor):
            if batch.dtype == torch.uint8 and batch.shape[1:] == wanted:
                episode = torch.arange(len(batch), device=batch.device)
                ranks = self.trainer.global_rank, self.trainer.world_size
                game = torch.zeros(batch.shape[:2], dtype=torch.long, device=batch.device)
                labels = {"game": game} if "game" in self.labels else {}
                return Batch(batch, labels, step, *ranks, episode)
            found = f"{batch.dtype} {tuple(batch.shape)}"
        raise UserError(
            f"{type(self).__name__} takes batches of uint8 windows (batch, "
            f"{', '.join(map(str, wanted))}): screens at offsets {self.offsets}, each a stack, "
            f"oldest first; the loader gave {found}"
        )

    def views_of(self, batch: Batch, stream: Stream) -> tuple[Tensor, ...]:
        """What `losses` takes, made of a batch with the draws of its step."""
        size, device = len(batch.windows), batch.windows.device
        ranks = batch.rank, batch.world
        draws = Draws(stream, self.seed, batch.step, size, device, *ranks, batch.episode)
        # Views are rounded to 8 bits: computing them in bf16 would round twice.
        with torch.autocast(device.type, enabled=False):
            views = self.views(batch.windows, draws, **batch.labels)
        if not isinstance(views, tuple | list):
            raise UserError(
                f"{type(self).__name__}.views gave {type(views).__name__}: return a tuple of what "
                "losses takes, (views,) where that is one thing"
            )
        return tuple(views)

    def optimizer_step(self, epoch, batch_idx, optimizer, optimizer_closure=None) -> None:
        decay(optimizer, self.optimisation, self.share(self.trainer.global_step))
        super().optimizer_step(epoch, batch_idx, optimizer, optimizer_closure)
        self.after_optimizer_step()

    def configure_optimizers(self) -> dict:
        """Optimiser and schedule, see `optim.configure`.

        Raises UserError where the number of steps is not known.
        """
        return configure(self, self.optimisation, self.schedule_steps or self.total_steps)

    @property
    def total_steps(self) -> int:
        """Steps of the whole run: the trainer's max_steps, or those of its epochs.

        Raises UserError where neither is given.
        """
        if self.trainer.max_steps > 0:
            return self.trainer.max_steps
        steps = self.trainer.estimated_stepping_batches
        if not 0 < steps < float("inf"):
            raise UserError(
                f"max_steps is {self.trainer.max_steps} and max_epochs {self.trainer.max_epochs}: "
                "the schedule of the learning rate needs the number of steps: Trainer(max_steps="
                "1000), or Trainer(max_epochs=3) for three passes over all windows"
            )
        return int(steps)

    def share(self, step: int) -> float:
        """The share of the schedules that is over at a step, counted from 0; less than 1."""
        return share(step, self.schedule_steps or self.total_steps)

    def schedules(self, step: int, steps: int) -> dict[str, float]:
        """What depends on the length of a run, at a step of one of so many.

        A subclass that has more of it than the learning rate and the weight decay adds it.
        """
        how, over = self.optimisation, share(step, steps)
        values = {"learning rate": how.lr * rate(min(step, steps - 1), how.warmup, steps)}
        if how.last_weight_decay is not None:
            values["weight decay"] = cosine(how.weight_decay, how.last_weight_decay, over)
        return values


def _kind(value: object) -> str:
    """What a value is, for a message: float, or Tensor (8, 96)."""
    shape = f" {tuple(value.shape)}" if isinstance(value, Tensor) else ""
    return f"{type(value).__name__}{shape}"
