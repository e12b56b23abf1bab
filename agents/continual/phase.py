"""One game of a sequence: a resumable fit that starts where the previous game ended."""

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
from fovea.agents.task import AtariTask
from fovea.command import UserError
from fovea.pretrain.training.checkpoint import VerifiedCheckpointIO, newest, read, remove_older
from fovea.runs import RunWriter

END = ".end.ckpt"  # sorts after the checkpoint of the same step


def ended(folder: Path) -> Path | None:
    """The checkpoint of an agent that has ended this game, or None."""
    checkpoints = folder / "checkpoints"
    if not any(checkpoints.glob(f"*{END}")):  # by name first: a replay is long to hash
        return None
    path = newest(checkpoints)
    return path if path and path.name.endswith(END) else None


def weights(end: Path) -> dict[str, Tensor]:
    """The agent's state at the end of a game."""
    return read(end)["state_dict"]


def train(
    settings: dict,
    folder: Path,
    begin: Callable[[Agent], None],
    norm_tasks: Sequence[AtariTask] = (),
) -> Path:
    """Learn a game in the run folder `folder`, or what is left of it; the checkpoint of the end.

    Args:
        settings: the config of the fit.
        folder: the run folder.
        begin: gives a new agent what it keeps from the games before.
        norm_tasks: games that its feature norm is fitted to; this one by default.

    What only resuming needs, such as the replay, is deleted once the game has ended.
    """
    end = ended(folder)
    if not end:
        _learn(settings, folder, begin, norm_tasks)
        gc.collect()  # the next game's replay may not fit beside this one's
        end = ended(folder)
        assert end, f"{folder} has learned, and kept no checkpoint of its end"
    remove_older(end.parent, keep=1)
    run = RunWriter(folder, "agent", "")
    if run.record.state != "done":
        played = read(end)["AtariTask"]["played"]
        run.update(state="done", step=played)
    return end


def _learn(
    settings: dict, folder: Path, begin: Callable[[Agent], None], norm_tasks: Sequence[AtariTask]
) -> None:
    cli = AgentCLI(settings | {"run": str(folder)}, begin, norm_tasks)
    with cli.stack:
        if not cli.fit(save=False):
            if cli.done:
                raise UserError(
                    f"{folder} is done, and the checkpoint of its end is damaged or gone: delete "
                    "the folder to learn this game again"
                )
            raise UserError(f"{folder}: {cli.run.record.reason}")  # such as trainer.max_time
        agent, experience = cli.model, cli.datamodule.experience
        played = experience.played
        experience.forget_observations()  # they may lie on the device that the agent has left
        encoder = agent.extractor.encoder
        encoder.on_task_end(_losses(agent, experience))
        encoder.on_task_start()
        state = {"state_dict": agent.state_dict(), "AtariTask": {"played": played}}
        path = folder / "checkpoints" / f"step-{cli.trainer.global_step:09d}{END}"
        VerifiedCheckpointIO().save_checkpoint(state, path)


def _losses(agent: Agent, experience: Experience) -> Iterator[Tensor]:
    """The agent's loss of the batches that would come next."""
    for update in itertools.count(experience.updates):
        losses = agent.losses(experience.batch(update))
        agent.feed_back(experience)
        yield torch.stack(list(losses.values())).sum()
