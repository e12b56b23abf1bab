"""A sequence of games and the methods that are compared on it, as in a config."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from jsonargparse import dict_to_namespace
from jsonargparse.typing import NonNegativeInt, PositiveInt

from fovea.agents.adaptation.base import Adapted
from fovea.agents.algorithms.base import Agent
from fovea.agents.loading import build_agent, build_task
from fovea.agents.places import PLACES, RECORDINGS
from fovea.agents.task import AtariTask
from fovea.atari.games import find
from fovea.command import UserError
from fovea.pretrain.training.growth import Content, contents


@dataclass
class Method:
    """A way to go through the games.

    Attributes:
        encoder: class_path and init_args of one of the ways to use an encoder.
        task_aware: which part of the agent is told the game and separate for each: `none` (one
            agent learns all games), `heads` (new ones for every game, one encoder learns all) or
            `agent` (each game is learned alone, from the start).
    """

    encoder: dict[str, Any]
    task_aware: Literal["none", "heads", "agent"] = "none"


@dataclass
class ParsedMethod(Method):
    """A method as a parser reads it, which needs to know the settings of every encoder."""

    encoder: Adapted


@dataclass
class TaskSequence:
    """What is learned and compared.

    Attributes:
        games: in their order, each once.
        steps_per_game: agent steps in each game, over all environments.
        methods: what is compared, by name.
        reference: the method, with `task_aware: agent`, whose score in a game counts as 1 and whose
            learning curve the others' are compared with; without one the human tester's score
            counts as 1 and there is no forward transfer.
        agent: class_path and init_args of the agent, without its encoder.
        task: settings of `AtariTask`, without the game and the steps.
        trainer: settings of the trainer.
        checkpoint_every: updates between two checkpoints.
        episodes: of each evaluation, in every game after each game.
        evaluation_envs: environments at once in an evaluation.
        seed_everything: of all random draws, in each game anew.
    """

    games: list[str]
    steps_per_game: PositiveInt
    methods: dict[str, Method]
    reference: str | None
    agent: dict[str, Any]
    task: dict[str, Any]
    trainer: dict[str, Any]
    checkpoint_every: PositiveInt
    episodes: PositiveInt
    evaluation_envs: PositiveInt
    seed_everything: NonNegativeInt = 0

    def folder(self, run: Path, method: str, place: int) -> Path:
        """The run folder of a method in the game at `place`."""
        return run / method / f"{place + 1}-{self.games[place]}"

    def settings(self, method: str, game: str) -> dict[str, Any]:
        """The config of `fovea agents fit` with which a method learns a game."""
        encoder = {"encoder": self.methods[method].encoder}
        return {
            "seed_everything": self.seed_everything,
            "model": self.agent | {"init_args": self.agent["init_args"] | encoder},
            "data": self.task | {"game": game, "total_steps": self.steps_per_game},
            "trainer": self.trainer,
            "checkpoint_every": self.checkpoint_every,
        }

    @property
    def places(self) -> dict[str, tuple[str, str]]:
        """{setting: (method, the setting of its fits)} of all that name places.

        Recordings are left out: each game has its own, which its run compares.
        """
        within = "model.init_args.encoder."
        return {
            place.replace(within, f"methods.{method}.encoder.").replace("model.", "agent."): (
                method,
                place,
            )
            for method in self.methods
            for place in PLACES
            if place.startswith("model.") and place != RECORDINGS
        }

    def contents(self) -> dict[str, Content]:
        """What lies at `places` now, of those that can be read."""
        found: dict[str, Content] = {}
        for name, (method, place) in self.places.items():
            config = dict_to_namespace(self.settings(method, self.games[0]))
            if of := contents({place: PLACES[place]}, config):
                found[name] = of[place]
        return found

    @cached_property
    def agents(self) -> dict[str, Agent]:
        """By method, as they are before they have learned anything."""
        actions = self.tasks[self.games[0]].action_count
        models = {method: self.settings(method, self.games[0])["model"] for method in self.methods}
        for model in models.values():
            model["init_args"]["seed"] = self.seed_everything
        return {method: build_agent(model, actions) for method, model in models.items()}

    @cached_property
    def tasks(self) -> dict[str, AtariTask]:
        """The games by name."""
        played = {"total_steps": self.steps_per_game, "seed": self.seed_everything}
        return {game: build_task(self.task | played | {"game": game}) for game in self.games}

    def check_names(self) -> None:
        """Raise UserError for games, methods and a reference that are none."""
        names = [find(game).rom_id for game in self.games]
        if not names or len(set(names)) < len(names):
            raise UserError(f"games {', '.join(names) or '[]'}: name at least one, each once")
        if not self.methods:
            raise UserError("methods {}: name at least one")
        reference = self.methods.get(self.reference or "")
        if self.reference and (not reference or reference.task_aware != "agent"):
            raise UserError(
                f"reference {self.reference} is no method that learns each game alone: name one "
                "with task_aware: agent, or null"
            )

    def check(self) -> None:
        """Raise UserError for what would end the sequence later than now."""
        self._check_actions()
        for agent in self.agents.values():
            self.tasks[self.games[0]].attach(agent)
            agent.on_collect_start()  # some read recordings then

    def _check_actions(self) -> None:
        sets = {game: task.envs.action_meanings for game, task in self.tasks.items()}
        one, *others = self.games
        for game in others:
            if sets[game] != sets[one]:
                raise UserError(
                    f"{one} has {len(sets[one])} actions ({', '.join(sets[one])}) and {game} has "
                    f"{len(sets[game])} ({', '.join(sets[game])}): set task.full_actions to true"
                )
