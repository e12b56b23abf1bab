"""`fovea agents evaluate`: how well a trained agent plays whole episodes."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from fovea.agents.algorithms.base import Agent
from fovea.agents.loading import Saved, load
from fovea.agents.task import PROTOCOLS, Play
from fovea.agents.video import STEPS_PER_SECOND, Moment, film
from fovea.atari.env import Envs
from fovea.atari.games import find, hns
from fovea.command import UserError
from fovea.device import device
from fovea.files import exclusive
from fovea.progress import bar
from fovea.runs import RunWriter, read_run, typed
from fovea.schema import Evaluation
from fovea.seeding import Stream, keyed

VIDEO = "media/evaluation.webm"


def evaluate(
    folder: Path,
    *,
    episodes: int | None,
    envs: int,
    max_frames: int,
    seed: int,
    seconds: int,
    accelerator: str = "auto",
) -> None:
    """Play `episodes` and write them to run.json as `evaluation`.

    Args:
        folder: run folder of the agent.
        episodes: how many; None for as many as the protocol plays.
        envs: environments at once.
        max_frames: longer episodes are cut.
        seed: of games and actions.
        seconds: of film of the first episode at most; 0 for none.
        accelerator: auto, cpu or cuda.
    """
    if not (folder / "run.json").exists():
        raise UserError(f"{folder} is no run folder: train an agent with fovea agents fit")
    at = device(accelerator)
    with exclusive(folder):
        saved = load(folder)
        episodes = episodes or saved.play.rules.episodes
        settings = {
            "checkpoint": saved.checkpoint.name,
            "trained": saved.played,
            "episodes": episodes,
            "envs": min(envs, episodes),
            "max_frames": max_frames,
            "seed": seed,
        }
        if not _holds(folder, settings, seconds):
            settings["video_seconds"] = seconds
            _evaluate(folder, saved, settings, at)
        else:
            print(f"{folder}: evaluated before, skipped")
        _print(read_run(folder).evaluation)


def _holds(folder: Path, settings: dict, seconds: int) -> bool:
    """Whether run.json has this evaluation, and the film if one is asked for."""
    found = read_run(folder).evaluation
    if not found or any(getattr(found, key) != value for key, value in settings.items()):
        return False
    if not seconds:
        return True
    filmed = found.video is None or (folder / VIDEO).exists()
    return found.video_seconds == seconds and filmed


def _evaluate(folder: Path, saved: Saved, settings: dict, at: torch.device) -> None:
    agent, play = saved.agent, saved.play
    agent.to(at)
    moments: list[Moment] = []
    games = play.start(settings["envs"], False, settings["max_frames"], settings["seed"])
    returns, lengths = play_episodes(
        agent,
        games,
        quotas(settings["episodes"], settings["envs"]),
        seed=settings["seed"],
        title=f"{folder.name} evaluated",
        filmed=moments,
        most=settings["video_seconds"] * STEPS_PER_SECOND,
    )
    (folder / VIDEO).unlink(missing_ok=True)
    if moments:
        film(folder / VIDEO, moments, agent.eyes.encoder)
    game, mean = find(play.game), float(np.mean(returns))
    found = Evaluation(
        game=play.game,
        protocol=protocol(agent, play, settings),
        command=typed(),
        **settings,
        returns=returns,
        lengths=lengths,
        mean=mean,
        hns=hns(play.game, mean),
        random=game.random,
        human=game.human,
        video=VIDEO if moments else None,
    )
    RunWriter(folder, "agent", "").update(evaluation=found)


def quotas(episodes: int, envs: int) -> list[int]:
    """Episodes that each environment plays: fixed before, so that short ones count no more."""
    return [episodes // envs + (env < episodes % envs) for env in range(envs)]


@torch.no_grad()
def play_episodes(
    agent: Agent,
    envs: Envs,
    quota: list[int],
    *,
    seed: int,
    title: str,
    filmed: list[Moment],
    most: int,
) -> tuple[list[float], list[int]]:
    """Raw returns and lengths in agent steps of `quota[i]` episodes of each environment i, in turn.

    The first `most` moments of the first environment's first episode are put into `filmed`.
    """
    generator = keyed("cpu", Stream.EVALUATION_ACTIONS, seed)
    returns: list[list[float]] = [[] for _ in quota]
    lengths: list[list[int]] = [[] for _ in quota]
    score, screens = 0.0, envs.reset()
    with bar(title, "steps", None) as shown:
        while any(len(ended) < wanted for ended, wanted in zip(returns, quota, strict=True)):
            if not returns[0] and len(filmed) < most:
                filmed.append(Moment(screens[0].copy(), score))
            observed = agent.eyes.observe(torch.from_numpy(screens).to(agent.device))
            step = envs.step(agent.act(observed, explore=False, generator=generator).cpu().numpy())
            score, screens = score + float(step.reward[0]), step.screens
            ended = np.flatnonzero(step.ended)
            for env, total, length in zip(ended, step.returns, step.lengths, strict=True):
                if len(returns[env]) < quota[env]:
                    returns[env].append(float(total))
                    lengths[env].append(int(length))
            shown.update(len(quota))
            if len(ended):
                _foresee(shown, lengths, quota)
    return list(itertools.chain(*returns)), list(itertools.chain(*lengths))


def _foresee(shown: tqdm, lengths: list[list[int]], quota: list[int]) -> None:
    """Set how many steps there will be, were all episodes as long as those so far on average."""
    ended = list(itertools.chain(*lengths))
    shown.total = max(shown.n, int(np.mean(ended) * max(quota) * len(quota)))
    shown.set_postfix(episodes=f"{len(ended)}/{sum(quota)}")


def protocol(agent: Agent, play: Play, settings: dict) -> str:
    """How it was played, in words."""
    named = play.rules == PROTOCOLS[play.protocol] and not play.fire_reset
    name = f"{play.protocol}: " if named else ""
    actions = "all 18 actions, " if play.full_actions else ""
    fire = "the button pressed first, " if play.fire_reset else ""
    return (
        f"{name}sticky {play.rules.sticky:g}, up to {max(play.rules.noop_max - 1, 0)} frames of "
        f"no-op, {fire}whole episodes cut at {settings['max_frames']:,} frames, {actions}"
        f"{agent.evaluated}"
    )


def _print(found: Evaluation) -> None:
    returns = np.array(found.returns)
    rows = {
        "game": found.game,
        "protocol": found.protocol,
        "trained for": f"{found.trained:,} agent steps ({4 * found.trained:,} frames)",
        "episodes": f"{len(returns)}, of {np.mean(found.lengths):,.0f} agent steps on average",
        "return": f"{found.mean:.2f} on average, {returns.min():g} to {returns.max():g}",
        "beside it": f"{found.random:g} the random agent, {found.human:g} a human tester",
        "HNS": f"{found.hns:.3f} (0 is the random agent, 1 the human tester)",
        "video": found.video or "none (--video)",
    }
    for name, value in rows.items():
        print(f"  {name:12} {value}")
