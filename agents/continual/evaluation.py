"""How well a method plays every game of its sequence after each of them."""

from __future__ import annotations

import json
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from torch import Tensor

from fovea.agents.algorithms.base import Agent
from fovea.agents.continual.phase import weights
from fovea.agents.continual.sequence import Sequence
from fovea.agents.evaluate import play_episodes, quotas
from fovea.agents.networks.feature_extractor import Eyes
from fovea.device import device
from fovea.files import write_json

FILE = "scores.json"
SEED = 1000  # of evaluations; the same for all, so that agents are compared in the same games


class Source(NamedTuple):
    """After which game (counted from 0) the parts of an agent that plays are as they are.

    None: as before all games.
    """

    eyes: int | None
    heads: int | None


def source(per_game: str, after: int, game: int) -> Source:
    """Who plays game number `game` after number `after` has been learned."""
    own = game if game <= after else None
    return {
        "nothing": Source(after, after),
        "heads": Source(after, own),
        "agent": Source(own, own),
    }[per_game]


class Scores:
    """The evaluations of a method: played once each, and held in a file from then on.

    Args:
        folder: of the sequence's run.
        sequence, method: who plays what.
    """

    def __init__(self, folder: Path, sequence: Sequence, method: str):
        self.path, self.sequence, self.method = folder / method / FILE, sequence, method
        held = self.path.read_text(encoding="utf-8") if self.path.exists() else "[]"
        self.cells: list[dict] = json.loads(held)

    def returns(self, after: int, game: int) -> list[float] | None:
        """Raw returns of the episodes in `game` after `after`; None where not yet played."""
        who = self._who(after, game)
        found = [cell["returns"] for cell in self.cells if who.items() <= cell.items()]
        return found[0] if found else None

    def play(self, after: int, ends: list[Path]) -> None:
        """Evaluate in all games after game number `after`; `ends` are the checkpoints so far."""
        for game, name in enumerate(self.sequence.games):
            if self.returns(after, game) is None:
                who = self._who(after, game)
                returns, lengths = self._evaluate(Source(who["eyes"], who["heads"]), name, ends)
                self.cells.append(who | {"returns": returns, "lengths": lengths})
                write_json(self.path, self.cells)

    @cached_property
    def _new(self) -> dict[str, Tensor]:
        """The state of an agent that has learned nothing."""
        state = self.sequence.agents[self.method].state_dict()
        return {key: value.clone() for key, value in state.items()}

    def _who(self, after: int, game: int) -> dict:
        per_game = self.sequence.methods[self.method].per_game
        name = self.sequence.games[game]
        return source(per_game, after, game)._asdict() | {"game": name}

    def _evaluate(self, parts: Source, game: str, ends: list[Path]) -> tuple[list, list]:
        new = self._new  # before anything is loaded into the agent
        agent, play = self.sequence.agents[self.method], self.sequence.plays[game]
        states = [new if part is None else weights(ends[part]) for part in parts]
        agent.load_state_dict(joined(agent, *states))
        agent.eval().to(device())
        count = min(self.sequence.evaluation_envs, self.sequence.episodes)
        return play_episodes(
            agent,
            play.start(count, False, play.rules.max_frames, SEED),
            quotas(self.sequence.episodes, count),
            seed=SEED,
            title=f"{self.method} evaluated in {game}",
            filmed=[],
            most=0,
        )


def joined(agent: Agent, eyes: dict[str, Tensor], heads: dict[str, Tensor]) -> dict[str, Tensor]:
    """The state of such an agent with the eyes of one and all else of another.

    The scale of features is the heads': a game has its own.
    """
    state = dict(heads)
    for name, module in agent.named_modules(remove_duplicate=False):  # a target has eyes too
        if isinstance(module, Eyes):
            scale = f"{name}.standard."
            seen = {key for key in heads if key.startswith(f"{name}.")}
            state |= {key: eyes[key] for key in seen if not key.startswith(scale)}
    return state
