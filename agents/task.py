"""The game that an agent learns: environments, protocol and how long."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

import lightning
from jsonargparse.typing import ClosedUnitInterval, NonNegativeInt, PositiveInt

from fovea.agents.curriculum import Curriculum, Earlier, Way
from fovea.agents.disturbances import environment
from fovea.agents.experience.base import Experience
from fovea.atari.emulator import SCREEN
from fovea.atari.env import Envs, curriculum_state
from fovea.atari.games import find
from fovea.command import UserError
from fovea.disturbances import Disturbance
from fovea.old_names import read_config
from fovea.pretrain.training.checkpoint import newest, read

if TYPE_CHECKING:
    from fovea.agents.algorithms.base import Agent


class EnvSettings(NamedTuple):
    """How a game is played; the fields mean what `AtariTask`'s settings of the same names do."""

    sticky: float
    noop_max: int
    life_loss_terminal: bool
    max_frames: int
    episodes: int
    """Of an evaluation that names no number."""


PROTOCOLS = {
    # Machado et al. 2018, arXiv 1709.06009: randomness by sticky actions, games are whole.
    "machado": EnvSettings(0.25, 30, life_loss_terminal=False, max_frames=108_000, episodes=10),
    # Kaiser et al. 2020, arXiv 1903.00374, as the papers after it evaluate.
    "atari_100k": EnvSettings(0.0, 30, life_loss_terminal=True, max_frames=108_000, episodes=100),
}


