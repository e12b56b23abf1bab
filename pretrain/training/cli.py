"""`fit` for every room that trains: one parser, one run folder, one way to go on after a kill."""

from __future__ import annotations

import logging
import sys
import warnings
from collections.abc import Mapping
from contextlib import ExitStack
from functools import cached_property
from pathlib import Path

import yaml
from jsonargparse.typing import PositiveInt
from lightning import Callback, Trainer
from lightning.fabric.plugins import CheckpointIO
from lightning.pytorch.cli import LightningCLI
from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities import rank_zero_only
from lightning.pytorch.utilities.exceptions import SIGTERMException

from fovea.command import Terminated, UserError
from fovea.files import exclusive, write_text
from fovea.lazy import import_all
from fovea.old_names import OLD, is_old
from fovea.pretrain.training.checkpoint import (
    NAME,
    VerifiedCheckpointIO,
    keep_newest,
    newest,
    remove_older,
    verified,
)
from fovea.pretrain.training.config_errors import FAULTS, explain
from fovea.pretrain.training.growth import (
    Content,
    Read,
    changes,
    contents,
    effect,
    grown,
    other_content,
)
from fovea.pretrain.training.logger import RunLogger
from fovea.pretrain.training.monitor import Collapsed
from fovea.pretrain.training.parser import FitParser, NamedConfig, as_typed
from fovea.pretrain.training.refused import check_seed, check_trainer, listed
from fovea.pretrain.training.schedule import RateOfSchedule
from fovea.pretrain.training.stopping import Stopping, stopped_early
from fovea.pretrain.training.trainer_errors import said_by_trainer, trainer_settings
from fovea.runs import RunWriter, read_run
from fovea.schema import RunRecord

say = rank_zero_only(print)


