"""Recordings that trained agents play, weak to strong."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import cache, partial
from importlib.metadata import version
from itertools import chain, count, product
from pathlib import Path
from typing import NamedTuple
from zlib import crc32

import numpy as np
import torch

from fovea.agents.algorithms.base import Agent
from fovea.agents.loading import LoadedAgent, checkpoints_of, load_agent
from fovea.agents.task import AtariTask
from fovea.atari.collect import VERSIONS, rom_md5
from fovea.atari.emulator import SCREEN, Emulator, Settings
from fovea.atari.episode import Episode, columns
from fovea.atari.origin import Origin, Policy, without_implied
from fovea.atari.parquet import first_episode
from fovea.atari.recorder import record_shards
from fovea.atari.recordings import Dataset
from fovea.device import device
from fovea.pretrain.training.checkpoint import digest
from fovea.seeding import Stream, keyed

SHARD_STEPS = 10_000


class Source(NamedTuple):
    """Where a policy's agent is loaded from."""

    run: Path
    checkpoint: Path


def record(
    runs: Sequence[str | Path],
    out: str | Path,
    *,
    steps: int,
    epsilons: Sequence[float] = (0.02, 0.1, 0.3),
    checkpoints: Sequence[str] = ("newest",),
    seed: int = 0,
    envs: int = 2,
    shard_steps: int = SHARD_STEPS,
    max_frames: int | None = None,
    workers: int | None = None,
    accelerator: str = "auto",
) -> list[Dataset]:
    """Let trained agents play and record it, or go on where that was interrupted.

    There is a policy for each run, checkpoint and epsilon: the agent acts as in an evaluation, but
    with chance epsilon an action is drawn uniformly. Each plays the game of its run under the
    protocol that it was trained under, always whole games. Every shard is divided evenly among the
    policies of its game: each plays whole episodes until it has its share.

    Args:
        runs: run folders of agents.
        out: folder, or an address of fsspec; each game gets a folder in it.
        steps: agent steps per game, at least, of all policies together.
        epsilons: chances of an action drawn uniformly.
        checkpoints: of each run: `newest`, `all`, or their numbers (see `checkpoints_of`).
        seed: of the games and the actions.
        envs: emulators in which a policy plays at once; what is recorded depends on it.
        shard_steps: agent steps per shard, at least.
        max_frames: longer episodes are cut; by default as in training.
        workers: processes, by default one per core; what is recorded does not depend on it.
        accelerator: where the agents compute: auto, cpu or cuda. Another rounds differently, so
            that what is recorded depends on it (and may on the kind of processor).

    Returns a Dataset for each game. Raises UserError for a run without an agent or that checkpoint,
    a folder in use, or a recording that was made in another way.
    """
    at = device(accelerator).type
    loaded: dict[str, dict[Source, LoadedAgent]] = {}
    for run in dict.fromkeys(Path(run).resolve() for run in runs):
        for checkpoint in checkpoints_of(run, checkpoints):
            agent = load_agent(run, checkpoint)
            loaded.setdefault(agent.task.game, {})[Source(run, checkpoint)] = agent
    settings = {"shard_steps": shard_steps, "envs": envs, "accelerator": at}
    origins, sources = [], {}
    for game, agents in loaded.items():
        found = policies(agents, list(dict.fromkeys(epsilons)), max_frames)
        origins.append(origin(game, [policy for policy, _ in found], settings, seed))
        sources[game] = {policy.name: source for policy, source in found}
    return record_shards(origins, out, steps, partial(play, sources), workers)


def policies(
    agents: dict[Source, LoadedAgent], epsilons: Sequence[float], max_frames: int | None
) -> list[tuple[Policy, Source]]:
    """The policies of a game, in the order of the agents and, for each, of the epsilons."""
    names = run_names(list(dict.fromkeys(source.run for source in agents)))
    when = Counter((source.run, loaded.played) for source, loaded in agents.items())
    found = []
    for (source, loaded), epsilon in product(agents.items(), epsilons):
        run = names[source.run]
        # PPO updates several times on what it played, and may have saved in between.
        which = f" {source.checkpoint.stem}" if when[source.run, loaded.played] > 1 else ""
        policy = Policy(
            name=f"{run}@{loaded.played}{which} eps {epsilon:g}",
            agent=type(loaded.agent).__name__,
            run=run,
            checkpoint=source.checkpoint.name,
            sha256=digest(source.checkpoint),
            trained=loaded.played,
            epsilon=epsilon,
            protocol=loaded.task.protocol,
            settings=without_implied(asdict(emulator_settings(loaded.task, max_frames))),
        )
        found.append((policy, source))
    return found


def run_names(runs: Sequence[Path]) -> dict[Path, str]:
    """The ends of their paths, as short as they tell the runs apart."""
    for parts in count(1):
        names = {run: "/".join(run.parts[-parts:]) for run in runs}
        if len(set(names.values())) == len(runs):
            return names
    raise AssertionError  # different paths differ somewhere


def emulator_settings(task: AtariTask, max_frames: int | None) -> Settings:
    """How an emulator plays a game as the environments of `task` do."""
    env = task.env_settings
    return Settings(
        sticky=env.sticky,
        noop_max=env.noop_max,
        max_frames=max_frames or env.max_frames,
        fire_reset=task.fire_reset,
        full_actions=task.full_actions,
        frame_skip=task.frame_skip,
        mode=task.mode,
        difficulty=task.difficulty,
    )


