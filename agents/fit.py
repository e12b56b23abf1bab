"""`fovea agents fit`: train an agent in a game."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import copy
from pathlib import Path

from lightning import Callback

from fovea.agents.algorithms.base import Agent
from fovea.agents.curriculum import Curriculum
from fovea.agents.loading import build_from_run, init_from, keep_architecture
from fovea.agents.places import CURRICULUM, ENCODER, PLACES, RECORDINGS
from fovea.agents.plugged_in import Watch, plugged_in, said_before
from fovea.agents.progress import PlayProgress
from fovea.agents.task import AtariTask
from fovea.atari.env import curriculum_state
from fovea.atari.games import find
from fovea.command import UserError
from fovea.old_names import is_old
from fovea.pretrain.training.checkpoint import (
    NAME,
    VerifiedCheckpointIO,
    read,
    remove_older,
)
from fovea.pretrain.training.cli import FitCLI
from fovea.pretrain.training.growth import Content
from fovea.pretrain.training.logger import RunLogger
from fovea.pretrain.training.monitor import FiniteMonitor
from fovea.pretrain.training.refused import SAMPLED
from fovea.schema import RunRecord

DESCRIPTION = """Train an agent in a game, with any encoder. The same command again goes on after a
kill, bit for bit, or says that the run is done. Any setting of the config can be given here:
--model DQN --model.encoder LoRA --model.encoder.encoder runs/mine --data.game breakout.
--print_config shows all that hold; --model.help DQN shows those of an agent."""


class StepLogger(RunLogger):
    """Counts as agents do: agent steps, the first of them 1."""

    first = 1


class AgentCLI(FitCLI):
    """Builds an agent and its game.

    Args:
        args: of the command, or a config.
        begin: gives a new agent more than `--init_from` does.
        norm_tasks: games that the feature norm of a new agent is fitted to; its own by default.
    """

    room = "fovea.agents"
    families = ("fovea.agents.algorithms", "fovea.agents.adaptation")
    kind = "agent"
    length = "data.total_steps"
    places = PLACES
    recordings = RECORDINGS
    fixed = SAMPLED

    def __init__(
        self,
        args: list[str] | dict,
        begin: Callable[[Agent], None] | None = None,
        norm_tasks: Sequence[AtariTask] = (),
    ):
        self.begin, self.norm_tasks = begin, norm_tasks
        super().__init__(Agent, AtariTask, args, DESCRIPTION)

    def title(self) -> str:
        encoder = type(self.model.extractor.encoder).__name__.lower()
        name = find(self.datamodule.game).name
        return f"{type(self.model).__name__} in {name}, encoder {encoder}"

    def facts(self) -> dict:
        game, steps = self.datamodule.game, self.datamodule.total_steps
        return {"game": game, "steps": steps, "data": self.datamodule.experience.data}

    def own_callbacks(self) -> list[Callback]:
        progress = PlayProgress(self.folder.name, self.datamodule.experience)
        return [progress, FiniteMonitor(self.run), Watch(self.run, self.model)]

    def run_logger(self) -> RunLogger:
        return StepLogger(self.run)

    def add_arguments_to_parser(self, parser) -> None:
        super().add_arguments_to_parser(parser)
        parser.add_argument(
            "--init_from",
            type=str | None,
            help="run folder of an agent whose weights a new run starts with, encoder and heads",
        )
        parser.add_argument(
            "--keep_replay",
            type=bool,
            default=False,
            help="keep the replay of a run that has ended: with it, a larger data.total_steps goes "
            "on; it is most of what a checkpoint holds, and nothing else needs it",
        )
        parser.link_arguments(
            "data.action_count", "model.init_args.actions", apply_on="instantiate"
        )
        parser.set_defaults({"trainer.max_steps": -1, "trainer.devices": 1})

    def before_instantiate_classes(self) -> None:
        trainer = self.config.trainer
        if trainer.max_steps != -1:
            raise UserError(
                f"trainer.max_steps {trainer.max_steps} counts updates, and how many there are "
                "follows from the agent steps: leave it out and set data.total_steps"
            )
        super().before_instantiate_classes()
        if self.last and not self.done and not is_old(self.folder):
            self._build_from_the_run(self.last)

    def _build_from_the_run(self, checkpoint: Path) -> None:
        """Build what goes on from what the run keeps: the folders that it began with may be gone.

        Args:
            checkpoint: that it goes on from.
        """
        adapted = self.config.model.init_args.get("encoder") or {}
        build_from_run(adapted.get("init_args") or {}, self.folder)
        if self.config.get(CURRICULUM):
            envs = read(checkpoint)["AtariTask"]["envs"]
            if Curriculum.keeps_earlier(curriculum_state(envs)):
                self.config[CURRICULUM] = None

    def held(self, record: RunRecord) -> dict[str, Content]:
        found, begun = super().held(record), record.plugged_in
        if record.init_from:  # its weights are that run's
            return found | {ENCODER: self.contents.get(ENCODER, {})}
        if ENCODER not in found and begun and begun.weights:  # begun before `content` was recorded
            found[ENCODER] = self.contents.get(ENCODER, {}) | {"weights": begun.weights}
        return found

    def updates(self, length: int) -> int:
        task = copy(self.datamodule)
        task.total_steps = length
        task.attach(self.model)
        return task.experience.updates

    def instantiate_trainer(self, **kwargs):
        self.datamodule.folder = self.folder
        self.set_schedule()
        self.datamodule.attach(self.model)
        if not self.checkpoint:
            if self.config.init_from:
                init_from(self.model, Path(self.config.init_from))
            if self.begin:
                self.begin(self.model)
            for task in self.norm_tasks:
                task.attach(self.model)
            self.model.prepare([task.experience for task in self.norm_tasks or [self.datamodule]])
        return super().instantiate_trainer(max_steps=self.datamodule.experience.updates, **kwargs)

    def fit(self, save: bool = True) -> bool:
        if self.done:
            return super().fit(save)
        if self.first and not is_old(self.folder):
            keep_architecture(self.model, self.folder)
        if not self.checkpoint and not self.begin:
            begun = plugged_in(self.model, self.encoder_ref(), self.config.init_from)
            self.run.record.plugged_in = begun
            if self.first:
                print(f"{self.folder}:", *said_before(begun), sep="\n")
        return super().fit(save)

    def encoder_ref(self) -> str | None:
        """What the config says that the encoder is loaded from."""
        adapted = self.config.model.init_args.get("encoder") or {}
        ref = (adapted.get("init_args") or {}).get("encoder")
        return ref if isinstance(ref, str) else None

    def _save(self, ended: bool) -> None:
        heavy = self.datamodule.experience.heavy
        if not ended or self.config.keep_replay or not heavy:
            super()._save(ended)
            return
        self.datamodule.left_out = heavy
        folder = self.folder / "checkpoints"
        last = folder / f"{NAME.format(step=self.trainer.global_step)}.ckpt"
        self.trainer.save_checkpoint(last)
        if self.first:
            remove_older(folder)
            for path in folder.glob("step-*.ckpt"):
                if path != last:
                    _lighten(path, heavy)

    def _read_history(self) -> None:
        super()._read_history()
        if self.length in self.changed and self.last:
            self._check_replay(self.last)

    def _given(self) -> Path | None:
        if given := super()._given():
            self._check_replay(given)
        return given

    def _check_replay(self, checkpoint: Path) -> None:
        """Refuse to go on from a checkpoint of an end that has no replay any more."""
        state = read(checkpoint)
        held = state["AtariTask"].keys()
        if "episode_start" in held and "replay" not in held:
            run = checkpoint.absolute().parents[1]
            raise UserError(
                f"{run} has ended, and its replay was not kept (--keep_replay true keeps it), so "
                f"that it cannot go on: give another --run (--init_from {run} begins with its "
                "weights)"
            )

    @property
    def reached(self) -> int:
        return self.datamodule.experience.played


def _lighten(path: Path, heavy: Sequence[str]) -> None:
    """Write a checkpoint anew without entries of its experience that only going on needs."""
    state = read(path)
    played = state["AtariTask"]
    state["AtariTask"] = {name: part for name, part in played.items() if name not in heavy}
    VerifiedCheckpointIO().save_checkpoint(state, path)


def fit(args: list[str]) -> None:
    """Run the command with these arguments."""
    cli = AgentCLI(args)
    with cli.stack:
        if cli.fit():
            print(f"agent: {cli.folder} (next: fovea agents evaluate --run {cli.folder})")