class FitCLI(LightningCLI):
    """Parses a config and its overrides, opens the run folder, and builds model, data, trainer.

    Of several ranks, each of which runs the same command, the first alone holds the folder, writes
    into it and speaks.

    A room subclasses it and says what is its own: the attributes, `title` and the callbacks.

    Attributes:
        room: the package, which ships configs.
        families: packages of the room all of whose classes a config may name.
        kind: of run, in run.json.
        length: the setting that says how long a run is.
        places: settings that name places, whose content is compared in place of their text, and
            how that of each is read.
        recordings: the one of them whose content a record holds as its `data`.
        fixed: settings of the Trainer that this room needs as they are, see `refused`.
        command: of the room, as people type it.
    """

    room: str
    families: tuple[str, ...]
    kind: str
    length: str
    places: Mapping[str, Read] = {}
    recordings: str
    fixed: Mapping[str, tuple] = {}
    command: str = "fit"

    def __init__(self, model: type, data: type, args: list[str] | dict, description: str):
        self.stack = ExitStack()
        self.first = rank_zero_only.rank == 0
        self.done = False
        _quieten()
        for family in self.families:
            import_all(family)
        prog = f"{self.room.replace('.', ' ')} {self.command}"
        if isinstance(args, list):
            args = as_typed(args)
        try:
            super().__init__(
                model,
                data,
                args=args,
                run=False,
                subclass_mode_model=True,
                auto_configure_optimizers=False,  # an objective and an agent have their own
                save_config_callback=None,
                seed_everything_default=0,
                parser_class=FitParser,
                parser_kwargs={
                    "exit_on_error": False,
                    "prog": prog,
                    "usage": f"{prog} -c CONFIG --run RUN [--SETTING VALUE ...]",
                    "description": description,
                },
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
        except FAULTS as fault:
            self.stack.close()
            if mistake := explain(fault, (model, data, Trainer)):
                raise mistake from None
            raise

    def title(self) -> str:
        """What the run does, for people."""
        raise NotImplementedError

    def facts(self) -> dict:
        """More for run.json: how far it goes, and such as the hashes of the data."""
        raise NotImplementedError

    def held(self, record: RunRecord) -> dict[str, Content]:
        """What a run began with, of those of `places` that its record knows."""
        return {self.recordings: record.data} | record.content

    def conclude(self) -> None:
        """Make what a run leaves behind that has reached its end; then it is done."""
        self.run.update(state="done", step=self.reached)

    def run_logger(self) -> RunLogger:
        """What writes metrics.csv."""
        return RunLogger(self.run)

    def own_callbacks(self) -> list[Callback]:
        """Callbacks that only this room has."""
        return []

    def updates(self, length: int) -> int:
        """Steps of the optimiser in a run of `length`."""
        return length

    def init_parser(self, **kwargs) -> FitParser:
        parser = self.parser_class(**kwargs)
        parser.add_argument("-c", "--config", action=NamedConfig, room=self.room)
        return parser

    def add_arguments_to_parser(self, parser) -> None:
        parser.add_argument("--run", type=str, help="run folder, such as runs/mine")
        parser.add_argument(
            "--checkpoint_every",
            type=PositiveInt,
            default=100,
            help="steps between two checkpoints",
        )
        parser.add_argument(
            "--keep_schedule",
            type=bool,
            default=False,
            help=f"where {self.length} is changed: keep the schedules (learning rate, a teacher's "
            "momentum) as they were and hold their last values, not stretch them to the new length",
        )
        parser.add_argument(
            "--ckpt_path",
            type=str | None,
            help="checkpoint that a new run goes on from, with optimiser and step; `last` is the "
            "run's own newest, which it always goes on from where it has one",
        )
        parser.link_arguments("seed_everything", "model.init_args.seed")
        parser.link_arguments("seed_everything", "data.seed")

    def before_instantiate_classes(self) -> None:
        if not self.config.run:
            raise UserError("no run folder: say where to with --run runs/NAME")
        self.folder = Path(self.config.run)
        check_seed(self.config.seed_everything)
        check_trainer(self.config.trainer, self.fixed)
        self.resolved = self.parser.dump(self.config, skip_link_targets=True)
        free = (self.length, *self.places)
        self.changed = changes(self.folder, self.resolved, self.parser, *free)
        self._read_history()
        record = read_run(self.folder) or RunRecord()
        self.contents = contents(self.places, self.config)
        other_content(self.folder, self.places, self.changed, self.held(record), self.contents)
        self.done = record.state == "done" and self.length not in self.changed
        if not self.done:
            self.given = self._given()

    def instantiate_classes(self) -> None:
        if not self.done:  # what it was made of may be gone
            super().instantiate_classes()

    def _read_history(self) -> None:
        """Find out how long the run is, and its schedules; refuse a length that cannot be."""
        record = read_run(self.folder) or RunRecord()
        history, step = record.history, record.step or 0
        before, length = self.changed.get(self.length, [self.config[self.length]] * 2)
        if self.length in self.changed:
            if length < step:
                raise UserError(
                    f"{self.length} {length}: {self.folder} has done {step:,} steps already; give "
                    "as many or more, or another --run"
                )
            if record.state == "done" and not self.last:
                raise UserError(
                    f"{self.folder} holds no checkpoint to go on from, so that {self.length} "
                    f"cannot become {length}: give another --run (--init_from {self.folder} begins "
                    "with its weights)"
                )
        self.kept = history[-1]["schedule"] if history else before
        self.schedule = self.kept if self.config.keep_schedule else length
        self.history = grown(history, step, self.changed, self.schedule)

    def _given(self) -> Path | None:
        """The checkpoint that --ckpt_path names; refuse one of another run, or not the newest."""
        if self.config.ckpt_path in (None, "last"):
            return None
        given = verified(self.config.ckpt_path)
        origin, last = given.absolute().parents[1], self.last
        if origin == self.folder.absolute() and last and not last.samefile(given):
            raise UserError(
                f"ckpt_path {given}: {self.folder} goes on from its newest checkpoint, "
                f"{last.name}; to go on from an older one give another --run"
            )
        if is_old(origin):
            raise UserError(f"ckpt_path {given} {OLD} (--init_from gives it old weights)")
        fix = "give the settings that the checkpoint was made with"
        free = (self.length, "init_from", *self.places)
        changes(origin, self.resolved, self.parser, *free, fix=fix)
        return given

    @cached_property
    def last(self) -> Path | None:
        """The run's newest checkpoint that verifies; found once, as a replay is long to hash.

        None where it holds the weights of an end alone, as the games of a sequence do.
        """
        path = newest(self.folder / "checkpoints")
        return path if path and path.stem.removeprefix("step-").isdecimal() else None

    @property
    def checkpoint(self) -> Path | None:
        """What is gone on from: the run's own last checkpoint, or --ckpt_path's."""
        return self.last or self.given

    def set_schedule(self) -> None:
        """Tell the model how long its schedules are; where that is new, say what it does."""
        length = self.config[self.length]
        if self.schedule != length:
            self.model.schedule_steps = self.updates(self.schedule)
        if self.length in self.changed:
            before, now = self.changed[self.length]
            step = int(self.last.stem.removeprefix("step-")) if self.last else 0
            lengths = self.kept, self.schedule
            values = [self.model.schedules(step, self.updates(n)) for n in lengths]
            what = effect(*lengths, *values)
            say(f"{self.folder}: {self.length} was {before:,} and is {now:,} now; {what}")

    def instantiate_trainer(self, **kwargs) -> Trainer:
        asked = self.config_init.trainer
        plugins = listed(asked.plugins)
        if others := [plugin for plugin in plugins if isinstance(plugin, CheckpointIO)]:
            # Going on after a kill trusts only checkpoints with a hash beside them. Those of
            # another IO have none, and would be passed over as if the run had never got there.
            raise UserError(
                f"trainer.plugins: {type(others[0]).__name__} would write checkpoints that the run "
                "cannot go on from: leave it out"
            )
        # Model and data are built by now: a mistake in their settings leaves no folder behind.
        self.made = self.first and not self.folder.exists()
        if self.first:
            self.stack.enter_context(exclusive(self.folder))
        self.run = RunWriter(self.folder, self.kind, self.title(), writes=self.first)
        self.loggers: list[Logger] = [one for one in listed(asked.logger) if one is not True]
        callbacks = listed(asked.callbacks)
        theirs = {type(callback) for callback in callbacks}
        own = [callback for callback in self.own_callbacks() if type(callback) not in theirs]
        saves = None
        if asked.enable_checkpointing is not False:
            saves = self.folder / "checkpoints"
            own.append(keep_newest(saves, self.config.checkpoint_every))
        ours = {
            "logger": [self.run_logger(), *self.loggers],
            "plugins": [VerifiedCheckpointIO(), *plugins],
            "callbacks": [*own, RateOfSchedule(), Stopping(saves), *callbacks],
            "default_root_dir": asked.default_root_dir or self.folder,
        }
        try:
            with trainer_settings(self.config.trainer.as_dict()):
                return super().instantiate_trainer(**ours, **kwargs)
        except UserError:
            self.run.take_back(self.made)
            raise

    def fit(self, save: bool = True) -> bool:
        """Train to the end, from the newest checkpoint that verifies if there is one.

        Args:
            save: keep a checkpoint of the end, from which the run can grow.

        Returns whether the run has ended now, with `save` done, and is this process's to speak of:
        False where it had ended before or was stopped early, and on every rank but the first. Exits
        with 1 where the run is lost.
        """
        if self.done:
            record = read_run(self.folder)
            say(f"{self.folder}: already done ({(record and record.step) or 0:,} steps)")
            return False
        if is_old(self.folder):
            raise UserError(f"{self.folder} {OLD} (--init_from gives it old weights)")
        checkpoint = self.checkpoint
        if checkpoint:
            name = checkpoint if checkpoint == self.given else checkpoint.name
            say(f"{self.folder}: going on from {name}")
        if self.first:
            write_text(self.folder / "config.yaml", self.resolved)
            for logger in self.loggers:
                logger.log_hyperparams(yaml.safe_load(self.resolved))
        self.run.begin(
            config="config.yaml",
            loggers=[type(logger).__name__ for logger in self.loggers],
            init_from=self.config.init_from,
            seed=self.config.seed_everything,
            content=self.run.record.content or self._content(),
            **self.facts(),
        )
        self.history[-1].setdefault("command", self.run.record.command)
        self.run.update(history=self.history)
        try:
            self.trainer.fit(self.model, datamodule=self.datamodule, ckpt_path=checkpoint)
            early = stopped_early(self.trainer)
            if save or early:
                self._save(ended=not early)
            if early:
                self.run.update(state="failed", reason=early, step=self.reached)
                say(f"{self.folder}: {early}")
                return False
            if save and self.first:
                self.conclude()
        except Collapsed as lost:
            self.run.update(state="failed", reason=str(lost))
            last = newest(self.folder / "checkpoints")
            kept = f"; the last good checkpoint is {last}" if last else ""
            say(f"error: {lost}{kept}", file=sys.stderr)
            sys.exit(1)
        except BaseException as fault:
            if isinstance(fault, SIGTERMException):
                fault = Terminated()
            elif isinstance(fault, SystemExit):  # what Lightning makes of an interrupt
                fault = KeyboardInterrupt()
            else:
                fault = said_by_trainer(fault, self.config.trainer.as_dict())
            if not (isinstance(fault, UserError) and self.run.take_back(self.made)):
                reason = f"{type(fault).__name__}: {fault}".strip(": ")
                self.run.update(state="failed", reason=reason)
            if isinstance(fault, UserError | KeyboardInterrupt | Terminated) and not self.first:
                sys.exit(2)  # the first rank says what it was
            raise fault
        return self.first

    def _content(self) -> dict[str, Content]:
        """What the run begins with, beside its `data`."""
        return {place: of for place, of in self.contents.items() if place != self.recordings}

    @property
    def reached(self) -> int:
        """How far the run is, in what its record counts."""
        return self.trainer.global_step

    def _save(self, ended: bool) -> None:
        """Keep the step that the run has reached, wherever between two checkpoints it is."""
        folder = self.folder / "checkpoints"
        step = self.trainer.global_step
        if step % self.config.checkpoint_every or not self.trainer.checkpoint_callbacks:
            self.trainer.save_checkpoint(folder / f"{NAME.format(step=step)}.ckpt")
        if self.first:
            remove_older(folder)


def _quieten() -> None:
    """Keep what Lightning says about itself off the screen; what is wrong still shows."""
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    logging.getLogger("lightning.fabric").setLevel(logging.WARNING)
    # What --trainer.profiler found is asked for.
    logging.getLogger("lightning.pytorch.profilers").setLevel(logging.INFO)
    warnings.filterwarnings("ignore", module="lightning")
    warnings.filterwarnings("ignore", message=".*LeafSpec.*")
