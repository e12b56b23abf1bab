"""What an agent sees and meets under disturbances, by hand; and evaluations under them."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch

from fovea.agents.disturbances import (
    GRID,
    SENSES,
    SUITE,
    Moments,
    blank,
    environment,
    frame,
    patches,
    suite,
)
from fovea.agents.fit import fit
from fovea.agents.task import AtariTask
from fovea.atari.env import Envs
from fovea.command import UserError
from fovea.disturbances import KINDS, Disturbance, Kind
from fovea.pretrain.corruptions import CORRUPTIONS
from fovea.runs import read_run

SCREENS = torch.arange(1, 5, dtype=torch.uint8)[None, :, None, None].expand(3, 4, 84, 84)
AT = Moments(seed=7, episode=torch.tensor([0, 1, 5]), step=torch.tensor([10, 11, 3]))


def test_every_kind_is_seen_or_is_a_setting_of_the_environment() -> None:
    assert [name for name in KINDS if name not in SENSES] == [
        "sticky", "frame_skip", "mode", "difficulty", "permuted"
    ]  # fmt: skip
    assert SENSES.keys() <= KINDS.keys()
    assert KINDS["patches"].high == GRID[0] * GRID[1]
    for name, corruption in CORRUPTIONS.items():
        assert KINDS[name] == Kind(1, len(corruption.strengths), True)


def test_so_many_patches_are_black_all_through_an_episode() -> None:
    seen = patches(SCREENS, AT, 9)
    cells = seen[:, :, 7::14, 7::14]
    assert (cells == 0).sum((2, 3)).tolist() == [[9] * 4] * 3
    assert (seen == 0).sum((2, 3)).tolist() == [[9 * 14 * 14] * 4] * 3
    assert torch.equal(seen, patches(SCREENS, AT._replace(step=AT.step + 100), 9))
    assert not torch.equal(seen[0], seen[1])
    assert not torch.equal(seen, patches(SCREENS, AT._replace(seed=8), 9))


def test_one_screen_of_the_stack_is_black() -> None:
    assert frame(SCREENS, AT, 1)[0, :, 0, 0].tolist() == [1, 2, 3, 0]
    assert frame(SCREENS, AT, 4)[0, :, 0, 0].tolist() == [0, 2, 3, 4]
    with pytest.raises(UserError, match="frame:5 of a stack of 4: give one of them"):
        frame(SCREENS, AT, 5)


def test_a_black_screen_grows_old_in_the_stack() -> None:
    seen = [
        blank(SCREENS, AT._replace(step=AT.step + later), 0.5)[:, :, 0, 0] == 0
        for later in range(40)
    ]
    for now, after in pairwise(seen):
        assert torch.equal(now[:, 1:], after[:, :-1])
    assert torch.stack(seen)[:, :, -1].float().mean() == pytest.approx(0.5, abs=0.1)


def play(envs: Envs, steps: int) -> list[np.ndarray]:
    seen = [envs.screens]
    for step in range(steps):
        actions = np.full(envs.num_envs, step % envs.action_count)
        seen.append(envs.step(actions).screens)
    return seen


QUICK = "blank", "noise", "render"


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=() if name in QUICK else pytest.mark.evidence) for name in SENSES],
)
def test_the_game_goes_on_as_ever_behind_a_sensor_and_a_saved_one_sees_the_same(name: str) -> None:
    """Also past the ends of episodes, of 12 steps."""
    low = KINDS[name].low
    asked = [Disturbance(name, 0.5 if not KINDS[name].whole else max(1, low))]
    same = {"seed": 3, "noop_max": 3, "max_frames": 48}
    plain, other = Envs("pong", 2, **same), Envs("pong", 2, **same | {"seed": 4})
    envs = Envs("pong", 2, **same, **environment(asked, 9))
    other._sensor = envs._sensor
    theirs, ours = play(plain, 20), play(envs, 20)
    assert np.array_equal(envs.state()["screens"], plain.screens)
    assert not all(np.array_equal(one, two) for one, two in zip(theirs, ours, strict=True))
    other.load_state(envs.state())
    assert np.array_equal(other.screens, envs.screens)
    for one, two in zip(play(envs, 20), play(other, 20), strict=True):
        assert np.array_equal(one, two)


def test_dynamics_are_settings_of_the_environment() -> None:
    asked = [Disturbance.read(one) for one in ("sticky:0.5", "frame_skip:6", "mode:1")]
    assert environment(asked, 0) == {"sticky": 0.5, "frame_skip": 6, "mode": 1}
    assert suite("pong") == [*SUITE, "mode:1", "difficulty:1"]
    assert suite("ms_pacman")[-1] == "mode:1"  # one difficulty only
    task = AtariTask("pong", num_envs=1, total_steps=8, disturbances=["frame_skip:2", "blank:1"])
    assert not task.envs.screens.any()
    assert task.make_envs(1, False, 400, 0).screens.any()
    assert task.envs._max_steps == 54_000


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("stikcy:0.5", "unknown disturbance 'stikcy:0.5': did you mean 'sticky'"),
        ("blank:2", "disturbance 'blank:2': give a number from 0 to 1, as blank:0"),
        (
            "patches:0.5",
            "'patches:0.5': give a whole number from 1 to 36, as patches:1",
        ),
        ("sticky", "disturbance 'sticky': give a number"),
    ],
)
def test_what_is_no_disturbance_gets_one_line(text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        Disturbance.read(text)


@pytest.mark.slow
def test_an_agent_is_evaluated_under_disturbances_and_each_is_kept(
    tmp_path: Path, command: Callable[..., int], capsys: pytest.CaptureFixture
) -> None:
    run = tmp_path / "run"
    fit(["--model", "PPO", "--model.encoder", "Frozen", "--model.encoder.encoder",
         "random:patches42", "--model.num_steps", "16", "--model.hidden", "8",
         "--model.features.norm_samples", "16", "--data.game", "pong", "--data.num_envs", "2",
         "--data.disturbances", "[render:0]", "--data.total_steps", "32",
         "--run", str(run)])  # fmt: skip
    asked = ("evaluate", "--run", run, "--episodes", 1, "--max-frames", 400, "--disturb")
    assert command(*asked, "blank:1", "mode:9") == 2
    assert "pong has no mode 9: choose among 0, 1" in capsys.readouterr().err
    assert read_run(run).evaluation is None
    assert command(*asked, "blank:1") == 0
    first = read_run(run).evaluation
    assert first.disturbed.keys() == {"blank:1"}
    assert command(*asked, "blank:1", "sticky:0.5") == 0
    found = read_run(run).evaluation
    assert found.disturbed["blank:1"] == first.disturbed["blank:1"]
    assert (found.returns, len(found.disturbed["sticky:0.5"].returns)) == (first.returns, 1)
    assert found.command.endswith("--disturb blank:1 sticky:0.5")
    said = capsys.readouterr().out
    assert "under" in said
    change = found.disturbed["sticky:0.5"].mean - found.mean
    assert f"{found.disturbed['sticky:0.5'].mean:.2f}" in said
    assert f"{change:+.2f}" in said
