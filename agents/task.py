"""The game that an agent learns: environments, protocol and how long."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

import lightning
from jsonargparse.typing import ClosedUnitInterval, NonNegativeInt, PositiveInt

from fovea.atari.env import Envs
from fovea.atari.games import find
from fovea.command import UserError

if TYPE_CHECKING:
    from fovea.agents.algorithms.base import Agent
    from fovea.agents.experience.base import Experience

SCREEN = (84, 84)


class Rules(NamedTuple):
    """How a game is played, in the meanings of `Play`'s settings."""

    sticky: float
    noop_max: int
    life_loss_terminal: bool
    max_frames: int
    episodes: int
    """Of an evaluation that does not say how many."""


PROTOCOLS = {
    # Machado et al. 2018, arXiv 1709.06009: what is random are the actions, games are whole.
    "machado": Rules(0.25, 30, life_loss_terminal=False, max_frames=108_000, episodes=10),
    # Kaiser et al. 2020, arXiv 1903.00374, as the papers after it evaluate.
    "atari_100k": Rules(0.0, 30, life_loss_terminal=True, max_frames=108_000, episodes=100),
}


class Play(lightning.LightningDataModule):
    """A game, played by several environments at once.

    Args:
        game: see `fovea atari ls`.
        envs: environments.
        steps: agent steps in all, over all environments; four frames each.
        stack: screens an agent sees, oldest first.
        protocol: `machado` (sticky actions 0.25, whole games) or `atari_100k` (none, a lost life
            is terminal): stands for the next four settings; those that are given hold instead.
        sticky: probability that a frame repeats the last frame's action.
        noop_max: an episode starts with fewer than so many frames of doing nothing.
        life_loss_terminal: a lost life is terminal for learning.
        max_frames: an episode is cut after so many frames.
        fire_reset: where the game has the button, an episode starts with it pressed once.
        full_actions: all 18 actions of the console, the same in every game, in place of those
            that the game knows.
        clip_rewards: learn from rewards clipped to [-1, 1]; returns are always raw.
        seed: of the environments and of every draw.
    """

    experience: Experience
    folder = Path(".")  # of the run; what is too large for memory lies in it

    def __init__(
        self,
        game: str,
        envs: PositiveInt = 8,
        steps: PositiveInt = 100_000,
        stack: PositiveInt = 4,
        protocol: Literal["machado", "atari_100k"] = "machado",
        sticky: ClosedUnitInterval | None = None,
        noop_max: NonNegativeInt | None = None,
        life_loss_terminal: bool | None = None,
        max_frames: PositiveInt | None = None,
        fire_reset: bool = False,
        full_actions: bool = False,
        clip_rewards: bool = True,
        seed: int = 0,
    ):
        super().__init__()
        self.game, self.steps, self.stack = find(game).rom_id, steps, stack
        self.protocol, self.full_actions = protocol, full_actions
        self.fire_reset = fire_reset
        self.clip_rewards, self.seed = clip_rewards, seed
        given = {
            "sticky": sticky,
            "noop_max": noop_max,
            "life_loss_terminal": life_loss_terminal,
            "max_frames": max_frames,
        }
        own = {name: value for name, value in given.items() if value is not None}
        self.rules = PROTOCOLS[protocol]._replace(**own)
        self.envs = self.start(envs, self.rules.life_loss_terminal, self.rules.max_frames, seed)
        self.action_count = self.envs.action_count

    def start(self, envs: int, life_loss_terminal: bool, max_frames: int, seed: int) -> Envs:
        """More environments of this game and protocol."""
        return Envs(
            self.game,
            envs,
            seed=seed,
            stack=self.stack,
            sticky=self.rules.sticky,
            noop_max=self.rules.noop_max,
            life_loss_terminal=life_loss_terminal,
            fire_reset=self.fire_reset,
            max_frames=max_frames,
            full_actions=self.full_actions,
        )

    def attach(self, agent: Agent) -> None:
        """Make the experience that `agent` learns from.

        Raises UserError where its encoder takes other screens, or its memory is too large.
        """
        encoder = agent.eyes.encoder
        if (encoder.stack, tuple(encoder.screen)) != (self.stack, SCREEN):
            raise UserError(
                f"the encoder takes {_shape(encoder.stack, encoder.screen)} and the game gives "
                f"{_shape(self.stack, SCREEN)}: set data.stack, or take another encoder"
            )
        self.experience = agent.experience(self)

    def train_dataloader(self) -> Experience:
        return self.experience

    def state_dict(self) -> dict:
        return self.experience.state_dict()

    def load_state_dict(self, state: dict) -> None:
        self.experience.load_state_dict(state)


def standardise(agent: Agent, plays: Sequence[Play]) -> None:
    """Put the agent's features on the scale of the games, where it asks for it and has none.

    Args:
        agent: whose features.
        plays: the games, each of which counts alike; `agent` was attached to them.
    """
    if agent.standardise and not agent.eyes.standard.screens:
        each = -(-agent.standardise // len(plays))
        glances = (play.experience.glance(each) for play in plays)
        agent.eyes.measure(chain.from_iterable(glances), each * len(plays))


def _shape(stack: int, screen: tuple[int, int]) -> str:
    return f"stacks of {stack} screens of {screen[0]}x{screen[1]}"