def origin(game: str, policies: list[Policy], settings: dict, seed: int) -> Origin:
    """Everything that determines the shards of a recording by these policies."""
    action_sets = [Emulator(game, Settings(**each.settings), 0).actions for each in policies]
    return Origin(
        game=game,
        rom_md5=rom_md5(game),
        settings=settings,
        actions=max(action_sets, key=len),  # all 18 are a superset of the minimal set
        policy="agents: as the column policy says, and the policies here",
        seed=seed,
        versions={name: version(name) for name in (*VERSIONS, "torch", "timm")},
        policies=policies,
    )


class Lane:
    """An emulator in which a policy plays, episode after episode.

    Args:
        policy: who plays, index into those of the recording.
        emulator: of the game.
        recorded: the numbers that the emulator's actions have in the recording.
        stack: screens that the agent sees.
        rng: of the starts of episodes.

    Attributes:
        obs: (stack, 84, 84) uint8, what the agent sees now, oldest first; at the start of an
            episode the missing ones are black.
        over: whether no episode is being played.
    """

    def __init__(
        self,
        policy: int,
        emulator: Emulator,
        recorded: list[int],
        stack: int,
        rng: np.random.Generator,
    ):
        self.policy, self.emulator, self.recorded, self.rng = policy, emulator, recorded, rng
        self.obs = np.zeros((stack, *SCREEN), np.uint8)
        self.over = True

    def start(self) -> Episode:
        """Begin an episode, which is filled while it is played."""
        noops = self.rng.integers(max(1, self.emulator.settings.noop_max))
        self.episode = Episode(self.emulator, int(noops))
        self.over = False
        self.obs[:] = 0
        self.obs[-1] = self.emulator.screen
        return self.episode

    def step(self, action: int) -> None:
        self.episode.step(action, self.recorded[action])
        self.over = self.episode.over
        self.obs[:-1] = self.obs[1:]
        self.obs[-1] = self.emulator.screen


def play(
    sources: dict[str, dict[str, Source]],
    origin: Origin,
    index: int,
    played: Callable[[int], None] = lambda steps: None,
) -> dict[str, np.ndarray]:
    """The rows of shard `index`, which depend on `origin` and `index` alone.

    Args:
        sources: by game, the agents of its policies by their names.
        origin: of the recording.
        index: of the shard.
        played: called with the steps that were played since it was called last.
    """
    torch.set_num_threads(1)  # sums depend on the number of threads
    share = -(-origin.settings["shard_steps"] // len(origin.policies))
    shard = origin.seed, crc32(origin.game.encode()), index
    generator = keyed("cpu", Stream.RECORDING_ACTIONS, *shard)
    lanes = _lanes(sources[origin.game], origin, shard)
    episodes: list[Episode] = []
    policy_of: list[int] = []  # each episode
    steps = np.zeros(len(origin.policies), np.int64)
    told = 0
    while True:
        for lane in chain(*lanes.values()):
            if lane.over and steps[lane.policy] < share:
                episodes.append(lane.start())
                policy_of.append(lane.policy)
        playing = {
            agent: [lane for lane in group if not lane.over] for agent, group in lanes.items()
        }
        for agent, group in playing.items():
            if group:
                _step(agent, group, origin, generator)
                np.add.at(steps, [lane.policy for lane in group], 1)
        over = not any(playing.values())
        if over or steps.sum() >= told + 100:
            played(int(steps.sum()) - told)
            told = int(steps.sum())
        if over:
            break
    first = first_episode(origin, index)
    rows = columns(episodes, first)
    names = np.array(origin.policy_names, object)[policy_of]
    return rows | {"policy": names[rows["episode"] - first]}


def _lanes(
    sources: dict[str, Source], origin: Origin, shard: tuple[int, ...]
) -> dict[Agent, list[Lane]]:
    """Where each agent plays in a shard, those of all its epsilons side by side."""
    lanes: dict[Agent, list[Lane]] = {}
    for number, policy in enumerate(origin.policies):
        loaded = _loaded(sources[policy.name], origin.settings["accelerator"])
        for env in range(origin.settings["envs"]):
            rng = np.random.default_rng([Stream.RECORDING_EPISODES, *shard, number, env])
            settings = Settings(**policy.settings)
            emulator = Emulator(origin.game, settings, int(rng.integers(2**31)))
            recorded = [origin.actions.index(name) for name in emulator.actions]
            lane = Lane(number, emulator, recorded, loaded.task.stack, rng)
            lanes.setdefault(loaded.agent, []).append(lane)
    return lanes


@torch.no_grad()
def _step(agent: Agent, lanes: list[Lane], origin: Origin, generator: torch.Generator) -> None:
    """Let an agent act once in each of these lanes."""
    epsilon = torch.tensor([origin.policies[lane.policy].epsilon for lane in lanes])
    obs = agent.observe(torch.from_numpy(np.stack([lane.obs for lane in lanes])).to(agent.device))
    actions = agent.epsilon_greedy(obs, epsilon, generator)
    for lane, action in zip(lanes, actions.tolist(), strict=True):
        lane.step(action)


@cache
def _loaded(source: Source, at: str) -> LoadedAgent:
    """An agent on its device, loaded once in each process."""
    loaded = load_agent(*source)
    loaded.agent.to(at)
    return loaded
