"""How well a trained agent plays whole episodes."""

from __future__ import annotations

import itertools
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from fovea.agents.algorithms.base import Agent
from fovea.agents.disturbances import suite
from fovea.agents.loading import LoadedAgent, load_agent
from fovea.agents.task import PROTOCOLS, AtariTask
from fovea.agents.video import Moment, film
from fovea.agents.why import Reasons, reasons
from fovea.atari.env import Envs
from fovea.atari.film import STEPS_PER_SECOND
from fovea.atari.games import find, hns
from fovea.command import UserError
from fovea.device import device
from fovea.disturbances import Disturbance
from fovea.files import exclusive
from fovea.progress import bar
from fovea.runs import RunWriter, read_run, typed
from fovea.schema import Disturbed, Evaluation, count_cut
from fovea.seeding import Stream, keyed
from fovea.tables import aligned

VIDEO = "media/evaluation.webm"
SEED = 1000  # of evaluations that name none: all agents play the same games


def evaluate(
    agent: Agent,
    task: AtariTask,
    episodes: int | None = None,
    *,
    num_envs: int = 4,
    max_frames: int = 108_000,
    seed: int = SEED,
) -> list[float]:
    """Raw returns of whole episodes, played as `fovea agents evaluate` does, on the agent's device.

    Args:
        agent: who plays.
        task: the game and its protocol.
        episodes: how many; by default as many as the protocol has, 10 or 100.
        num_envs: environments at once.
        max_frames: longer episodes are cut off.
        seed: of games and actions.
    """
    episodes = episodes or task.env_settings.episodes
    envs = task.make_envs(min(num_envs, episodes), False, max_frames, seed)
    training = agent.training
    returns, _ = play_episodes(
        agent.eval(),
        envs,
        quotas(episodes, envs.num_envs),
        seed=seed,
        title=f"evaluating in {task.game}",
    )
    agent.train(training)
    return returns


def evaluate_run(
    folder: Path,
    *,
    episodes: int | None,
    envs: int,
    max_frames: int,
    seed: int,
    seconds: int,
    why: bool = False,
    disturb: Sequence[str] = (),
    accelerator: str = "auto",
) -> None:
    """`fovea agents evaluate`: play `episodes` and write them to run.json as `evaluation`.

    Args:
        folder: run folder of the agent.
        episodes: how many; None for as many as the protocol has.
        envs: environments at once.
        max_frames: longer episodes are cut off.
        seed: of games and actions.
        seconds: of film of the first episode at most; 0 for none.
        why: whether the film shows where what spoke for each action comes from.
        disturb: names of disturbances, or `all`; under each of them the episodes are played again.
        accelerator: auto, cpu or cuda.
    """
    if why and not seconds:
        raise UserError("--why draws over the film of an episode: add --video")
    if not (folder / "run.json").exists():
        raise UserError(f"{folder} is no run folder: train an agent with fovea agents fit")
    at = device(accelerator)
    with exclusive(folder):
        loaded = load_agent(folder)
        every = suite(loaded.task.game) if "all" in disturb else []
        asked = [Disturbance.read(one) for one in (*every, *disturb) if one != "all"]
        for one in asked:  # before anything is played: what the game lacks is refused
            loaded.task.make_envs(1, False, max_frames, seed, [one])
        episodes = episodes or loaded.task.env_settings.episodes
        settings = {
            "checkpoint": loaded.checkpoint.name,
            "trained": loaded.played,
            "episodes": episodes,
            "envs": min(envs, episodes),
            "max_frames": max_frames,
            "seed": seed,
        }
        if not _holds(folder, settings, seconds, why):
            settings |= {"video_seconds": seconds, "video_why": why}
            _evaluate(folder, loaded, settings, at, "" if asked else typed())
        else:
            print(f"{folder}: evaluated before, skipped")
        if asked:
            _disturb(folder, loaded, asked, settings, at)
        record = read_run(folder)
        assert record
        assert record.evaluation, "it has just been written"
        _print(record.evaluation)


def _holds(folder: Path, settings: dict, seconds: int, why: bool) -> bool:
    """Whether run.json has this evaluation, and the film if one is asked for."""
    record = read_run(folder)
    found = record.evaluation if record else None
    if not found or any(getattr(found, key) != value for key, value in settings.items()):
        return False
    if not seconds:
        return True
    filmed = found.video is None or (folder / VIDEO).exists()
    return (found.video_seconds, found.video_why) == (seconds, why) and filmed


