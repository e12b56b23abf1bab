"""`fovea pretrain validate`: the held-out numbers of a run, from a checkpoint of it."""

from __future__ import annotations

from pathlib import Path
from tempfile import NamedTemporaryFile

import yaml
from lightning import Trainer
from lightning.pytorch.cli import LightningCLI

from fovea.command import UserError, parser
from fovea.old_names import read_config
from fovea.pretrain.training.checkpoint import VerifiedCheckpointIO, read, verified
from fovea.pretrain.training.fit import PretrainCLI
from fovea.pretrain.training.trainer_errors import trainer_settings
from fovea.runs import read_run

DESCRIPTION = """Print the held-out numbers of a pretraining run (its losses on the validation
episodes of its recordings), from its newest checkpoint. Nothing is written. Settings of the config
can be given too: --data.held_out 64, --trainer.accelerator cpu."""


class ValidateCLI(PretrainCLI):
    """Builds the model and data of a run as `fit` does, and leaves its folder alone."""

    def before_instantiate_classes(self) -> None:
        self.folder = Path(self.config.run)
        asked = self.config.ckpt_path
        path = self.last if asked in (None, "last") else verified(asked)
        if not path:
            raise UserError(f"{self.folder} holds no checkpoint to validate: train it first")
        self.given = path

    def instantiate_trainer(self, **kwargs) -> Trainer:
        with trainer_settings(self.config.trainer.as_dict()):
            return LightningCLI.instantiate_trainer(
                self, logger=False, callbacks=[], plugins=[VerifiedCheckpointIO()], **kwargs
            )


def validate(args: list[str]) -> None:
    """Run `fovea pretrain validate` with these arguments."""
    asked = parser("fovea pretrain validate", DESCRIPTION)
    asked.add_argument("--run", required=True, type=Path, help="run folder of a pretraining")
    asked.add_argument(
        "--ckpt_path", help="a checkpoint of the run (its newest that matches its hash)"
    )
    known, settings = asked.parse_known_args(args)
    if (record := read_run(known.run)) and record.kind != "pretrain":
        raise UserError(
            f"{known.run} holds a run of kind {record.kind}: give one of fovea pretrain fit"
        )
    if not (known.run / "config.yaml").exists():
        raise UserError(f"{known.run} holds no run: train one with fovea pretrain fit")
    with NamedTemporaryFile("w", suffix=".yaml") as file:
        held = read_config(known.run)
        yaml.safe_dump(held, file)
        file.flush()
        where = ["--run", str(known.run), "--ckpt_path", known.ckpt_path or "last"]
        cli = ValidateCLI(["-c", file.name, *settings, *where])
    assert cli.given, "a checkpoint is asked for above"
    step = read(cli.given)["global_step"]
    history = record.history if record else []
    cli.model.schedule_steps = history[-1]["schedule"] if history else cli.trainer.max_steps
    cli.model.progress = cli.model.share(step - 1)  # as it was at that step
    (numbers,) = cli.trainer.validate(
        cli.model, datamodule=cli.datamodule, ckpt_path=cli.given, verbose=False
    )
    print(f"{cli.given}, step {step:,}")
    width = max(map(len, numbers))
    for name, value in numbers.items():
        print(f"  {name:<{width}}  {value:.6g}")
