"""`fovea agents record`: what trained agents play is recorded as what a random policy plays is."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from fovea import probes
from fovea.agents.adaptation.base import FineTuned, Frozen
from fovea.agents.algorithms.cal_ql import CalQL
from fovea.agents.algorithms.dqn import DQN
from fovea.agents.algorithms.ppo import PPO
from fovea.agents.fit import fit
from fovea.agents.loading import checkpoints_of, load_agent
from fovea.agents.record import Lane, emulator_settings, record, run_names
from fovea.agents.task import AtariTask
from fovea.atari.emulator import Emulator
from fovea.atari.frames import Frames
from fovea.atari.origin import differences
from fovea.atari.parquet import Damaged, check_rows, read_shard
from fovea.atari.recordings import open_dataset, verify
from fovea.atari.stats import tiers
from fovea.command import UserError
from fovea.files import sha256
from fovea.pretrain.data import Windows
from fovea.pretrain.encoders.vit import Shape, build

ROOT = Path(__file__).parents[2]
ASKED = {"steps": 320, "epsilons": (0.1, 0.5), "shard_steps": 160, "max_frames": 160,
         "accelerator": "cpu"}  # fmt: skip


@pytest.fixture(scope="module")
def runs(encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """A DQN on a frozen encoder with two checkpoints, and a fine-tuned PPO, both of Breakout."""
    folder = tmp_path_factory.mktemp("runs")
    fit([
        *("-c", str(ROOT / "agents" / "configs" / "dqn_frozen.yaml"), "--run", f"{folder}/dqn"),
        *("--model.init_args.encoder.init_args.encoder", str(encoder)),
        *("--model.init_args.learning_starts", "100", "--model.init_args.hidden", "16"),
        *("--data.game", "breakout", "--data.num_envs", "2", "--data.total_steps", "200"),
        *("--checkpoint_every", "20", "--model.init_args.features.norm_samples", "64"),
    ])  # fmt: skip
    fit([
        *("-c", str(ROOT / "agents" / "configs" / "ppo.yaml"), "--run", f"{folder}/ppo"),
        *("--model.init_args.encoder.init_args.encoder", str(encoder)),
        *("--model.init_args.num_steps", "16", "--model.init_args.features.norm_samples", "64"),
        *("--data.game", "breakout", "--data.num_envs", "2", "--data.total_steps", "32"),
        *("--data.sticky", "0", "--data.full_actions", "true", "--data.life_loss_terminal", "true"),
    ])  # fmt: skip
    return [folder / "dqn", folder / "ppo"]


@pytest.fixture(scope="module")
def recorded(runs: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four policies: both agents at their newest checkpoints, with two epsilons each."""
    out = tmp_path_factory.mktemp("recorded")
    record(runs, out, **ASKED, workers=1)
    return out


def shards(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((folder / "breakout").glob("*.*"))}


@pytest.mark.slow
def test_every_episode_names_its_policy_and_the_metadata_says_who_that_is(
    runs: list[Path], recorded: Path
) -> None:
    dataset, faults = verify(recorded / "breakout")
    assert faults == []
    assert len(dataset.shards) == 2
    checkpoints = [load_agent(run).checkpoint for run in runs]
    for path in sorted((recorded / "breakout").glob("*.parquet")):
        table = pq.read_table(path)
        says = json.loads(table.schema.metadata[b"recording"])
        names = [policy["name"] for policy in says["policies"]]
        assert names == ["dqn@200 eps 0.1", "dqn@200 eps 0.5", "ppo@32 eps 0.1", "ppo@32 eps 0.5"]
        assert [policy["agent"] for policy in says["policies"]] == ["DQN", "DQN", "PPO", "PPO"]
        assert [policy["epsilon"] for policy in says["policies"]] == [0.1, 0.5, 0.1, 0.5]
        assert [policy["settings"]["sticky"] for policy in says["policies"]] == [0.25, 0.25, 0, 0]
        for policy, checkpoint in zip(says["policies"][::2], checkpoints, strict=True):
            assert policy["checkpoint"] == checkpoint.name
            assert policy["sha256"] == sha256(checkpoint)
        rows = list(zip(table["episode"].to_pylist(), table["policy"].to_pylist(), strict=True))
        steps = {name: sum(row[1] == name for row in rows) for name in names}
        assert all(count >= 160 / 4 for count in steps.values())
        assert len(set(rows)) == len({episode for episode, _ in rows})
        assert {policy for _, policy in rows} == set(names)
        assert len(says["actions"]) == 18  # of which DQN knows four
        dqn = [row[1].startswith("dqn") for row in rows]
        assert set(np.array(table["action"])[dqn]) <= {0, 1, 3, 4}
        assert max(np.array(table["action"])) > 4


