"""`fit` for every room that trains: one parser, one run folder, one way to go on after a kill."""

from __future__ import annotations

import logging
import sys
import warnings
from contextlib import ExitStack, suppress
from pathlib import Path

import yaml
from jsonargparse import ArgumentError, ArgumentParser
from lightning import Callback, Trainer
from lightning.pytorch.cli import LightningCLI
from lightning.pytorch.loggers import Logger, TensorBoardLogger
from lightning.pytorch.utilities import rank_zero_only

from fovea.command import UserError
from fovea.files import exclusive, write_text
from fovea.pretrain.training.checkpoint import VerifiedCheckpointIO, keep_newest, newest
from fovea.pretrain.training.config_errors import explain
from fovea.pretrain.training.logger import RunLogger
from fovea.pretrain.training.monitor import Collapsed
from fovea.runs import RunWriter

# Where a run may differ from what its folder holds and still be the same run.
WHERE = ("accelerator", "devices", "num_nodes", "strategy")
SAME_RUN = ("run", "tensorboard", *(f"trainer.{key}" for key in WHERE))

say = rank_zero_only(print)


class FitCLI(LightningCLI):
    """Parses a config and its overrides, opens the run folder, and builds model, data, trainer.

    Of several ranks, each of which runs the same command, the first alone holds the folder, writes
    into it and speaks.

    A room subclasses it and says `kind`, `title` and the callbacks that are its own.
    """

    kind: str

    def __init__(self, model: type, data: type, args: list[str], description: str):
        self.stack = ExitStack()
        self.first = rank_zero_only.rank == 0
        _quieten()
        try:
            super().__init__(
                model,
                data,
                args=args,
                run=False,
                subclass_mode_model=True,
                save_config_callback=None,
                seed_everything_default=0,
                parser_kwargs={"exit_on_error": False, "description": description},
                trainer_defaults={
                    "max_epochs": -1,
                    "max_steps": 1000,
                    "log_every_n_steps": 10,
                    "enable_progress_bar": False,
                    "enable_model_summary": False,
                    "use_distributed_sampler": False,
                    "num_sanity_val_steps": 0,
                },
            )
        except (ArgumentError, ValueError) as fault:
            self.stack.close()
            if mistake := explain(fault, (model, data, Trainer)):
                raise mistake from None
            raise

    def title(self) -> str:
        """What the run does, for people."""
        raise NotImplementedError

    def facts(self) -> dict:
        """More for run.json, such as the hashes of the data."""
        return {}

    def run_logger(self) -> RunLogger:
        """What writes metrics.csv."""
        return RunLogger(self.run)

    def own_callbacks(self) -> list[Callback]:
        """Callbacks that only this room has."""
        return []

    def add_arguments_to_parser(self, parser) -> None:
        parser.add_argument("--run", type=str, help="run folder, such as runs/mine")
        parser.add_argument(
            "--checkpoint_every", type=int, default=100, help="steps between two checkpoints"
        )
        parser.add_argument(
            "--tensorboard", type=bool, default=False, help="log to TensorBoard beside the CSV"
        )
        parser.link_arguments("seed_everything", "model.init_args.seed")
        parser.link_arguments("seed_everything", "data.seed")

    def before_instantiate_classes(self) -> None:
        if not self.config.run:
            raise UserError("no run folder: say where to with --run runs/NAME")
        self.folder = Path(self.config.run)
        self.resolved = self.parser.dump(self.config, skip_link_targets=True)
        refuse_other_settings(self.folder, self.resolved, self.parser)

    def instantiate_trainer(self, **kwargs):
        # Model and data are built by now: a mistake in their settings leaves no folder behind.
        if self.first:
            self.stack.enter_context(exclusive(self.folder))
        self.run = RunWriter(self.folder, self.kind, self.title(), writes=self.first)
        logger: list[Logger] = [self.run_logger()]
        if self.config.tensorboard:
            logger.append(TensorBoardLogger(self.folder, name="tensorboard", version=""))
        every = self.config.checkpoint_every
        return super().instantiate_trainer(
            logger=logger,
            plugins=[VerifiedCheckpointIO()],
            callbacks=[*self.own_callbacks(), keep_newest(self.folder / "checkpoints", every)],
            **kwargs,
        )

    def fit(self) -> bool:
        """Train to the end, from the newest checkpoint that verifies if there is one.

        Returns whether the run has ended now and is this process's to finish: False where it had
        ended before, and on every rank but the first. Exits with 1 where the run is lost.
        """
        if self.run.record.state == "done":
            say(f"{self.folder}: already done ({self.run.record.step:,} steps)")
            return False
        checkpoint = newest(self.folder / "checkpoints")
        if checkpoint:
            say(f"{self.folder}: going on from {checkpoint.name}")
        if self.first:
            write_text(self.folder / "config.yaml", self.resolved)
        facts = {"seed": self.config.seed_everything, "steps": self.trainer.max_steps}
        self.run.begin(config="config.yaml", **facts | self.facts())
        try:
            self.trainer.fit(self.model, datamodule=self.datamodule, ckpt_path=checkpoint)
        except Collapsed as lost:
            self.run.update(state="failed", reason=str(lost))
            last = newest(self.folder / "checkpoints")
            kept = f"; the last good checkpoint is {last}" if last else ""
            say(f"error: {lost}{kept}", file=sys.stderr)
            sys.exit(1)
        except BaseException as fault:
            if isinstance(fault, SystemExit):  # what Lightning makes of an interrupt
                fault = KeyboardInterrupt()
            self.run.update(state="failed", reason=f"{type(fault).__name__}: {fault}".strip(": "))
            if isinstance(fault, UserError | KeyboardInterrupt) and not self.first:
                sys.exit(2)  # the first rank says what it was
            raise fault
        return self.first

    def done(self) -> None:
        """Say in run.json that the run has ended well."""
        self.run.update(state="done", step=self.trainer.global_step)


def refuse_other_settings(
    folder: Path, resolved: str, parser: ArgumentParser | None = None
) -> None:
    """Raise UserError where `folder` holds a run of another resolved config than this.

    With a `parser`, settings that came after the run began are in it at what they then meant,
    which is their default.
    """
    path = folder / "config.yaml"
    if not path.exists():
        return
    held, asked = (yaml.safe_load(text) for text in (path.read_text(), resolved))
    if parser:
        # What this parser does not know is a run of another kind, and differs as it is.
        with suppress(ArgumentError, ValueError):
            completed = parser.dump(parser.parse_object(held), skip_link_targets=True)
            held = yaml.safe_load(completed)
    held, asked = _flat(held), _flat(asked)
    for key in sorted(held.keys() | asked.keys()):
        if not key.startswith(SAME_RUN) and held.get(key) != asked.get(key):
            raise UserError(
                f"{folder} holds a run with {key} = {held.get(key)}, not "
                f"{asked.get(key)}: give another --run, or delete {folder}"
            )


def _flat(tree: object, prefix: str = "") -> dict[str, object]:
    """{"a": {"b": 1}} as {"a.b": 1}."""
    if not isinstance(tree, dict):
        return {prefix: tree}
    leaves: dict[str, object] = {}
    for key, value in tree.items():
        leaves |= _flat(value, f"{prefix}.{key}" if prefix else str(key))
    return leaves


def _quieten() -> None:
    """Keep what Lightning says about itself off the screen; what is wrong still shows."""
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    logging.getLogger("lightning.fabric").setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", module="lightning")
    warnings.filterwarnings("ignore", message=".*LeafSpec.*")
