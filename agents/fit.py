"""`fovea agents fit`: train an agent in a game."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import copy
from pathlib import Path

from lightning import Callback

from fovea.agents.algorithms.base import Agent
from fovea.agents.loading import init_from, keep_architecture
from fovea.agents.plugged_in import Watch, plugged_in, said_before
from fovea.agents.progress import PlayProgress
from fovea.agents.task import AtariTask
from fovea.atari.games import find
from fovea.command import UserError
from fovea.old_names import is_old
from fovea.pretrain.training.cli import FitCLI
from fovea.pretrain.training.logger import RunLogger

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
        return {"game": self.datamodule.game, "steps": self.datamodule.total_steps}

    def own_callbacks(self) -> list[Callback]:
        progress = PlayProgress(self.folder.name, self.datamodule.experience)
        return [progress, Watch(self.run, self.model)]

    def run_logger(self) -> RunLogger:
        return StepLogger(self.run)

    def add_arguments_to_parser(self, parser) -> None:
        super().add_arguments_to_parser(parser)
        parser.add_argument(
            "--init_from",
            type=str | None,
            help="run folder of an agent whose weights a new run starts with, encoder and heads",
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

    def done(self) -> None:
        self.run.update(state="done", step=self.datamodule.experience.played)


def fit(args: list[str]) -> None:
    """Run the command with these arguments."""
    cli = AgentCLI(args)
    with cli.stack:
        if cli.fit():
            cli.done()
            print(f"agent: {cli.folder} (next: fovea agents evaluate --run {cli.folder})")