def _evaluate(
    folder: Path, loaded: LoadedAgent, settings: dict, at: torch.device, command: str
) -> None:
    agent, task = loaded.agent, loaded.task
    agent.to(at)
    moments: list[Moment] = []
    envs = task.make_envs(settings["envs"], False, settings["max_frames"], settings["seed"])
    begun = time.monotonic()
    returns, lengths = play_episodes(
        agent,
        envs,
        quotas(settings["episodes"], settings["envs"]),
        seed=settings["seed"],
        title=f"{folder.name} evaluated",
        film_to=moments,
        film_steps=settings["video_seconds"] * STEPS_PER_SECOND,
    )
    seconds = time.monotonic() - begun
    (folder / VIDEO).unlink(missing_ok=True)
    if moments:
        why = explained(agent, moments, envs.action_meanings) if settings["video_why"] else None
        film(folder / VIDEO, moments, agent.acting_encoder, why)
    game, mean = find(task.game), float(np.mean(returns))
    evaluation = Evaluation(
        game=task.game,
        protocol=protocol(agent, task, settings),
        command=command,
        **settings,
        frame_skip=task.frame_skip,
        seconds=seconds,
        returns=returns,
        lengths=lengths,
        mean=mean,
        random=game.random,
        human=game.human,
        video=VIDEO if moments else None,
    )
    evaluation.hns = None if evaluation.cut_short else hns(task.game, mean)
    RunWriter(folder, "agent", "").update(evaluation=evaluation)


def _disturb(
    folder: Path,
    loaded: LoadedAgent,
    asked: Sequence[Disturbance],
    settings: dict,
    at: torch.device,
) -> None:
    """Play the episodes of the evaluation under each disturbance that it does not have yet.

    Each is written when it is there; what was typed is, once all are.
    """
    run = RunWriter(folder, "agent", "")
    found = run.record.evaluation
    assert found is not None
    loaded.agent.to(at)
    play = settings["envs"], False, settings["max_frames"], settings["seed"]
    for one in asked:
        if str(one) not in found.disturbed:
            returns, lengths = play_episodes(
                loaded.agent,
                loaded.task.make_envs(*play, [one]),
                quotas(settings["episodes"], settings["envs"]),
                seed=settings["seed"],
                title=f"{folder.name} under {one}",
            )
            mean = float(np.mean(returns))
            frame_skip = one.number if one.name == "frame_skip" else loaded.task.frame_skip
            cut = count_cut(lengths, settings["max_frames"], int(frame_skip))
            found.disturbed[str(one)] = Disturbed(
                returns=returns,
                lengths=lengths,
                cut=cut,
                mean=mean,
                hns=None if cut else hns(loaded.task.game, mean),
            )
            run.update(evaluation=found)
    found.command = typed()
    run.update(evaluation=found)


def explained(agent: Agent, moments: list[Moment], names: list[str]) -> Reasons | None:
    """Why it took each action of a film; None, and a line says so, where that cannot be told."""
    try:
        screens = np.stack([moment.screens for moment in moments])
        return reasons(agent, screens, [moment.action for moment in moments], names)
    except UserError as reason:
        print(f"the film does not show why: {reason}")
        return None


