"""A sequence of games and the methods that are compared on it, as a config says them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

from jsonargparse.typing import PositiveInt

from fovea.agents.adaptation.base import Adapted
from fovea.agents.algorithms.base import Agent
from fovea.agents.loading import build
from fovea.agents.task import Play
from fovea.atari.games import find
from fovea.command import UserError


@dataclass
class Method:
    """A way to go through the games.

    Attributes:
        encoder: class_path and init_args of one of the ways to use an encoder.
        per_game: what each game has for itself, and who plays is told which game it is: `nothing`
            (one agent goes through all games), `heads` (new ones for every game, the encoder goes
            through all) or `agent` (each game alone, from the start).
    """

    encoder: dict[str, Any]
    per_game: Literal["nothing", "heads", "agent"] = "nothing"


@dataclass
class Asked(Method):
    """A method as a parser reads it, which is to know the settings of every encoder."""

    encoder: Adapted


@dataclass
class Sequence:
    """What is played.

    Attributes:
        games: in their order, each once.
        steps: agent steps in each game, over all environments.
        methods: what is compared, by name.
        reference: the method, with `per_game: agent`, whose score in a game counts as 1 and whose
            learning the others' is held against; without one the human tester's score counts as 1
            and there is no forward transfer.
        agent: class_path and init_args of the agent, without its encoder.
        play: settings of `task.Play`, without the game and the steps.
        trainer: settings of the trainer.
        checkpoint_every: updates between two checkpoints.
        episodes: of each evaluation, in every game after each game.
        evaluation_envs: environments at once in an evaluation.
        seed_everything: of every draw, in each game anew.
    """

    games: list[str]
    steps: PositiveInt
    methods: dict[str, Method]
    reference: str | None
    agent: dict[str, Any]
    play: dict[str, Any]
    trainer: dict[str, Any]
    checkpoint_every: PositiveInt
    episodes: PositiveInt
    evaluation_envs: PositiveInt
    seed_everything: int = 0

    def settings(self, method: str, game: str) -> dict[str, Any]:
        """The config of `fovea agents fit` with which a method learns a game."""
        encoder = {"encoder": self.methods[method].encoder}
        return {
            "seed_everything": self.seed_everything,
            "model": self.agent | {"init_args": self.agent["init_args"] | encoder},
            "data": self.play | {"game": game, "steps": self.steps},
            "trainer": self.trainer,
            "checkpoint_every": self.checkpoint_every,
        }

    @cached_property
    def agents(self) -> dict[str, Agent]:
        """By method, as they are before they have learned anything."""
        return {method: self._build(method, self.games[0])[0] for method in self.methods}

    @cached_property
    def plays(self) -> dict[str, Play]:
        """The games by name."""
        first = next(iter(self.methods))
        return {game: self._build(first, game)[1] for game in self.games}

    def _build(self, method: str, game: str) -> tuple[Agent, Play]:
        settings = self.settings(method, game)
        settings["model"]["init_args"]["seed"] = settings["data"]["seed"] = self.seed_everything
        return build(settings)

    def check(self) -> None:
        """Raise UserError for what would end the sequence later than now."""
        names = [find(game).rom_id for game in self.games]
        if not names or len(set(names)) < len(names):
            raise UserError(f"games {', '.join(names) or '[]'}: name at least one, each once")
        if not self.methods:
            raise UserError("methods {}: name at least one")
        reference = self.methods.get(self.reference)
        if self.reference and (not reference or reference.per_game != "agent"):
            raise UserError(
                f"reference {self.reference} is no method that learns each game alone: name one "
                "with per_game: agent, or null"
            )
        self._check_actions()
        for agent in self.agents.values():
            self.plays[self.games[0]].attach(agent)
            agent.eyes.encoder.settle()  # some read recordings then

    def _check_actions(self) -> None:
        sets = {game: play.envs.action_meanings for game, play in self.plays.items()}
        one, *others = self.games
        for game in others:
            if sets[game] != sets[one]:
                raise UserError(
                    f"{one} has {len(sets[one])} actions ({', '.join(sets[one])}) and {game} has "
                    f"{len(sets[game])} ({', '.join(sets[game])}): set play.full_actions to true"
                )
