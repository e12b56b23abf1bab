"""How well a method plays all games of its sequence after each of them."""

from __future__ import annotations

import json
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from torch import Tensor

from fovea.agents.algorithms.base import Agent
from fovea.agents.continual.phase import weights
from fovea.agents.continual.sequence import TaskSequence
from fovea.agents.evaluation import SEED, play_episodes, quotas
from fovea.agents.networks.feature_extractor import FeatureExtractor
from fovea.device import device
from fovea.files import write_json
from fovea.schema import count_cut

FILE = "scores.json"


class Source(NamedTuple):
    """After which game (counted from 0) the two parts of an agent that is evaluated were saved.

    None: before all games.
    """

    extractor: int | None
    heads: int | None


def source(task_aware: str, after: int, game: int) -> Source:
    """Which parts play game number `game` after game number `after` has been learned."""
    own = game if game <= after else None
    return {
        "none": Source(after, after),
        "heads": Source(after, own),
        "agent": Source(own, own),
    }[task_aware]


class Scores:
    """The evaluations of a method: each is played once, and from then on stored in a file.

    Args:
        folder: of the sequence's run.
        sequence: the games and methods.
        method: which of them.
    """

    def __init__(self, folder: Path, sequence: TaskSequence, method: str):
        self.path, self.sequence, self.method = folder / method / FILE, sequence, method
        held = self.path.read_text(encoding="utf-8") if self.path.exists() else "[]"
        self.cells: list[dict] = json.loads(held)

    def returns(self, after: int, game: int) -> list[float] | None:
        """Raw returns of the episodes in `game` after `after`; None where not yet played."""
        who = self._who(after, game)
        found = [cell["returns"] for cell in self.cells if who.items() <= cell.items()]
        return found[0] if found else None

    def cut(self, game: int) -> int:
        """How many episodes in `game` were cut so far, whose returns are of parts of games."""
        name = self.sequence.games[game]
        task = self.sequence.tasks[name]
        limit, skip = task.env_settings.max_frames, task.frame_skip
        cells = [cell.get("lengths", []) for cell in self.cells if cell["game"] == name]
        return sum(count_cut(lengths, limit, skip) for lengths in cells)

    def play(self, after: int, ends: list[Path]) -> None:
        """Evaluate in all games after game number `after`; `ends` are the checkpoints so far."""
        for game, name in enumerate(self.sequence.games):
            if self.returns(after, game) is None:
                who = self._who(after, game)
                returns, lengths = self._evaluate(
                    Source(who["extractor"], who["heads"]), name, ends
                )
                self.cells.append(who | {"returns": returns, "lengths": lengths})
                write_json(self.path, self.cells)

    @cached_property
    def _new(self) -> dict[str, Tensor]:
        """The state of an agent that has learned nothing."""
        state = self.sequence.agents[self.method].state_dict()
        return {key: value.clone() for key, value in state.items()}

    def _who(self, after: int, game: int) -> dict:
        task_aware = self.sequence.methods[self.method].task_aware
        name = self.sequence.games[game]
        return source(task_aware, after, game)._asdict() | {"game": name}

    def _evaluate(self, parts: Source, game: str, ends: list[Path]) -> tuple[list, list]:
        new = self._new  # before anything is loaded into the agent
        agent, task = self.sequence.agents[self.method], self.sequence.tasks[game]
        held = {part: new if part is None else weights(ends[part]) for part in set(parts)}
        agent.load_state_dict(joined(agent, held[parts.extractor], held[parts.heads]))
        agent.eval().to(device())
        count = min(self.sequence.evaluation_envs, self.sequence.episodes)
        return play_episodes(
            agent,
            task.make_envs(count, False, task.env_settings.max_frames, SEED),
            quotas(self.sequence.episodes, count),
            seed=SEED,
            title=f"{self.method} evaluated in {game}",
        )


def joined(
    agent: Agent, extractor: dict[str, Tensor], heads: dict[str, Tensor]
) -> dict[str, Tensor]:
    """The state of such an agent with the feature extractor of one and all else of another.

    The feature norm goes with the heads: a game has its own.
    """
    state = dict(heads)
    for name, module in agent.named_modules(remove_duplicate=False):  # a target network has one too
        if isinstance(module, FeatureExtractor):
            norm = f"{name}.norm."
            keys = {key for key in heads if key.startswith(f"{name}.")}
            state |= {key: extractor[key] for key in keys if not key.startswith(norm)}
    return state
