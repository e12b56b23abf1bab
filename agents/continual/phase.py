"""One game of a sequence: a resumable fit that starts where the game before it ended."""

from __future__ import annotations

import gc
import itertools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor

from fovea.agents.algorithms.base import Agent
from fovea.agents.experience.base import Experience
from fovea.agents.fit import AgentCLI
from fovea.agents.task import Play
from fovea.pretrain.training.checkpoint import VerifiedCheckpointIO, newest
from fovea.runs import Run

END = ".end.ckpt"  # sorts after the checkpoint of the same step


def ended(folder: Path) -> Path | None:
    """The checkpoint of an agent that has ended this game, or None."""
    path = newest(folder / "checkpoints")
    return path if path and path.name.endswith(END) else None


def weights(end: Path) -> dict[str, Tensor]:
    """The agent's state at the end of a game."""
    return torch.load(end, map_location="cpu", weights_only=True)["state_dict"]


def train(
    settings: dict, folder: Path, begin: Callable[[Agent], None], seen: Sequence[Play] = ()
) -> Path:
    """Learn a game in the run folder `folder`, or what is left of it; the checkpoint of the end.

    Args:
        settings: the config of the fit.
        folder: the run folder.
        begin: gives a new agent what it knows from before.
        seen: games whose scale its features are put on; this one's by default.

    What only going on needs, such as the replay, is dropped once the game has ended.
    """
    if not ended(folder):
        _learn(settings, folder, begin, seen)
        gc.collect()  # the next game's replay may not fit beside this one's
    end = ended(folder)
    for path in end.parent.glob("step-*"):
        if not path.name.startswith(end.name):
            path.unlink()
    run = Run(folder, "agent", "")
    if run.record["state"] != "done":
        played = torch.load(end, weights_only=True, mmap=True)["Play"]["played"]
        run.update(state="done", step=played)
    return end


def _learn(
    settings: dict, folder: Path, begin: Callable[[Agent], None], seen: Sequence[Play]
) -> None:
    cli = AgentCLI(settings | {"run": str(folder)}, begin, seen)
    with cli.stack:
        cli.fit(save=False)
        agent, experience = cli.model, cli.datamodule.experience
        played = experience.played
        experience.fresh = True  # what it saw last may lie on the device that has been given back
        agent.eyes.encoder.remember(_losses(agent, experience))
        agent.eyes.encoder.next_task()
        state = {"state_dict": agent.state_dict(), "Play": {"played": played}}
        path = folder / "checkpoints" / f"step-{cli.trainer.global_step:09d}{END}"
        VerifiedCheckpointIO().save_checkpoint(state, path)


def _losses(agent: Agent, experience: Experience) -> Iterator[Tensor]:
    """The agent's loss of batches that would come next."""
    for update in itertools.count(experience.updates):
        yield torch.stack(list(agent.losses(experience.batch(update)).values())).sum()
