"""Train an agent without a run folder, such as in a notebook."""

from __future__ import annotations

import lightning

from fovea.agents.algorithms.base import Agent
from fovea.agents.progress import PlayProgress
from fovea.agents.task import AtariTask


def train(agent: Agent, task: AtariTask, **trainer: object) -> lightning.Trainer:
    """Train an agent for all of `task.total_steps`, from its first step on.

    Args:
        agent: whose weights learn, in place.
        task: the game.
        trainer: settings of `lightning.Trainer`, such as `accelerator`, `logger`, or
            `gradient_clip_val` (10 in the configs of DQN, 0.5 in those of PPO). By default nothing
            is written, and a line shows the progress.

    Returns the trainer that was used.

    Raises UserError where the task and the agent do not fit together.
    """
    task.attach(agent)
    agent.prepare([task.experience])
    defaults = {
        "max_steps": task.experience.updates,
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
    }
    given = trainer.pop("callbacks", None) or []
    callbacks = [
        PlayProgress(f"{type(agent).__name__} in {task.game}", task.experience),
        *(given if isinstance(given, list) else [given]),
    ]
    used = lightning.Trainer(**defaults | trainer, callbacks=callbacks)
    used.fit(agent, datamodule=task)
    return used
