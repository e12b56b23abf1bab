"""How fast do agents play and learn, beside stable-baselines3 and beside the bare emulator?

    python -m benchmarks.agents [--accelerator cuda] [--seconds 20] [--rounds 3]

Every way runs in a process of its own and takes turns with the others; a rate is the median of the
rounds. DQN and PPO play Breakout with the Nature CNN under the same settings as
stable-baselines3's, whose games run in one process or in several. Memory is what a DQN holds once
its replay is full of steps that were really played.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from statistics import median

import numpy as np
import torch
from ale_py.vector_env import AtariVectorEnv
from tqdm import tqdm

from benchmarks.playing import fit_rate, sb3_rate
from benchmarks.turns import alone
from fovea import command
from fovea.agents.speed import DQN, ENVS, GAME, experienced, updates_per_second
from fovea.atari.env import Envs
from fovea.files import write_text
from fovea.tables import markdown

STICKY, NOOPS = 0.25, 30
WARM_UP = 1000  # agent steps before the clock starts
REPLAY = 50_000
PPO = {"num_steps": 128, "update_epochs": 4, "num_minibatches": 4, "clip_coef": 0.1,
       "ent_coef": 0.01, "vf_coef": 0.5, "gamma": 0.99, "gae_lambda": 0.95, "lr": 2.5e-4,
       "adam_eps": 1e-5}  # fmt: skip
UPDATE_EVERY = 4  # agent steps between two updates of DQN


@dataclass(frozen=True)
class Setting:
    device: str
    seconds: float
    agent: str = "dqn"
    encoder: str = "random:vit_tiny"
    adapted: str = "fovea.agents.Frozen"
    compiled: bool = False
    steps: int = 0


def fit(at: Setting) -> float:
    """Agent steps a second of `fovea agents fit`, warm-up, logs and progress included."""
    own = {
        "dqn": {**DQN, "double_q": False, "n_step": 1, "buffer_size": REPLAY,
                "learning_starts": WARM_UP, "train_freq": UPDATE_EVERY, "epsilon_steps": 1},
        "ppo": PPO,
    }[at.agent]  # fmt: skip
    settings = {
        **{f"model.init_args.{name}": value for name, value in own.items()},
        "model.init_args.features.kind": "tokens",
        "model.init_args.encoder.init_args.encoder": "random:nature_cnn_orthogonal",
        "data.game": GAME, "data.num_envs": ENVS, "data.sticky": STICKY, "data.noop_max": NOOPS,
        "data.total_steps": 10**8, "checkpoint_every": 10**8, "trainer.log_every_n_steps": 16,
        "trainer.accelerator": "gpu" if at.device == "cuda" else "cpu",
        "trainer.max_time": time.strftime("00:%H:%M:%S", time.gmtime(at.seconds + 5)),
    }  # fmt: skip
    return fit_rate(at.agent, settings, at.seconds)


def sb3_together(at: Setting) -> float:
    """Agent steps a second of stable-baselines3, its games in its own process."""
    from stable_baselines3.common.vec_env import DummyVecEnv

    return _sb3(at, DummyVecEnv)


def sb3_apart(at: Setting) -> float:
    """The same with a process for each game."""
    from stable_baselines3.common.vec_env import SubprocVecEnv

    return _sb3(at, SubprocVecEnv)


def _sb3(at: Setting, games: type) -> float:
    import ale_py
    import gymnasium
    import stable_baselines3
    from stable_baselines3.common.env_util import make_atari_env
    from stable_baselines3.common.vec_env import VecFrameStack

    gymnasium.register_envs(ale_py)
    rules = {"terminal_on_life_loss": False, "noop_max": NOOPS, "action_repeat_probability": STICKY}
    envs = VecFrameStack(
        make_atari_env("BreakoutNoFrameskip-v4", ENVS, 0, wrapper_kwargs=rules, vec_env_cls=games),
        n_stack=4,
    )
    if at.agent == "dqn":
        agent = stable_baselines3.DQN(
            "CnnPolicy", envs, buffer_size=REPLAY, learning_starts=WARM_UP, train_freq=1,
            gradient_steps=ENVS // UPDATE_EVERY, batch_size=DQN["batch_size"], gamma=DQN["gamma"],
            learning_rate=DQN["lr"], exploration_fraction=1e-6, exploration_final_eps=0.01,
            target_update_interval=10_000, device=at.device,
        )  # fmt: skip
    else:
        agent = stable_baselines3.PPO(
            "CnnPolicy", envs, n_steps=PPO["num_steps"], n_epochs=PPO["update_epochs"],
            batch_size=PPO["num_steps"] * ENVS // PPO["num_minibatches"],
            clip_range=PPO["clip_coef"], clip_range_vf=PPO["clip_coef"], ent_coef=PPO["ent_coef"],
            vf_coef=PPO["vf_coef"], gamma=PPO["gamma"], gae_lambda=PPO["gae_lambda"],
            learning_rate=PPO["lr"], device=at.device,
        )  # fmt: skip
    return sb3_rate(agent, at.seconds, WARM_UP)


def own_envs(at: Setting) -> float:
    """Agent steps a second of the environments alone, with their accounts of episodes."""
    envs = Envs(GAME, ENVS, seed=0, sticky=STICKY, noop_max=NOOPS)
    return _played(envs.step, envs.action_count, at)


def raw_envs(at: Setting) -> float:
    """The same of the native vector environment without anything around it."""
    envs = AtariVectorEnv(
        GAME, ENVS, repeat_action_probability=STICKY, noop_max=NOOPS, reward_clipping=False,
        use_fire_reset=False, autoreset_mode="SameStep",
    )  # fmt: skip
    envs.reset(seed=0)
    return _played(envs.step, len(envs.ale.get_action_set()), at)


def _played(step: Callable[[np.ndarray], object], count: int, at: Setting) -> float:
    rng = np.random.default_rng(0)
    steps, begin = 0, time.perf_counter()
    while time.perf_counter() < begin + at.seconds:
        step(rng.integers(count, size=ENVS))
        steps += ENVS
    return steps / (time.perf_counter() - begin)


def updates(at: Setting) -> float:
    """Updates a second of DQN from a replay, without playing."""
    return updates_per_second(
        at.encoder, at.adapted, at.seconds, torch.device(at.device), at.compiled
    )


def memory(at: Setting) -> float:
    """GB held once a replay of `at.steps` steps is full."""
    _, experience = experienced(
        at.encoder, at.adapted, torch.device(at.device),
        learning_starts=at.steps, train_freq=1, buffer_size=at.steps,
    )  # fmt: skip
    while experience.played < at.steps:
        experience.advance()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e9


# What each part compares: the way's function, and where its setting differs from the command's.
PLAYING = {
    "fit": fit,
    "stable-baselines3, one process": sb3_together,
    "stable-baselines3, a process a game": sb3_apart,
}
ENVIRONMENTS = {"native, nothing around it": (raw_envs, {}), "ours": (own_envs, {})}
TUNED = {"adapted": "fovea.agents.FineTuned"}
LEARNING = {
    "fine-tuned": (updates, TUNED),
    "frozen": (updates, {}),
    "fine-tuned, compiled": (updates, TUNED | {"compiled": True}),
    "frozen, compiled": (updates, {"compiled": True}),
}


def turns(at: Setting, ways: dict[str, tuple], rounds: int, title: str) -> dict[str, tuple]:
    """Each way's median rate and the most GiB it held, all of them in turns."""
    found: dict[str, list[tuple]] = {way: [] for way in ways}
    for way in tqdm(list(ways) * rounds, desc=title, unit="turn"):
        function, changes = ways[way]
        found[way].append(alone(function, replace(at, **changes)))
    return {
        way: (median(rate for rate, *_ in seen), max(held for _, held, *_ in seen))
        for way, seen in found.items()
    }


