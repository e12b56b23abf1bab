"""Does the recording loop keep up with the native vector environment?

    python -m benchmarks.collect [GAME ...]

Plays with both in turns on the same cores: `collect.record`, which also reads the console's
memory, in processes, and AtariVectorEnv, which cannot, with as many threads. Agent steps a second,
each the median of the rounds.
"""

from __future__ import annotations

import argparse
import multiprocessing
import time
from statistics import median

import numpy as np
from ale_py.vector_env import AtariVectorEnv

from fovea import command
from fovea.atari.collect import ALE_V5, origin, record
from fovea.atari.games import find

NUM_ENVS = (2, 8, 32)
ENDLESS = 10**9  # steps a shard


def own_rate(game: str, workers: int, seconds: float) -> float:
    """Steps a second of `workers` recording processes, once all of them play."""
    context = multiprocessing.get_context("spawn")
    counters = [context.Value("q", 0) for _ in range(workers)]
    playing = [
        context.Process(target=_record, args=(game, index, counter), daemon=True)
        for index, counter in enumerate(counters)
    ]
    for process in playing:
        process.start()
    while not all(counter.value for counter in counters):
        time.sleep(0.01)
    before, begin = sum(counter.value for counter in counters), time.perf_counter()
    time.sleep(seconds)
    played = sum(counter.value for counter in counters) - before
    rate = played / (time.perf_counter() - begin)
    for process in playing:
        process.kill()
        process.join()
    return rate


def _record(game: str, index: int, counter) -> None:
    def played(steps: int) -> None:
        counter.value += steps

    record(origin(game, ALE_V5, seed=0, shard_steps=ENDLESS), index, played)


def vector_rate(game: str, threads: int, num_envs: int, seconds: float) -> float:
    """Steps a second of AtariVectorEnv under the same settings and policy."""
    envs = AtariVectorEnv(
        game,
        num_envs,
        num_threads=threads,
        repeat_action_probability=ALE_V5.sticky,
        frameskip=ALE_V5.frame_skip,
        noop_max=ALE_V5.noop_max,
        reward_clipping=False,
        use_fire_reset=False,
        autoreset_mode="SameStep",
    )
    rng = np.random.default_rng(0)
    count = len(envs.ale.get_action_set())
    envs.reset(seed=0)
    steps, begin = 0, time.perf_counter()
    while time.perf_counter() < begin + seconds:
        envs.step(rng.integers(count, size=num_envs))
        steps += num_envs
    return steps / (time.perf_counter() - begin)


def main() -> None:
    parser = argparse.ArgumentParser(
        "python -m benchmarks.collect", description=__doc__.split("\n")[0]
    )
    parser.add_argument("games", nargs="*", default=["pong", "breakout", "freeway"], metavar="GAME")
    parser.add_argument("--cores", type=int, default=2, help="processes, and threads (2)")
    parser.add_argument("--seconds", type=float, default=3, help="of each measurement (3)")
    parser.add_argument("--rounds", type=int, default=11, help="measurements of each (11)")
    args = parser.parse_args()

    print(
        f"{'game':<12} {'own loop':>9}  "
        + "".join(f"{f'{n} envs':>9}" for n in NUM_ENVS)
        + "   ratio"
    )
    for game in (find(name).rom_id for name in args.games):
        own, native = [], {num_envs: [] for num_envs in NUM_ENVS}
        for _ in range(args.rounds):
            own.append(own_rate(game, args.cores, args.seconds))
            for num_envs, rates in native.items():
                rates.append(vector_rate(game, args.cores, num_envs, args.seconds))
        rates = [median(rates) for rates in native.values()]
        print(
            f"{game:<12} {median(own):>9.0f}  "
            + "".join(f"{rate:>9.0f}" for rate in rates)
            + f"{median(own) / max(rates):>8.2f}",
            flush=True,
        )


if __name__ == "__main__":
    command.main(main)
