"""The game that an agent learns: environments, protocol and how long."""

from __future__ import annotations

from typing import TYPE_CHECKING

import lightning
from jsonargparse.typing import ClosedUnitInterval, NonNegativeInt, PositiveInt

from atari.command import UserError
from atari.env import Envs
from atari.games import find

if TYPE_CHECKING:
    from agents.agent import Agent
    from agents.experience import Experience

SCREEN = (84, 84)


class Play(lightning.LightningDataModule):
    """A game, played by several environments at once.

    Args:
        game: see `python -m atari ls`.
        envs: environments.
        steps: agent steps in all, over all environments; four frames each.
        stack: screens an agent sees, oldest first.
        sticky: probability that a frame repeats the last frame's action.
        noop_max: an episode starts with up to so many frames of doing nothing.
        life_loss_terminal: a lost life is terminal for learning.
        max_frames: an episode is cut after so many frames.
        clip_rewards: learn from rewards clipped to [-1, 1]; returns are always raw.
        seed: of the environments and of every draw.
    """

    experience: Experience

    def __init__(
        self,
        game: str,
        envs: PositiveInt = 8,
        steps: PositiveInt = 100_000,
        stack: PositiveInt = 4,
        sticky: ClosedUnitInterval = 0.25,
        noop_max: NonNegativeInt = 30,
        life_loss_terminal: bool = False,
        max_frames: PositiveInt = 108_000,
        clip_rewards: bool = True,
        seed: int = 0,
    ):
        super().__init__()
        self.game, self.steps, self.stack = find(game).rom_id, steps, stack
        self.sticky, self.noop_max, self.max_frames = sticky, noop_max, max_frames
        self.clip_rewards, self.seed = clip_rewards, seed
        self.life_loss_terminal = life_loss_terminal
        self.envs = self.start(envs, life_loss_terminal, max_frames, seed)
        self.action_count = self.envs.action_count

    def start(self, envs: int, life_loss_terminal: bool, max_frames: int, seed: int) -> Envs:
        """More environments of this game and protocol."""
        return Envs(
            self.game,
            envs,
            seed=seed,
            stack=self.stack,
            sticky=self.sticky,
            noop_max=self.noop_max,
            life_loss_terminal=life_loss_terminal,
            max_frames=max_frames,
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


def _shape(stack: int, screen: tuple[int, int]) -> str:
    return f"stacks of {stack} screens of {screen[0]}x{screen[1]}"
