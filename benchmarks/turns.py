"""Rates of several ways to do one thing, measured in turns.

Every way runs in a process of its own, and one works while all others wait, so that what disturbs
the machine disturbs all alike. A rate is that of all turns together, so what is done now and then,
such as a checkpoint, is in it; a ratio is that of two rates, beside the quartiles of the ratios of
single rounds. Memory is the most that the process held, and the most it had allocated on a device.
"""

from __future__ import annotations

import multiprocessing
import platform
import resource
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from fovea.pretrain.training.malloc import keep_freed

WARM_UP = 3  # steps before the first turn


@dataclass(frozen=True)
class Way:
    """Something that takes turns.

    Args:
        play: takes a setting and a pipe: see `take_turns`.
        to: the way that its ratio is to.
        differs: fields of its setting that are not those of all.
    """

    play: Callable[[Any, Connection], None]
    to: str | None = None
    differs: dict = field(default_factory=dict)


def take_turns(pipe: Connection, turn: Callable[[int], float]) -> None:
    """Do as many steps as the pipe says and say how many seconds they took, until it says none.

    The first turn is a warm-up of WARM_UP steps, which nobody asks for.
    """
    pipe.send(turn(WARM_UP))
    while steps := pipe.recv():
        pipe.send(turn(steps))


def timed(step: Callable[[], None], steps: int, device: str) -> float:
    """The seconds of so many steps."""
    begin = clock(device)
    for _ in range(steps):
        step()
    return clock(device) - begin


def clock(device: str) -> float:
    """Seconds, once the device has done all it was given."""
    wait(device)
    return time.perf_counter()


def wait(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def alone(measure: Callable, setting: Any) -> tuple[object, float, float]:
    """What `measure` returns in a process of its own, and the GiB it held there and on the device.

    For what cannot be held still between turns.
    """
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(_measured, measure, setting).result()


def _measured(measure: Callable, setting: Any) -> tuple[object, float, float]:
    return measure(setting), *_memory()


def compare(
    title: str, ways: dict[str, Way], setting: Any, rounds: int, seconds: float
) -> dict[str, dict]:
    """{way: steps a turn, seconds of each turn, GiB held, GiB of the device}.

    A turn takes each way about so many `seconds`.
    """
    context = multiprocessing.get_context("spawn")
    found: dict[str, dict] = {}
    pipes: dict[str, Connection] = {}
    with ExitStack() as stack:
        for name, way in tqdm(ways.items(), desc=f"{title}: start", unit=" ways"):
            pipes[name], theirs = context.Pipe()
            own = replace(setting, **way.differs)
            process = context.Process(target=_play, args=(way.play, own, theirs))
            process.start()
            stack.callback(process.join)
            stack.callback(process.kill)
            theirs.close()
            pipes[name].recv()
            pipes[name].send(WARM_UP)
            steps = max(2, round(seconds * WARM_UP / pipes[name].recv()))
            found[name] = {"steps": steps, "seconds": []}
        turns = [name for _ in range(rounds) for name in ways]
        for name in tqdm(turns, desc=f"{title}: measure", unit=" turns"):
            pipes[name].send(found[name]["steps"])
            found[name]["seconds"].append(pipes[name].recv())
        for name, pipe in pipes.items():
            pipe.send(0)
            found[name]["GiB"], found[name]["device GiB"] = pipe.recv()
    return found


def _play(play: Callable, setting: Any, pipe: Connection) -> None:
    keep_freed()  # as the commands do, for every way alike
    play(setting, pipe)
    pipe.send(_memory())


def _memory() -> tuple[float, float]:
    """The most GiB that this process held, and the most it had allocated on a device."""
    held = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    device = torch.cuda.max_memory_allocated() / 2**30 if torch.cuda.is_initialized() else 0.0
    return held, device


def cost(found: dict) -> float:
    """Seconds a step."""
    return sum(found["seconds"]) / len(found["seconds"]) / found["steps"]


def ratio(ours: dict, theirs: dict) -> str:
    """How many times the rate of theirs ours is, and the quartiles over rounds."""
    per_step = [[s / one["steps"] for s in one["seconds"]] for one in (theirs, ours)]
    low, high = np.quantile(np.divide(*per_step), [0.25, 0.75])
    return f"{cost(theirs) / cost(ours):.3f} ({low:.3f} to {high:.3f})"


def machine() -> str:
    """What the numbers are measured on."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.partition(": ")[2] for line in lines if line.startswith("model name")]
    cpu = names[0] if names else platform.machine()
    gpu = f", {torch.cuda.get_device_name()}" if torch.cuda.is_available() else ""
    return f"{cpu}, {torch.get_num_threads()} threads{gpu}, torch {torch.__version__}"