def playing(at: Setting, rounds: int) -> list[str]:
    rows = []
    installed = find_spec("stable_baselines3")
    if not installed:
        print("stable-baselines3 is not installed (pip install -e '.[bench]'): left out")
    for agent in ("dqn", "ppo"):
        ways = {
            name: (way, {"agent": agent})
            for name, way in PLAYING.items()
            if name == "fit" or installed
        }
        rates = {name: rate for name, (rate, _) in turns(at, ways, rounds, agent).items()}
        theirs = max((rate for name, rate in rates.items() if name != "fit"), default=np.nan)
        rows += [
            [agent.upper(), name, f"{rate:.0f}", f"{rate / theirs:.2f}"]
            for name, rate in rates.items()
        ]
    columns = ["agent", "way", "agent steps/s", "to the faster of stable-baselines3's"]
    return markdown(columns, rows)


def environments(at: Setting, rounds: int) -> list[str]:
    found = turns(at, ENVIRONMENTS, rounds, "environments")
    native = found["native, nothing around it"][0]
    return markdown(
        ["environments", "agent steps/s", "to the native ones"],
        [[name, f"{rate:.0f}", f"{rate / native:.2f}"] for name, (rate, _) in found.items()],
    )


def learning(at: Setting, rounds: int) -> list[str]:
    found = turns(at, LEARNING, rounds, "updates")
    plain = found["fine-tuned"][0]
    return markdown(
        [f"DQN on {at.encoder}", "updates/s", "to fine-tuned", "GiB"],
        [
            [name, f"{rate:.1f}", f"{rate / plain:.1f}", f"{held:.2f}"]
            for name, (rate, held) in found.items()
        ],
    )


def remembering(at: Setting, rounds: int) -> list[str]:
    own = replace(at, encoder="random:nature_cnn", **TUNED)
    sizes = [at.steps * quarters // 4 for quarters in (1, 2, 4)]
    held = [alone(memory, replace(own, steps=steps))[0] for steps in tqdm(sizes, unit="replay")]
    slope, base = np.polyfit(sizes, held, 1)
    told = f"1,000,000, at the measured {1e9 * slope:,.0f} bytes a step"
    rows = [[f"{steps:,}", f"{each:.2f}"] for steps, each in zip(sizes, held, strict=True)]
    return markdown(
        ["steps in the replay", "GB held"], [*rows, [told, f"{base + 1e6 * slope:.2f}"]]
    )


PARTS = {
    "playing": playing,
    "environments": environments,
    "learning": learning,
    "remembering": remembering,
}


def main() -> None:
    parser = argparse.ArgumentParser(
        "python -m benchmarks.agents", description=__doc__.split("\n")[0]
    )
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS), help="(all)")
    parser.add_argument("--accelerator", choices=("cpu", "cuda"), default="cpu", help="(cpu)")
    parser.add_argument("--encoder", default="random:vit_tiny", help="that learns (a ViT-Ti/14)")
    parser.add_argument("--seconds", type=float, default=20, help="of each measurement (20)")
    parser.add_argument("--rounds", type=int, default=3, help="measurements of each (3)")
    parser.add_argument("--steps", type=int, default=100_000, help="held in memory (100000)")
    parser.add_argument("--out", type=Path, help="write the tables to this Markdown file as well")
    args = parser.parse_args()

    at = Setting(args.accelerator, args.seconds, encoder=args.encoder, steps=args.steps)
    tables = []
    for part in args.parts:
        tables.append("\n".join(PARTS[part](at, args.rounds)) + "\n")
        print(tables[-1], flush=True)
    if args.out:
        write_text(args.out, "\n".join(tables))


if __name__ == "__main__":
    command.main(main)