def quotas(episodes: int, envs: int) -> list[int]:
    """Episodes of each environment: fixed beforehand, so that short ones are not favoured."""
    return [episodes // envs + (env < episodes % envs) for env in range(envs)]


@torch.no_grad()
def play_episodes(
    agent: Agent,
    envs: Envs,
    quota: list[int],
    *,
    seed: int,
    title: str,
    film_to: list[Moment] | None = None,
    film_steps: int = 0,
) -> tuple[list[float], list[int]]:
    """Play `quota[i]` whole episodes in each environment i.

    Args:
        agent: who plays.
        envs: the environments.
        quota: episodes of each.
        seed: of the actions.
        title: of the progress bar.
        film_to: gets the moments of the first environment's first episode.
        film_steps: so many of them at most.

    Returns the episodes' raw returns and their lengths in agent steps, by environment.
    """
    generator = keyed("cpu", Stream.EVALUATION_ACTIONS, seed)
    returns: list[list[float]] = [[] for _ in quota]
    lengths: list[list[int]] = [[] for _ in quota]
    film_to = [] if film_to is None else film_to
    score, screens = 0.0, envs.screens
    agent.begin_play(len(quota))
    obs = agent.observe(torch.from_numpy(screens).to(agent.device))
    with bar(title, "steps", None) as shown:
        while any(len(ended) < asked for ended, asked in zip(returns, quota, strict=True)):
            chosen = agent.act(obs, generator)
            actions = chosen.cpu().numpy()
            if not returns[0] and len(film_to) < film_steps:
                film_to.append(Moment(screens[0].copy(), score, int(actions[0])))
            step = envs.step(actions)
            score, screens = score + float(step.reward[0]), step.screens
            before, obs = obs, agent.observe(torch.from_numpy(screens).to(agent.device))
            reward, over = (torch.from_numpy(x).to(agent.device) for x in (step.reward, step.ended))
            agent.remember(before, chosen, reward, obs, over)
            ended = np.flatnonzero(step.ended)
            for env, total, length in zip(ended, step.returns, step.lengths, strict=True):
                if len(returns[env]) < quota[env]:
                    returns[env].append(float(total))
                    lengths[env].append(int(length))
            shown.update(len(quota))
            if len(ended):
                _extrapolate(shown, lengths, quota)
    return list(itertools.chain(*returns)), list(itertools.chain(*lengths))


def _extrapolate(shown: tqdm, lengths: list[list[int]], quota: list[int]) -> None:
    """Set the bar's total to what it is if the rest of the episodes are as long as those so far."""
    ended = list(itertools.chain(*lengths))
    shown.total = max(shown.n, int(np.mean(ended) * max(quota) * len(quota)))
    shown.set_postfix(episodes=f"{len(ended)}/{sum(quota)}")


def protocol(agent: Agent, task: AtariTask, settings: dict) -> str:
    """How it was played, in words."""
    env = task.env_settings
    own = {"frame skip": task.frame_skip if task.frame_skip != 4 else None, "mode": task.mode,
           "difficulty": task.difficulty}  # fmt: skip
    own = {what: value for what, value in own.items() if value is not None}
    named = env == PROTOCOLS[task.protocol] and not task.fire_reset and not own
    name = f"{task.protocol}: " if named else ""
    actions = "all 18 actions, " if task.full_actions else ""
    fire = "the button pressed first, " if task.fire_reset else ""
    variant = "".join(f"{what} {value}, " for what, value in own.items())
    return (
        f"{name}{variant}sticky {env.sticky:g}, up to {max(env.noop_max - 1, 0)} frames of "
        f"no-op, {fire}whole episodes cut at {settings['max_frames']:,} frames, {actions}"
        f"{agent.evaluation}"
    )


def _shown(hns: float | None) -> str:
    return "" if hns is None else f"{hns:.3f}"


def _print(found: Evaluation) -> None:
    returns, frames = np.array(found.returns), found.frame_skip * (found.trained or 0)
    rows = {
        "game": found.game,
        "protocol": found.protocol,
        "trained for": f"{found.trained:,} agent steps ({frames:,} frames)",
        "episodes": f"{len(returns)}, of {np.mean(found.lengths):,.0f} agent steps on average",
        "return": f"{found.mean:.2f} on average, {returns.min():g} to {returns.max():g}",
        "reference": f"{found.random:g} the random agent, {found.human:g} a human tester",
        "HNS": (
            f"none: {found.cut} of {len(found.returns)} episodes were cut at "
            f"{found.max_frames:,} frames"
            if found.cut_short
            else f"{found.hns:.3f} (0 is the random agent, 1 the human tester)"
        ),
        "video": found.video or "none (--video)",
    }
    for name, value in rows.items():
        print(f"  {name:12} {value}")
    if found.disturbed:
        scored = [
            [name, f"{of.mean:.2f}", f"{found.changes[name]:+.2f}",
             f"none: {of.cut} cut" if of.cut else _shown(None if found.cut_short else of.hns)]
            for name, of in found.disturbed.items()
        ]  # fmt: skip
        table = [["under", "return", "change", "HNS"], *scored]
        print(*map("  {}".format, aligned(table, (1, 2, 3))), sep="\n")
