"""An agent's eyes: what the encoder in it became, and what its heads read, for every probe."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from fovea.agents.adaptation.base import Adapted
from fovea.agents.adaptation.pooled import Pooled
from fovea.agents.adaptation.prompts import Prompts
from fovea.agents.algorithms.base import Agent
from fovea.agents.loading import load_agent
from fovea.command import UserError
from fovea.pretrain.encoders import pictures
from fovea.pretrain.encoders.attribution import vit_in
from fovea.pretrain.encoders.encoder import Encoder, Features
from fovea.pretrain.encoders.pictures import Pictures
from fovea.pretrain.encoders.vit import ViT
from fovea.runs import read_run

HEADS = "heads:"
"""Before an agent's run folder: what its heads read, in place of what its encoder gives."""


class OfAgent(Adapted):
    """The encoder that an agent chooses actions by, as adapted.

    Attributes:
        agent: whose it is.
        action_names: of the agent's actions; their numbers where none are given.
    """

    def __init__(self, agent: Agent, action_names: Sequence[str] = ()):
        super().__init__(agent.acting_encoder)
        self.agent = agent
        self.action_names = list(action_names) or list(map(str, range(agent.actions)))
        self.architecture = f"{type(agent).__name__} with {type(self.encoder).__name__}"
        self.model_args: dict = {}


class HeadsOfAgent(Encoder):
    """What an agent's heads read, as a summary: features selected, normalised and reduced.

    There are no tokens: what is read has no places any more.
    """

    grid = None

    def __init__(self, agent: Agent):
        super().__init__()
        self.agent, self.extractor = agent, agent.acting_extractor
        inner = self.extractor.encoder
        self.stack, self.screen = inner.stack, inner.screen
        self.margin, self.input_size = inner.margin, inner.input_size
        self.dim = self.extractor.width
        self.architecture = f"heads of {type(agent).__name__}"
        self.model_args = {}

    def encode(self, pixels: Tensor) -> Features:
        raise UserError(
            "what heads read is computed of whole screens: probe the encoder, without heads: "
            "before it"
        )

    def forward(self, screens: Tensor, blocks=()) -> Features:
        summary = self.extractor.of_screens(screens)[:, : self.dim]
        return Features(summary, summary.new_empty(len(summary), 0, self.dim))


def load(ref: str | Path, seed: int = 0) -> Encoder:
    """What `load_encoder` takes; an agent's run folder, as it is or after "heads:"; or "timm:NAME".

    Raises UserError for what is none of these, for a run folder of an agent without a checkpoint,
    and where timm does not give the weights.
    """
    name = str(ref)
    if name.startswith(HEADS):
        return HeadsOfAgent(load_agent(name.removeprefix(HEADS)).agent)
    record = read_run(name) if Path(name).is_dir() else None
    if record and record.kind == "agent":
        loaded = load_agent(name)
        return OfAgent(loaded.agent, loaded.task.envs.action_meanings)
    return pictures.load(ref, seed)


def vit_of(encoder: Encoder) -> ViT | None:
    """The ViT that an encoder is or is built on, where all its blocks run in each pass."""
    return vit_in(encoder) if isinstance(encoder, ViT | OfAgent | Pictures) else None


def blocks_of(encoder: Encoder) -> ViT | None:
    """The same, where its blocks can be run one by one too.

    None where it takes other screens, and where what is added to the blocks depends on the screens
    or on where a pass began.
    """
    by_passes = any(isinstance(part, Pooled | Prompts | Pictures) for part in encoder.modules())
    return None if by_passes else vit_of(encoder)


def eyes_of(encoder: Encoder) -> OfAgent | None:
    """An encoder, or what it is built around, as that of an agent; None for any other."""
    return next((part for part in encoder.modules() if isinstance(part, OfAgent)), None)


def agent_of(encoder: Encoder) -> Agent | None:
    """The agent whose encoder it is; None for any other."""
    found = eyes_of(encoder)
    return found.agent if found else None
