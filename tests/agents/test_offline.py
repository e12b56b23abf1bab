"""Recordings are remembered as they were played, and others begin with what is learnt from them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import yaml

from fovea.agents.adaptation.base import FineTuned, Frozen
from fovea.agents.algorithms.cal_ql import CalQL, gap
from fovea.agents.algorithms.cloned import Cloned
from fovea.agents.experience.recorded import Recorded, check_memory
from fovea.agents.fit import fit
from fovea.agents.loading import load_agent
from fovea.agents.task import AtariTask
from fovea.atari.collect import collect
from fovea.atari.emulator import Settings
from fovea.atari.frames import Frames
from fovea.command import UserError
from fovea.pretrain.encoders.vit import Shape, build

CONFIGS = Path(__file__).parents[2] / "agents" / "configs"
TASK = {"game": "breakout", "num_envs": 1, "total_steps": 4096, "stack": 3}


def memory(
    folders: Path | list[str], way: type = FineTuned, **settings
) -> tuple[Recorded, CalQL, Frames]:
    """Recordings of Breakout as an agent remembers them."""
    task = AtariTask(**TASK | settings)
    given = folders if isinstance(folders, list) else str(folders)
    agent = CalQL(recordings=given, encoder=way(build(Shape(patch=42, stack=3)).eval()),
                  actions=task.action_count, batch_size=2048, n_step=1, gamma=0.5,
                  hidden=8)  # fmt: skip
    task.attach(agent)
    found = folders if isinstance(folders, list) else [folders]
    return task.experience, agent, Frames.load(found, ["breakout"])


@pytest.mark.slow
def test_recorded_steps_are_what_frames_say(recordings: Path) -> None:
    experience, agent, frames = memory(recordings)
    replay, to_go = experience.steps.memory
    at = frames.starts(3, (0, 1))[::7]
    drawn = replay.transitions(at, torch.zeros_like(at), 1, 0.5)
    windows = frames.windows(at, 3, (0, 1))
    assert torch.equal(drawn.obs, windows[:, 0])
    goes_on = ~frames.labels["terminal"][at]
    assert torch.equal(drawn.next_obs[goes_on], windows[goes_on, 1])
    assert torch.equal(drawn.action, frames.labels["action"][at])
    assert torch.equal(drawn.reward, frames.labels["reward"][at].clamp(-1, 1))
    assert torch.equal(drawn.discount, 0.5 * goes_on)
    last = frames.last(torch.arange(len(frames))) == torch.arange(len(frames))
    assert replay.held["terminal"][last].all()  # whole games, none of them cut
    running, wanted = 0.0, []
    for reward, end in zip(frames.labels["reward"].flip(0).tolist(), last.flip(0), strict=True):
        running = min(1, reward) + 0.5 * (0.0 if end else running)
        wanted.append(running)
    torch.testing.assert_close(to_go, torch.tensor(wanted[::-1]))
    assert to_go.max() > 0.9

    batch = experience.batch(0)
    assert batch.to_go.shape == (2048,)
    assert experience.played == 2048
    assert set(agent.losses(batch)) == {"td", "conservative"}


def test_the_start_of_an_episode_has_black_screens_before_it(recordings: Path) -> None:
    experience, _, frames = memory(recordings)
    replay, _ = experience.steps.memory
    first = (frames.labels["step"] == 0).nonzero().flatten()
    assert len(first) > 3
    seen = replay.observation(first, torch.zeros_like(first))
    assert (seen[:, :-1] == 0).all()
    assert torch.equal(seen[:, -1], frames.screens[first])


def test_a_lost_life_ends_an_episode_where_the_protocol_says_so(recordings: Path) -> None:
    whole, lives = (
        memory(recordings, protocol=name)[0].steps.memory[0].held["terminal"].sum()
        for name in ("machado", "atari_100k")
    )
    assert lives == 5 * whole  # Breakout has five


@pytest.mark.slow
def test_a_frozen_encoder_sees_recordings_once(recordings: Path) -> None:
    torch.manual_seed(0)
    screens, agent, _ = memory(recordings)
    features, *_ = memory(recordings, Frozen)
    features.agent.extractor.load_state_dict(agent.extractor.state_dict())
    ours, theirs = features.batch(3), screens.batch(3)
    assert ours.obs.shape == (2048, 192)
    torch.testing.assert_close(ours.obs[:64], agent.extractor(theirs.obs[:64]), rtol=0, atol=1e-4)
    for name in ("action", "reward", "discount", "to_go"):
        assert torch.equal(getattr(ours, name), getattr(theirs, name))


def test_actions_are_known_by_their_names(recordings: Path) -> None:
    """Breakout's NOOP, FIRE, RIGHT and LEFT are numbers 0, 1, 3 and 4 of all."""
    experience, _, frames = memory(recordings, full_actions=True)
    action = experience.steps.memory[0].held["action"][:, 0].long()
    assert torch.equal(action, torch.tensor([0, 1, 3, 4])[frames.labels["action"]])


