"""How fast do agents learn on a frozen encoder, beside an earlier commit and stable-baselines3?

    python -m benchmarks.frozen [--beside CHECKOUT] [--seconds 60] [--rounds 3]

`fovea agents fit` plays Pong on an untrained vit_micro, as the shipped configs do; so does the
checkout of another commit, with its own configs. stable-baselines3 learns from the same encoder's
tokens, side by side, with the head, batch and updates of the way that is named beside it. Every way
runs in a process of its own and takes turns with the others; a rate is the median of the rounds,
without what comes before learning starts.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from statistics import median

import numpy as np
from tqdm import tqdm

from benchmarks.fitting import ROOT
from benchmarks.playing import fit_rate, sb3_rate
from benchmarks.turns import alone, machine
from fovea import command
from fovea.files import write_text
from fovea.tables import markdown

ENCODER, GAME, ENVS, STACK = "random:vit_micro", "pong", 8, 4
STARTS, UPDATE_EVERY, BATCH, HIDDEN, REPLAY = 1600, 2, 64, 256, 20_000
PPO = {"num_steps": 128, "update_epochs": 4, "num_minibatches": 4}

DQN_PLAIN = {"double_q": False, "dueling": False}
DQN_TOKENS = DQN_PLAIN | {"features.kind": "tokens", "features.norm": "none",
                          "value_head": "regression", "n_step": 1}  # fmt: skip


@dataclass(frozen=True)
class Setting:
    seconds: float
    config: str = "dqn_frozen"
    checkout: Path = ROOT
    settings: tuple[tuple[str, object], ...] = ()


def fit(at: Setting) -> float:
    """Agent steps a second of `fovea agents fit`, logs and progress included."""
    settings = {
        **{f"model.init_args.{name}": value for name, value in at.settings},
        "model.init_args.encoder.init_args.encoder": ENCODER,
        "data.game": GAME,
        "data.total_steps": 10**7,
        "checkpoint_every": 10**7,
        "trainer.accelerator": "cpu",
        "trainer.log_every_n_steps": 32,
        "trainer.max_time": time.strftime("00:%H:%M:%S", time.gmtime(at.seconds)),
    }
    if at.config.startswith("dqn"):
        settings["model.init_args.buffer_size"] = REPLAY
    return fit_rate(at.config, settings, at.seconds, at.checkout)


def stable_baselines3(at: Setting) -> float:
    """Agent steps a second of stable-baselines3's DQN or PPO on the tokens of the same encoder."""
    import ale_py
    import gymnasium
    import stable_baselines3
    import torch
    from stable_baselines3.common.env_util import make_atari_env
    from stable_baselines3.common.vec_env import DummyVecEnv, VecEnvWrapper, VecFrameStack

    from fovea.pretrain import load_encoder

    class Tokens(VecEnvWrapper):
        """Environments whose observations are the tokens of their stacks of screens."""

        def __init__(self, envs: VecFrameStack):
            self.encoder = load_encoder(ENCODER)
            size = self.encode(np.zeros((1, 84, 84, STACK), np.uint8)).shape[1]
            super().__init__(envs, gymnasium.spaces.Box(-np.inf, np.inf, (size,), np.float32))

        def encode(self, screens: np.ndarray) -> np.ndarray:
            """(N, F) float32 tokens of screens (N, H, W, stack) uint8."""
            with torch.inference_mode():
                stacks = torch.from_numpy(screens).permute(0, 3, 1, 2)
                return self.encoder(stacks).tokens.flatten(1).numpy()

        def reset(self) -> np.ndarray:
            return self.encode(self.venv.reset())

        def step_wait(self) -> tuple:
            screens, rewards, dones, infos = self.venv.step_wait()
            for info in (infos[k] for k in dones.nonzero()[0]):
                info["terminal_observation"] = self.encode(info["terminal_observation"][None])[0]
            return self.encode(screens), rewards, dones, infos

    gymnasium.register_envs(ale_py)
    rules = {"terminal_on_life_loss": False, "action_repeat_probability": 0.25}
    games = make_atari_env(
        "PongNoFrameskip-v4", ENVS, 0, wrapper_kwargs=rules, vec_env_cls=DummyVecEnv
    )
    envs = Tokens(VecFrameStack(games, n_stack=STACK))
    if at.config.startswith("dqn"):
        agent = stable_baselines3.DQN(
            "MlpPolicy", envs, buffer_size=REPLAY, learning_starts=STARTS, train_freq=1,
            gradient_steps=ENVS // UPDATE_EVERY, batch_size=BATCH, exploration_fraction=1e-6,
            policy_kwargs={"net_arch": [HIDDEN]}, device="cpu",
        )  # fmt: skip
    else:
        agent = stable_baselines3.PPO(
            "MlpPolicy", envs, n_steps=PPO["num_steps"], n_epochs=PPO["update_epochs"],
            batch_size=PPO["num_steps"] * ENVS // PPO["num_minibatches"],
            policy_kwargs={"net_arch": {"pi": [HIDDEN], "vf": [HIDDEN]}}, device="cpu",
        )  # fmt: skip
    return sb3_rate(agent, at.seconds, STARTS)


def ways(at: Setting, beside: Path | None) -> dict[str, dict[str, tuple]]:
    """{table: {way: its function and its setting}}; the first of a table is what ratios are to."""
    plain, tokens = (tuple(how.items()) for how in (DQN_PLAIN, DQN_TOKENS))
    found = {
        "DQN": {
            "dqn_frozen": (fit, at),
            "dqn_frozen, one stream, no double Q": (fit, replace(at, settings=plain)),
        },
        "PPO": {"ppo_frozen": (fit, replace(at, config="ppo_frozen"))},
    }
    if beside:
        for rows in found.values():
            name, (_, own) = next(iter(rows.items()))
            rows[f"{name} of the commit before"] = (fit, replace(own, checkout=beside))
    if find_spec("stable_baselines3"):
        found["DQN"]["tokens as they are, one stream"] = (fit, replace(at, settings=tokens))
        found["DQN"]["stable-baselines3, the same tokens"] = (stable_baselines3, at)
        found["PPO"]["stable-baselines3, the same tokens"] = (
            stable_baselines3, replace(at, config="ppo_frozen"),
        )  # fmt: skip
    else:
        print("stable-baselines3 is not installed (pip install -e '.[bench]'): left out")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        "python -m benchmarks.frozen", description=__doc__.split("\n")[0]
    )
    parser.add_argument("--beside", type=Path, help="a checkout of another commit, beside this one")
    parser.add_argument("--seconds", type=float, default=60, help="of each measurement (60)")
    parser.add_argument("--rounds", type=int, default=3, help="measurements of each (3)")
    parser.add_argument("--out", type=Path, help="write the tables to this Markdown file as well")
    args = parser.parse_args()

    lines = [machine(), ""]
    for title, table in ways(Setting(args.seconds), args.beside).items():
        seen: dict[str, list[float]] = {way: [] for way in table}
        for way in tqdm(list(table) * args.rounds, desc=title, unit="turn"):
            seen[way].append(alone(*table[way])[0])
        first = median(next(iter(seen.values())))
        rows = [
            [way, f"{median(rates):.0f}", f"{median(rates) / first:.2f}",
             ", ".join(f"{rate:.0f}" for rate in rates)]
            for way, rates in seen.items()
        ]  # fmt: skip
        columns = [title, "agent steps/s", "to the first", "each round"]
        lines += [*markdown(columns, rows), ""]
    print("\n".join(lines))
    if args.out:
        write_text(args.out, "\n".join(lines))


if __name__ == "__main__":
    command.main(main)
