"""`fovea agents evaluate`: whole episodes, scores in run.json, and a film that plays."""

from __future__ import annotations

import json
import resource
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from fovea.agents.adaptation.base import Frozen
from fovea.agents.evaluation import play_episodes, quotas
from fovea.agents.fit import fit
from fovea.agents.loading import load_agent
from fovea.agents.task import PROTOCOLS
from fovea.agents.video import Moment, attention, film
from fovea.atari.games import hns
from fovea.command import UserError
from fovea.pretrain.encoders.encoder import Encoder
from fovea.pretrain.encoders.vit import Shape, build
from fovea.pretrain.training.checkpoint import newest
from fovea.runs import read_run

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def trained(encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run folder of a PPO that has hardly learned Breakout."""
    run = tmp_path_factory.mktemp("trained") / "ppo"
    fit([
        *("-c", str(ROOT / "agents" / "configs" / "ppo_frozen.yaml"), "--run", str(run)),
        *("--model.init_args.encoder.init_args.encoder", str(encoder)),
        *("--data.game", "breakout", "--data.num_envs", "2", "--data.total_steps", "32"),
        *("--model.init_args.num_steps", "16"),
    ])  # fmt: skip
    return run


def frames(path: Path) -> list[np.ndarray]:
    reader, read = cv2.VideoCapture(str(path)), []
    while (found := reader.read())[0]:
        read.append(found[1])
    return read


@pytest.mark.slow
def test_an_evaluation_is_scored_filmed_and_not_done_twice(
    trained: Path, command: Callable[..., int], capsys: pytest.CaptureFixture
) -> None:
    before = read_run(trained)
    asked = ("evaluate", "--run", trained, "--episodes", "3", "--envs", "2", "--seed", "7")
    assert command(*asked, "--video", "--seconds", "2") == 0
    said, record = capsys.readouterr().out, read_run(trained)
    found = record.evaluation
    assert len(found.returns) == len(found.lengths) == found.episodes == 3
    assert found.mean == np.mean(found.returns)
    assert found.hns == hns("breakout", found.mean)
    assert (found.game, found.random, found.human) == ("breakout", 1.7, 30.5)
    assert found.protocol.startswith("machado: sticky 0.25, ")
    assert "actions sampled" in found.protocol
    assert "trained for  32 agent steps" in said
    assert f"{found.mean:.2f} on average" in said
    assert (record.state, record.step) == ("done", 32)
    assert record.seconds - before.seconds < 1  # of training

    film = trained / found.video
    pictures = frames(film)
    assert len(pictures) == 30
    assert pictures[0].shape == (336 + 32, 336 + 8 + 336, 3)
    assert list(film.parent.iterdir()) == [film]

    for again in (asked, (*asked, "--video", "--seconds", "2")):
        assert command(*again) == 0
        assert "evaluated before, skipped" in capsys.readouterr().out
        assert read_run(trained) == record
    assert command(*asked[:-1], "8", "--max-frames", "80") == 0
    other = read_run(trained).evaluation
    assert other.lengths == [20, 20, 20]
    assert "HNS          none: 3 of 3 episodes were cut at 80 frames" in capsys.readouterr().out
    assert other.video is None
    assert not film.exists()
    assert command("evaluate", "--run", trained, "--max-frames", "40") == 0
    assert len(read_run(trained).evaluation.returns) == PROTOCOLS["machado"].episodes


@pytest.mark.slow
def test_a_film_says_why_when_it_is_asked(
    trained: Path, command: Callable[..., int], capsys: pytest.CaptureFixture
) -> None:
    asked = ("evaluate", "--run", trained, "--episodes", "1", "--max-frames", "40", "--seconds", 1)
    assert command(*asked, "--why") == 2
    assert "--why draws over the film of an episode: add --video" in capsys.readouterr().err
    assert command(*asked, "--video") == 0
    assert not read_run(trained).evaluation.video_why
    assert command(*asked, "--video", "--why") == 0
    found = read_run(trained).evaluation
    assert found.video_why
    assert "skipped" not in capsys.readouterr().out
    pictures = frames(trained / found.video)
    assert {picture.shape for picture in pictures} == {(336 + 32, 3 * 336 + 2 * 8, 3)}
    assert command(*asked, "--video", "--why") == 0
    assert "evaluated before, skipped" in capsys.readouterr().out


@pytest.mark.evidence
@pytest.mark.slow
def test_returns_are_those_of_a_plain_loop_over_each_environment(trained: Path) -> None:
    loaded = load_agent(trained)
    quota, returns, lengths = quotas(5, 2), [[], []], [[], []]
    assert quota == [3, 2]
    envs = loaded.task.make_envs(2, False, 2000, seed=3)
    found = play_episodes(loaded.agent, envs, quota, seed=4, title="")

    actions: list[np.ndarray] = []
    games = loaded.task.make_envs(2, False, 2000, seed=3)
    step = games.step

    def heard(chosen: np.ndarray):
        actions.append(chosen)
        return step(chosen)

    games.step = heard
    moments: list[Moment] = []
    again = play_episodes(loaded.agent, games, quota, seed=4, title="", film_to=moments,
                          film_steps=10**6)  # fmt: skip
    assert found == again
    replayed, score, length = loaded.task.make_envs(2, False, 2000, seed=3), [0.0, 0.0], [0, 0]
    for chosen in actions:
        came = replayed.step(chosen)
        for env in range(2):
            score[env] += float(came.reward[env])
            length[env] += 1
            if came.ended[env]:
                returns[env].append(score[env])
                lengths[env].append(length[env])
                score[env], length[env] = 0.0, 0
    assert found[0] == returns[0][:3] + returns[1][:2]
    assert found[1] == lengths[0][:3] + lengths[1][:2]
    assert len(moments) == found[1][0]  # the first episode, and no further
    assert moments[0].score == 0


def test_every_environment_plays_a_share_that_is_fixed_before() -> None:
    assert quotas(10, 4) == [3, 3, 2, 2]
    assert quotas(3, 3) == [1, 1, 1]


@pytest.mark.slow
def test_folders_without_an_agent_are_refused_in_one_line(
    tmp_path: Path, trained: Path, command: Callable[..., int], capsys: pytest.CaptureFixture
) -> None:
    assert command("evaluate", "--run", tmp_path / "nowhere") == 2
    assert "nowhere is no run folder" in capsys.readouterr().err
    assert not (tmp_path / "nowhere").exists()
    (tmp_path / "run.json").write_text(json.dumps(read_run(trained).plain()))
    (tmp_path / "config.yaml").write_text((trained / "config.yaml").read_text())
    assert command("evaluate", "--run", tmp_path) == 2
    assert "holds no checkpoint yet" in capsys.readouterr().err
    assert command("evaluate", "--run", tmp_path, "--episodes", "0") == 2
    assert newest(trained / "checkpoints")


class Plain(Encoder):
    """An encoder without attention."""

    dim, grid, stack, screen = 1, None, 4, (84, 84)

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))


def moments(count: int) -> list[Moment]:
    screens = np.random.default_rng(0).integers(0, 256, (count, 4, 84, 84)).astype(np.uint8)
    return [Moment(some, float(number)) for number, some in enumerate(screens)]


def test_an_encoder_without_attention_is_filmed_without(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    film(tmp_path / "plain.webm", moments(3), Frozen(Plain()))
    assert "no attention in the film: a Plain has no attention maps" in capsys.readouterr().out
    assert [picture.shape for picture in frames(tmp_path / "plain.webm")] == [(368, 336, 3)] * 3


def test_the_attention_lies_where_the_encoder_looks() -> None:
    """On a grid of two by two patches around a crop; each patch has the colour of its share."""
    encoder = build(Shape(patch=28, crop=56)).eval()
    screens = np.stack([moment.screens for moment in moments(6)])
    gaze = attention(Frozen(encoder), screens)
    shares = 4 * encoder.attention(torch.from_numpy(screens))[-1, :, :, 0, 1:].mean(dim=1).detach()
    assert gaze.maps.shape == (6, 84, 84)
    outside = np.ones((84, 84), bool)
    outside[14:70, 14:70] = False
    assert not gaze.maps[:, outside].any()
    corners = gaze.maps[:, (14, 14, 69, 69), (14, 69, 14, 69)]
    scaled = (shares.numpy() - gaze.weakest) / (gaze.strongest - gaze.weakest)
    np.testing.assert_allclose(corners, scaled.clip(0, 1), atol=1e-4)
    assert shares.min() <= gaze.weakest < gaze.strongest <= shares.max()


def test_a_film_that_fails_leaves_the_older_one(tmp_path: Path) -> None:
    """On a disk that has no room for more than half of it."""
    path = tmp_path / "film.webm"
    film(path, moments(2), Frozen(Plain()))
    held = path.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(held) // 2, limits[1]))
    try:
        with pytest.raises(OSError, match="No space left"):
            film(path, moments(2), Frozen(Plain()))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_bytes() == held
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.slow
def test_an_encoder_that_is_gone_is_named(trained: Path, tmp_path: Path) -> None:
    config = (trained / "config.yaml").read_text()
    where = next(line.split(": ")[1] for line in config.splitlines() if "/encoder" in line)
    (tmp_path / "config.yaml").write_text(config.replace(where, str(tmp_path / "gone")))
    (tmp_path / "checkpoints").symlink_to(trained / "checkpoints")
    with pytest.raises(UserError, match="gone"):
        load_agent(tmp_path)