@pytest.mark.evidence
@pytest.mark.slow
def test_a_killed_command_that_is_run_again_and_any_workers_give_the_same_bytes(
    runs: list[Path], recorded: Path, tmp_path: Path
) -> None:
    command = [
        *(sys.executable, "-m", "fovea", "agents", "record", "--run", *runs, "--out", tmp_path),
        *("--epsilons", "0.1", "0.5", "--steps", "320", "--shard-steps", "160"),
        *("--max-frames", "160", "--accelerator", "cpu", "--workers", "1"),
    ]
    first = tmp_path / "breakout" / "shard-00000.parquet"
    with subprocess.Popen([*map(str, command)], cwd=ROOT, stderr=subprocess.DEVNULL) as killed:
        while not first.exists():
            assert killed.poll() is None
            time.sleep(0.01)
        killed.send_signal(signal.SIGKILL)
    kept = first.stat().st_ino
    assert not (tmp_path / "breakout" / "_dataset.json").exists()
    record(runs, tmp_path, **ASKED, workers=1)
    assert first.stat().st_ino == kept
    assert shards(tmp_path) == shards(recorded)


@pytest.mark.slow
def test_the_command_says_what_there_is(
    runs: list[Path], recorded: Path, command: Callable[..., int], capsys: pytest.CaptureFixture
) -> None:
    """Of a recording that is finished, too."""
    before = shards(recorded)
    assert command("record", "--run", *runs, "--out", recorded, "--epsilons", 0.1, 0.5,
                   "--steps", 320, "--shard-steps", 160, "--max-frames", 160,
                   "--accelerator", "cpu", "--workers", 1) == 0  # fmt: skip
    said = capsys.readouterr().out
    assert said.startswith(f"{recorded}/breakout: ")
    assert "dqn@200 eps 0.1" in said
    assert shards(recorded) == before