@pytest.mark.slow
def test_recordings_with_other_actions_are_mixed_by_the_names_of_actions(
    recordings: Path, tmp_path: Path
) -> None:
    collect(["breakout"], tmp_path, steps=1, shard_steps=300, workers=1,
            settings=Settings(full_actions=True))  # fmt: skip
    folders = [str(recordings), str(tmp_path)]
    frames = [Frames.load([folder], ["breakout"]).labels["action"] for folder in folders]
    assert frames[0].max() == 3
    assert frames[1].max() == 17
    numbers = torch.tensor([0, 1, 3, 4])  # of NOOP, FIRE, RIGHT and LEFT among all
    both = torch.cat([numbers[frames[0]], frames[1]])
    for order, wanted in ((folders, both), (folders[::-1], both.roll(len(frames[1])))):
        assert torch.equal(Frames.load(order, ["breakout"]).labels["action"], wanted)
    experience, _, _ = memory(folders, full_actions=True)
    assert torch.equal(experience.steps.memory[0].held["action"][:, 0].long(), both)
    with pytest.raises(UserError, match=r"actions that the game is not played with \(UP, "):
        memory(folders)


def test_only_what_was_not_recorded_is_pushed_and_not_below_what_was_returned() -> None:
    values = torch.tensor([[1.0, 3.0, 0.0]], requires_grad=True)
    action, to_go = torch.tensor([2]), torch.tensor([2.0])
    pushed = gap(values, action, to_go)
    torch.testing.assert_close(pushed, torch.tensor([2.0, 3.0, 0.0]).logsumexp(0)[None])
    pushed.sum().backward()
    assert values.grad[0, 0] == 0  # is below the return already
    assert values.grad[0, 1] > 0
    assert values.grad[0, 2] < 0


def arguments(config: str, encoder: Path, run: Path, *more: object) -> list[str]:
    return [
        *("-c", str(CONFIGS / f"{config}.yaml"), "--run", str(run), "--data.num_envs", "2"),
        *("--model.init_args.encoder.init_args.encoder", str(encoder)),
        *("--model.init_args.hidden", "8"),
        *map(str, more),
    ]


@pytest.mark.slow
def test_a_run_begins_with_the_weights_of_another_and_plays_with_them_at_once(
    recordings: Path, encoder: Path, tmp_path: Path
) -> None:
    offline, online = tmp_path / "offline", tmp_path / "online"
    fit(arguments("cal_ql", encoder, offline, "--model.init_args.recordings", recordings,
                  "--data.total_steps", 640))  # fmt: skip
    begin = ("--init_from", offline, "--model.init_args.lr", 0,
             "--model.init_args.learning_starts", 64, "--model.init_args.epsilon_initial", 0.0,
             "--data.total_steps", 72, "--keep_replay", "true")  # fmt: skip
    fit(arguments("dqn_frozen", encoder, online, *begin))
    ours, theirs = (load_agent(run).agent.state_dict() for run in (offline, online))
    assert ours["extractor.norm.screens"] > 0
    kept = [key for key in ours if not key.startswith("target.")]
    assert all(torch.equal(ours[key], theirs[key]) for key in kept)
    assert yaml.safe_load((online / "config.yaml").read_text())["init_from"] == str(offline)
    agent = load_agent(online).agent
    state = torch.load(load_agent(online).checkpoint, weights_only=True)["AtariTask"]["replay"]
    seen, action = (state[name].flatten(0, 1) for name in ("obs", "action"))
    # Screens are encoded in other numbers at once, so that the last bits differ.
    same = (agent.best(agent.head(agent.extractor(seen))) == action).float().mean()
    assert same > 0.95


@pytest.fixture(scope="module")
def cloned(recordings: Path, encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run folder of a PPO that has seen a little of who recorded Pong."""
    run = tmp_path_factory.mktemp("cloned") / "run"
    fit(arguments("cloned", encoder, run, "--model.init_args.recordings", recordings,
                  "--data.total_steps", 512))  # fmt: skip
    return run


@pytest.mark.slow
def test_who_is_cloned_is_where_a_ppo_begins(cloned: Path, encoder: Path, tmp_path: Path) -> None:
    ppo = tmp_path / "ppo"
    fit(arguments("ppo_frozen", encoder, ppo, "--init_from", cloned, "--model.init_args.lr", 0,
                  "--model.init_args.num_steps", 16, "--data.total_steps", 32))  # fmt: skip
    ours, theirs = (load_agent(run).agent.state_dict() for run in (cloned, ppo))
    assert isinstance(load_agent(cloned).agent, Cloned)
    assert all(torch.equal(ours[key], theirs[key]) for key in ours)


MISTAKES = {
    "a start of another agent": (
        ["--init_from", "{cloned}"],
        "is of another agent: weight head.adv",
    ),
    "a start that is none": (["--init_from", "nowhere"], "nowhere holds no agent"),
}


@pytest.mark.slow
@pytest.mark.parametrize("mistake", MISTAKES)
def test_what_cannot_be_begun_from_gets_one_line(
    mistake: str, cloned: Path, encoder: Path, tmp_path: Path, command: Callable[..., int],
    capsys: pytest.CaptureFixture,
) -> None:  # fmt: skip
    run, (asked, message) = tmp_path / "run", MISTAKES[mistake]
    asked = [each.format(cloned=cloned) for each in asked]
    assert command("fit", *arguments("dqn_frozen", encoder, run, *asked)) == 2
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1
    assert message in said[0]
    assert not run.exists()


def test_recordings_that_cannot_be_learnt_from_are_refused(recordings: Path) -> None:
    with pytest.raises(UserError, match="no recording of freeway"):
        memory(recordings, game="freeway")
    with pytest.raises(UserError, match=r"data\.total_steps 2000 is less than one batch of 2048"):
        memory(recordings, total_steps=2000)
    with pytest.raises(UserError, match=r"1,000 recorded screens of pong in here take 0\.007 GB"):
        check_memory(1000, "pong", "here", free=1_000_000)