class AtariTask(lightning.LightningDataModule):
    """A game, played in several environments at once.

    It is an `experience.base.Task`, and Lightning's data module of an agent.

    Args:
        game: see `fovea atari ls`.
        num_envs: number of environments.
        total_steps: agent steps in all, over all environments; four frames each.
        stack: screens in an observation, oldest first.
        protocol: `machado` (sticky actions 0.25, whole games) or `atari_100k` (not sticky, a lost
            life is terminal): gives the next four settings, where they are not given themselves.
        sticky: probability that a frame repeats the last frame's action.
        noop_max: an episode starts with fewer than so many frames of doing nothing.
        life_loss_terminal: a lost life is terminal for learning.
        max_frames: an episode is cut off after so many frames.
        fire_reset: where the game has a fire button, an episode starts with it pressed once.
        full_actions: all 18 actions of the console, the same in every game, in place of the game's
            own.
        frame_skip: frames an action is held for.
        mode: variant of the game that its cartridge offers, by ALE's number; None for the default.
        difficulty: position of the difficulty switch, by ALE's number; None for the default.
        disturbances: such as [render:0], [noise:2, sticky:0.5]; what the agent learns under, and is
            not evaluated under (see `agents.disturbances`).
        contexts: variants of the game that its episodes are played in, each with one setting of its
            own, such as [sticky:0, sticky:0.5, difficulty:1]; evaluations are of the game itself.
        curriculum: how the context of an episode is chosen: `alp` (by absolute learning progress),
            `uniform`, `round_robin` (see `agents.curriculum`).
        curriculum_from: run folders of earlier agents that learnt in the same contexts; the
            curriculum of the nearest is followed beside (AGAIN).
        clip_rewards: learn from rewards clipped to [-1, 1]; returns are always raw.
        strict: refuse recordings that were played with different settings, or otherwise than the
            game is played here.
        seed: of the environments and of every random draw.

    Attributes:
        action_count: size of the action set.
        experience: what the agent learns from that it is attached to.
        folder: of the run; what is too large for memory lies in it.
        left_out: entries of the experience's state that checkpoints are not to hold.
    """

    experience: Experience
    folder = Path(".")
    left_out: tuple[str, ...] = ()

    def __init__(
        self,
        game: str,
        num_envs: PositiveInt = 8,
        total_steps: PositiveInt = 100_000,
        stack: PositiveInt = 4,
        protocol: Literal["machado", "atari_100k"] = "machado",
        sticky: ClosedUnitInterval | None = None,
        noop_max: NonNegativeInt | None = None,
        life_loss_terminal: bool | None = None,
        max_frames: PositiveInt | None = None,
        fire_reset: bool = False,
        full_actions: bool = False,
        frame_skip: PositiveInt = 4,
        mode: NonNegativeInt | None = None,
        difficulty: NonNegativeInt | None = None,
        disturbances: list[str] | None = None,
        contexts: list[str] | None = None,
        curriculum: Way = "alp",
        curriculum_from: list[str] | str | None = None,
        clip_rewards: bool = True,
        strict: bool = False,
        seed: NonNegativeInt = 0,
    ):
        super().__init__()
        self.frame_skip, self.mode, self.difficulty = frame_skip, mode, difficulty
        self.disturbances = [Disturbance.read(each) for each in disturbances or ()]
        self.contexts = [Disturbance.read(each) for each in contexts or ()]
        self.curriculum = curriculum
        self.curriculum_from = (
            [curriculum_from] if isinstance(curriculum_from, str) else curriculum_from
        )
        self.game, self.total_steps, self.stack = find(game).rom_id, total_steps, stack
        self.protocol, self.full_actions = protocol, full_actions
        self.fire_reset = fire_reset
        self.clip_rewards, self.strict, self.seed = clip_rewards, strict, seed
        given = {
            "sticky": sticky,
            "noop_max": noop_max,
            "life_loss_terminal": life_loss_terminal,
            "max_frames": max_frames,
        }
        own = {name: value for name, value in given.items() if value is not None}
        self.env_settings = PROTOCOLS[protocol]._replace(**own)
        self.envs = self.make_envs(
            num_envs,
            self.life_loss_terminal,
            self.env_settings.max_frames,
            seed,
            self.disturbances,
            self.make_curriculum(),
        )
        self.action_count = self.envs.action_count

    @property
    def life_loss_terminal(self) -> bool:
        """Whether a lost life is terminal for learning."""
        return self.env_settings.life_loss_terminal

    @property
    def settings(self) -> dict[str, object]:
        """How the game is played, of what recordings say too and decides what is learnt."""
        return {
            "sticky": self.env_settings.sticky,
            "frame_skip": self.frame_skip,
            "mode": self.mode,
            "difficulty": self.difficulty,
        }

    def make_envs(
        self,
        num_envs: int,
        life_loss_terminal: bool,
        max_frames: int,
        seed: int,
        disturbances: Sequence[Disturbance] = (),
        contexts: Curriculum | None = None,
    ) -> Envs:
        """More environments of this game and protocol, disturbed or not."""
        settings = {
            "stack": self.stack,
            "sticky": self.env_settings.sticky,
            "noop_max": self.env_settings.noop_max,
            "life_loss_terminal": life_loss_terminal,
            "fire_reset": self.fire_reset,
            "max_frames": max_frames,
            "full_actions": self.full_actions,
            "frame_skip": self.frame_skip,
            "mode": self.mode,
            "difficulty": self.difficulty,
            "contexts": contexts,
        }
        return Envs(self.game, num_envs, seed=seed, **settings | environment(disturbances, seed))

    def make_curriculum(self) -> Curriculum | None:
        """What chooses the contexts of episodes; None where there is one game alone.

        Raises UserError for contexts that are no settings of the game, and for earlier runs
        without these contexts.
        """
        if not self.contexts:
            return None
        names = [str(one) for one in self.contexts]
        for one in self.contexts:
            if one.name not in ("sticky", "frame_skip", "mode", "difficulty"):
                raise UserError(
                    f"contexts {names}: {one} changes screens, and contexts are of sticky, "
                    "frame_skip, mode and difficulty"
                )
            self.make_envs(1, False, 4, 0, [one])  # refuses what the game has not
        game = find(self.game)
        earlier = [earlier_curriculum(Path(run), names) for run in self.curriculum_from or ()]
        settings = [{one.name: one.number} for one in self.contexts]
        return Curriculum(settings, self.curriculum, game.random, game.human, earlier)

    def attach(self, agent: Agent) -> None:
        """Make the experience that `agent` learns from, from its first step on.

        Raises UserError where its encoder takes other screens, or its replay is too large.
        """
        encoder = agent.extractor.encoder
        if (encoder.stack, tuple(encoder.screen)) != (self.stack, SCREEN):
            raise UserError(
                f"the encoder takes {_shape(encoder.stack, encoder.screen)} and the game gives "
                f"{_shape(self.stack, SCREEN)}: set data.stack, or take another encoder"
            )
        self.experience = agent.make_experience(self)

    def setup(self, stage: str) -> None:
        """Attach the agent that a plain `lightning.Trainer` is given."""
        agent = self.trainer.lightning_module
        if not hasattr(self, "experience") or self.experience.agent is not agent:
            self.attach(agent)
            agent.prepare([self.experience])

    def train_dataloader(self) -> Experience:
        return self.experience

    def state_dict(self) -> dict:
        state = self.experience.state_dict()
        return {name: part for name, part in state.items() if name not in self.left_out}

    def load_state_dict(self, state: dict) -> None:
        self.experience.load_state_dict(state)


def earlier_curriculum(run: Path, contexts: list[str]) -> Earlier:
    """What a run left of its curriculum. Raises UserError where it had none, or other contexts."""
    config = read_config(run)["data"] if (run / "config.yaml").exists() else {}
    checkpoint = newest(run / "checkpoints")
    if config.get("contexts") != contexts or not checkpoint:
        raise UserError(
            f"curriculum_from {run} holds no agent that learnt in the contexts {contexts}: give "
            "one of the same, in the same order"
        )
    envs = read(checkpoint)["AtariTask"]["envs"]
    state = curriculum_state({name: array.numpy() for name, array in envs.items()})
    return Curriculum.of_state(state)


def _shape(stack: int, screen: tuple[int, int]) -> str:
    return f"stacks of {stack} screens of {screen[0]}x{screen[1]}"