@pytest.mark.evidence
@pytest.mark.slow
def test_an_address_is_recorded_to_like_a_folder(
    runs: list[Path], recorded: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FOVEA_CACHE", str(tmp_path / "cache"))
    record(runs, f"file://{tmp_path}/there", **ASKED, workers=1)
    assert shards(tmp_path / "there") == shards(recorded)


@pytest.mark.evidence
@pytest.mark.slow
def test_a_recording_made_in_another_way_is_left_as_it_is(runs: list[Path], recorded: Path) -> None:
    before = shards(recorded)
    for other, says in {
        "epsilons": ((0.1,), "policies dqn@200 eps 0.1, dqn@200 eps 0.5, ppo@32 .*, not dqn@200 "),
        "max_frames": (440, "max_frames of dqn@200 eps 0.1 160, not 440: give another --out, or"),
        "seed": (1, "seed 0, not 1"),
        "envs": (3, "envs 2, not 3"),
    }.items():
        with pytest.raises(UserError, match=f"shard-00000.parquet was recorded with {says[1]}"):
            record(runs, recorded, **ASKED | {other: says[0]})
    assert shards(recorded) == before


@pytest.mark.slow
@pytest.mark.parametrize("fire_reset", [False, True])
def test_an_agent_sees_what_it_saw_in_training(fire_reset: bool) -> None:
    """Screen for screen, with black ones before an episode and none over a lost life."""
    task = AtariTask("breakout", num_envs=1, stack=3, protocol="atari_100k", sticky=0.25,
                     noop_max=1, fire_reset=fire_reset, full_actions=True)  # fmt: skip
    envs = task.make_envs(1, True, 10**6, seed=5)
    seed = int(np.random.SeedSequence(5).generate_state(1)[0] >> 1)
    emulator = Emulator("breakout", emulator_settings(task, None), seed)
    assert emulator.actions == envs.action_meanings
    lane = Lane(0, emulator, list(range(18)), 3, np.random.default_rng(0))
    rng, ended, lost = np.random.default_rng(1), 0, 0
    for _ in range(700):
        if lane.over:
            lane.start()
        np.testing.assert_array_equal(lane.obs, envs.screens[0])
        action = int(rng.integers(18))
        lane.step(action)
        step = envs.step(np.array([action]))
        assert lane.over == step.ended[0]
        assert lane.episode.rows[-1][4] == step.reward[0]
        ended, lost = ended + lane.over, lost + bool(step.terminal[0])
    assert ended >= 2
    assert lost > ended


@pytest.mark.evidence
@pytest.mark.slow
def test_without_epsilon_each_action_is_the_agents_own(runs: list[Path], tmp_path: Path) -> None:
    dqn = runs[0]
    record([dqn], tmp_path, **ASKED | {"steps": 1, "epsilons": [0.0]}, workers=1)
    frames, loaded = Frames.load([tmp_path]), load_agent(dqn)
    task = AtariTask("breakout", num_envs=1, total_steps=64)
    offline = CalQL(str(tmp_path), FineTuned(build(Shape(patch=42))), 4, batch_size=64)
    task.attach(offline)
    replay, _ = task.experience.steps.memory  # with black screens where an episode starts
    rows = torch.arange(len(frames))
    seen = replay.observation(rows, torch.zeros_like(rows))
    with torch.no_grad():
        values = loaded.agent.head(loaded.agent.extractor(loaded.agent.observe(seen)))
    # Screens are encoded in other numbers at once, so that the last bits differ.
    same = (loaded.agent.best(values) == frames.labels["action"]).float().mean()
    assert same > 0.97


@pytest.mark.parametrize("agent", [DQN, PPO])
def test_epsilon_is_the_chance_of_a_uniform_action(agent: type) -> None:
    made = agent(Frozen(build(Shape(patch=42))), 4, hidden=8).eval()
    if agent is PPO:
        torch.nn.init.constant_(made.policy.bias, 0)
        with torch.no_grad():
            made.policy.bias[2] = 50.0  # always action 2
    obs = torch.zeros(1, 192).expand(4000, -1)
    own = made.act(obs[:1], torch.Generator().manual_seed(0))[0]
    epsilon = torch.tensor([0.0, 0.4]).repeat(2000)
    chosen = made.epsilon_greedy(obs, epsilon, torch.Generator().manual_seed(1))
    assert (chosen[::2] == own).all()
    shares = torch.bincount(chosen[1::2], minlength=4) / 2000
    wanted = torch.full((4,), 0.1)
    wanted[own] += 0.6
    torch.testing.assert_close(shares, wanted, rtol=0, atol=0.03)


@pytest.mark.slow
def test_all_that_reads_recordings_takes_a_mix(
    runs: list[Path], recorded: Path, recordings: Path, encoder: Path
) -> None:
    folders = [str(recordings), str(recorded)]
    frames = Frames.load(folders, ["breakout"])
    counts = [open_dataset(Path(folder) / "breakout") for folder in folders]
    assert len(frames) == sum(dataset.rows for dataset in counts)
    assert len(frames.episode.unique()) == sum(dataset.episodes for dataset in counts)
    parts = [set(part.episode.tolist()) for part in frames.split()]
    assert sum(map(len, parts)) == len(set.union(*parts)) == len(frames.episode.unique())
    border = counts[0].episodes
    for part in parts[::2]:  # training and test have episodes of both
        assert min(part) < border <= max(part)

    windows = Windows(folders, batch_size=8)
    assert set(windows.frames.game.tolist()) == {0, 1}
    assert windows.frames.labels["action"].max() > 5
    tables = probes.measure(encoder, folders, probe="collapse", samples=200)
    assert tables["features"].records()
    task = AtariTask("breakout", num_envs=1, total_steps=64, full_actions=True)
    agent = CalQL(folders, Frozen(build(Shape(patch=42))), 18, batch_size=64, hidden=8)
    task.attach(agent)
    assert set(agent.losses(task.experience.batch(0))) == {"td", "conservative"}


@pytest.mark.slow
def test_tiers_and_their_settings_are_shown(recorded: Path) -> None:
    dataset = open_dataset(recorded / "breakout")
    found = tiers(recorded / "breakout", dataset)
    assert [tier.policy for tier in found] == dataset.origin.policy_names
    assert sum(tier.steps for tier in found) == dataset.rows
    assert sum(len(tier.returns) for tier in found) == dataset.episodes
    assert list(differences([dataset.origin])) == [
        "breakout was played with different settings: sticky 0 and 0.25, full_actions 0 and 1"
    ]


@pytest.mark.slow
def test_a_policy_that_the_metadata_does_not_have_is_damage(recorded: Path, tmp_path: Path) -> None:
    path = recorded / "breakout" / "shard-00000.parquet"
    table = pq.read_table(path)
    at = table.schema.get_field_index("policy")
    other = tmp_path / path.name
    column = pa.array(["dqn@7 eps 0.1"] * len(table)).dictionary_encode()
    pq.write_table(table.set_column(at, table.schema.field(at), column), other)
    with pytest.raises(Damaged, match=r"its metadata has no policy 'dqn@7 eps 0\.1'"):
        check_rows(read_shard(other))


@pytest.mark.slow
def test_checkpoints_are_found_by_their_numbers(runs: list[Path]) -> None:
    folder = runs[0] / "checkpoints"
    older, newer = sorted(folder.glob("*.ckpt"))
    assert checkpoints_of(runs[0], ["newest"]) == [newer]
    assert checkpoints_of(runs[0], ["all"]) == [older, newer]
    number = int(older.stem.removeprefix("step-"))
    assert checkpoints_of(runs[0], ["newest", str(number), "newest"]) == [newer, older]
    assert load_agent(runs[0], older).played < load_agent(runs[0], newer).played


@pytest.mark.evidence
@pytest.mark.slow
def test_checkpoints_between_which_nothing_was_played_are_policies_of_their_own(
    runs: list[Path], encoder: Path, tmp_path: Path
) -> None:
    run = tmp_path / "ppo"
    fit([
        *("-c", str(ROOT / "agents" / "configs" / "ppo_frozen.yaml"), "--run", str(run)),
        *("--model.init_args.encoder.init_args.encoder", str(encoder)),
        *("--model.init_args.num_steps", "16", "--data.game", "breakout", "--data.num_envs", "2"),
        *("--data.total_steps", "32", "--checkpoint_every", "4"),
    ])  # fmt: skip
    stems = [path.stem for path in checkpoints_of(run, ["all"])]
    assert len(stems) == 2
    (found,) = record([run], tmp_path / "out", **ASKED | {"steps": 1, "epsilons": [0.5]},
                      checkpoints=["all"])  # fmt: skip
    assert found.origin.policy_names == [f"ppo@32 {stem} eps 0.5" for stem in stems]


def test_runs_are_named_by_as_much_of_their_paths_as_tells_them_apart() -> None:
    paths = [Path("/a/one/seed-0"), Path("/a/two/seed-0")]
    assert list(run_names(paths).values()) == ["one/seed-0", "two/seed-0"]
    assert list(run_names(paths[:1]).values()) == ["seed-0"]


MISTAKES = {
    "no agent": (["--run", "nowhere"], "nowhere holds no agent: train one with"),
    "a checkpoint that is not there": (["--checkpoints", "7"], "has no step-000000007.ckpt: there"),
    "a checkpoint without a number": (["--checkpoints", "last"], "checkpoint 'last': give newest"),
    "a chance above one": (["--epsilons", "0.1", "2"], "invalid probability value: '2'"),
}


@pytest.mark.slow
@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_named_and_nothing_is_written(
    mistake: str, runs: list[Path], tmp_path: Path, command: Callable[..., int],
    capsys: pytest.CaptureFixture,
) -> None:  # fmt: skip
    asked, message = MISTAKES[mistake]
    out = tmp_path / "out"
    assert command("record", "--run", runs[0], "--out", out, *asked) == 2
    assert message in capsys.readouterr().err.splitlines()[-1]
    assert not out.exists()
