"""`fovea agents speed`: updates a second of DQN, on a frozen encoder and on one that learns."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import torch
import yaml
from torch import Tensor

from fovea.agents.algorithms.base import Agent
from fovea.agents.experience.base import Experience
from fovea.agents.loading import build
from fovea.command import ACCELERATORS, parser
from fovea.configs import locate
from fovea.device import device
from fovea.files import write_json

SPEED = """Measure how many updates a second DQN makes from its replay, of 32 transitions of
Breakout and without playing between them: on a frozen encoder, whose features the replay holds, and
on one that learns.

  fovea agents speed --encoder runs/mine --accelerator gpu"""

GAME, ENVS = "breakout", 8
DQN = {"batch_size": 32, "gamma": 0.99, "lr": 1e-4}
PLAYED = 512
"""Agent steps in the replay that updates are sampled from."""
WARM_UP = 3
WAYS = {"frozen": "fovea.agents.Frozen", "fine-tuned": "fovea.agents.FineTuned"}


def updates_per_second(
    encoder: str, adapted: str, seconds: float, at: torch.device, compiled: bool = False
) -> float:
    """Updates a second of DQN from a replay, without playing.

    Args:
        encoder: what `load_encoder` takes.
        adapted: class path of an adaptation, such as "fovea.agents.Frozen".
        seconds: that are measured, about.
        at: where.
        compiled: compile the losses.
    """
    # So many updates fall between two steps that none is played while the clock runs.
    agent, experience = experienced(
        encoder, adapted, at, learning_starts=PLAYED, train_freq=1e-5, buffer_size=2 * PLAYED
    )
    learnt = [p for p in agent.parameters() if p.requires_grad]
    optimiser = torch.optim.Adam(learnt, lr=1e-4)
    losses: Callable = torch.compile(agent.losses) if compiled else agent.losses

    def update(batch: tuple[Tensor, ...]) -> None:
        loss = torch.stack(list(losses(batch).values())).sum()
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(learnt, 10.0)
        optimiser.step()
        if at.type == "cuda":
            torch.cuda.synchronize()

    batches = iter(experience)
    for _ in range(WARM_UP):
        update(next(batches))
    count, begin = 0, time.perf_counter()
    while time.perf_counter() < begin + seconds:
        update(next(batches))
        count += 1
    return count / (time.perf_counter() - begin)


def experienced(
    encoder: str, adapted: str, at: torch.device, **settings: float
) -> tuple[Agent, Experience]:
    """A DQN on an encoder, and what it learns from, not yet played."""
    config = yaml.safe_load(locate("dqn", "fovea.agents").read_text())
    given = config["model"]["init_args"] | DQN | settings
    given["encoder"] = {"class_path": adapted, "init_args": {"encoder": encoder}}
    data = config["data"] | {
        "game": GAME,
        "num_envs": ENVS,
        "total_steps": int(settings["learning_starts"]) + ENVS,
    }
    agent, task = build({"model": config["model"] | {"init_args": given}, "data": data})
    task.attach(agent.to(at))
    assert task.experience  # of the agent that was attached
    return agent, task.experience


def speed(arguments: list[str]) -> None:
    """Run `fovea agents speed ARGUMENTS`."""
    asked = parser("fovea agents speed", SPEED)
    asked.add_argument(
        "--encoder", default="random:vit_tiny", help="encoder or run folder (random:vit_tiny)"
    )
    asked.add_argument("--seconds", type=float, default=5.0, help="of each measurement (5)")
    asked.add_argument("--accelerator", choices=ACCELERATORS, default="auto", help="(auto)")
    asked.add_argument("--out", type=Path, metavar="FILE", help="JSON file for the numbers")
    args = asked.parse_args(arguments)

    at = device(args.accelerator)
    rates = {}
    for way, adapted in WAYS.items():
        rates[way] = updates_per_second(args.encoder, adapted, args.seconds, at)
        print(f"{way}: {rates[way]:,.1f} updates/s", flush=True)
    if args.out:
        write_json(args.out, {"updates_per_second": rates})
