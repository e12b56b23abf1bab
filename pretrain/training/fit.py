"""`fovea pretrain fit`: train an objective on recordings, export its encoder."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from lightning import Callback, Trainer

from fovea.command import UserError
from fovea.pretrain.data import Windows
from fovea.pretrain.encoders.encoder import Encoder
from fovea.pretrain.encoders.folder import export_encoder, load_encoder
from fovea.pretrain.objectives.base import Objective
from fovea.pretrain.training.cli import FitCLI, say
from fovea.pretrain.training.growth import Read, recorded
from fovea.pretrain.training.monitor import CollapseMonitor
from fovea.pretrain.training.progress import Progress
from fovea.weights import check_shapes

DESCRIPTION = """Pretrain an encoder on recordings and export it to RUN/encoder. The same command
again goes on after a kill, bit for bit, or says that the run is done. Any setting of the config can
be given here: --model VICReg --model.optimisation.lr 0.001 --data.batch_size 256. --print_config
shows all that hold; --model.help VICReg shows those of an objective."""

WORTH_SHARING = 1.0  # GiB that several ranks each hold, above which a line says how to share them

PLACES: Mapping[str, Read] = {"data.recordings": lambda folders, _: recorded(folders)}


class PretrainCLI(FitCLI):
    room = "fovea.pretrain"
    families = ("fovea.pretrain.objectives",)
    kind = "pretrain"
    length = "trainer.max_steps"
    recordings = "data.recordings"
    places = PLACES
    description = DESCRIPTION

    def __init__(self, args: list[str]):
        super().__init__(Objective, Windows, args, self.description)

    def title(self) -> str:
        return f"{type(self.model).__name__} on {', '.join(self.datamodule.games)}"

    def facts(self) -> dict:
        return {
            "data": self.datamodule.data,
            "batch": self.per_step,
            "steps": self.trainer.max_steps,
        }

    def own_callbacks(self) -> list[Callback]:
        return [CollapseMonitor(self.run), Progress(self.folder.name, self.per_step)]

    @property
    def per_step(self) -> int:
        """Samples of a step of the optimiser."""
        return self.datamodule.batch_size * self.config.trainer.accumulate_grad_batches

    def conclude(self) -> None:
        """Export the encoder."""
        self.exported = export_encoder(self.model.encoder, self.folder / "encoder", self.made_of())
        super().conclude()

    def made_of(self) -> dict:
        """How the encoder came to be, for its folder and its card."""
        facts = {
            "method": type(self.model).__name__,
            "games": list(self.datamodule.games),
            "data_sha256": self.datamodule.data,
            "steps": self.trainer.global_step,
            "samples": self.datamodule.seen * self.datamodule.batch_size,
            "seed": self.config.seed_everything,
        }
        if self.config.init_from:
            facts["init_from"] = self.config.init_from
        return facts

    def add_arguments_to_parser(self, parser) -> None:
        super().add_arguments_to_parser(parser)
        parser.add_argument(
            "--init_from",
            type=str | None,
            help="encoder that a new run begins with: a run or encoder folder, "
            "pretrained:vit_micro, or hf-hub:ORG/NAME; "
            "of the same size, patch, stack and screen",
        )

    def instantiate_trainer(self, **kwargs) -> Trainer:
        self.set_schedule()
        if self.datamodule.batch_size == 1 and any(
            isinstance(module, torch.nn.modules.batchnorm._BatchNorm)
            for module in self.model.modules()
        ):
            raise UserError(
                f"data.batch_size 1: {type(self.model).__name__} compares the samples of a batch: "
                "give 2 or more"
            )
        if self.config.init_from and not self.checkpoint:
            begin_with(self.model, self.config.init_from)
        trainer = super().instantiate_trainer(**kwargs)
        ranks, held = trainer.world_size, self.datamodule.repeated_bytes / 2**30
        if ranks > 1 and held >= WORTH_SHARING and not self.last:
            say(
                f"data: each of {ranks} ranks holds all {held:.1f} GiB of screens; with "
                f"--data.shares {ranks} a new run deals them out"
            )
        return trainer


def begin_with(model: Objective, ref: str) -> None:
    """Give the encoder of a new model, and its teachers, the weights of the one that `ref` names.

    Raises UserError where that is no encoder, or one of another shape.
    """
    given = load_encoder(ref).state_dict()
    check_shapes(
        model.encoder.state_dict(),
        given,
        lambda name, theirs, ours: (
            f"init_from {ref}: weight {name} is {theirs or 'missing'} there and "
            f"{ours or 'unknown'} in this encoder: give model.init_args.encoder the size, patch, "
            "stack, screen and read_out of that one"
        ),
    )
    encoders = [module for module in model.modules() if isinstance(module, Encoder)]
    for encoder in encoders:
        encoder.load_state_dict(given)
    weights = sum(weight.numel() for weight in given.values())
    say(f"encoder: begins with {weights:,} weights of {ref}; the rest of the model is new")


def fit(args: list[str]) -> None:
    """Run `fovea pretrain fit` with these arguments."""
    cli = PretrainCLI(args)
    with cli.stack:
        if cli.fit():
            print(f"encoder: {cli.exported}")
