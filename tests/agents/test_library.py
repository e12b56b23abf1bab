"""Agents in a few lines of Python: public names, training without a run folder, any precision."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import lightning
import pytest
import torch
import yaml

import fovea.agents
from fovea.agents import (
    DQN,
    PPO,
    Agent,
    AtariTask,
    FineTuned,
    Frozen,
    ReadOut,
    evaluate,
    load_agent,
    train,
)
from fovea.pretrain.training.checkpoint import read

CONFIGS = sorted((Path(__file__).parents[2] / "agents" / "configs").glob("*.yaml"))
SMALL = {
    DQN: {"learning_starts": 40, "batch_size": 4, "buffer_size": 60, "hidden": 8, "train_freq": 2},
    PPO: {"num_steps": 10, "hidden": 8, "update_epochs": 1},
}
NORMED = ReadOut(norm="standard", norm_samples=8)
AGENTS = pytest.mark.parametrize("kind", SMALL)


def small_task(steps: int = 60) -> AtariTask:
    return AtariTask("pong", num_envs=2, total_steps=steps, noop_max=0)


def weights(agent: Agent) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in agent.state_dict().items()}


@pytest.mark.slow
def test_an_agent_is_trained_and_evaluated_in_five_lines(encoder: Path, tmp_path: Path) -> None:
    task = AtariTask("pong", total_steps=400, num_envs=4)
    agent = DQN(Frozen(str(encoder)), actions=task.action_count, learning_starts=200)
    train(agent, task)
    returns = evaluate(agent, task, episodes=2, num_envs=2, max_frames=400)
    assert len(returns) == 2
    assert all(-21 <= score <= 21 for score in returns)
    assert task.experience.played == 400
    assert returns == evaluate(agent, task, episodes=2, num_envs=2, max_frames=400)


@pytest.mark.slow
@AGENTS
def test_training_is_a_function_of_the_seeds_and_moves_the_weights(
    kind: type[Agent], encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    found = []
    for _ in range(2):
        task = small_task()
        agent = kind(FineTuned(str(encoder)), task.action_count, **SMALL[kind])
        before = weights(agent)
        train(agent, task, accelerator="cpu")
        found.append(weights(agent))
        assert any(not torch.equal(before[name], found[-1][name]) for name in before)
    assert all(torch.equal(found[0][name], found[1][name]) for name in found[0])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@AGENTS
def test_a_plain_trainer_trains_the_same(kind: type[Agent], encoder: Path, tmp_path: Path) -> None:
    """Without a word of how many updates there are, and with rates that fall over the run."""
    settings = SMALL[kind] | {"anneal_lr": True, "features": NORMED}
    agents = []
    for plain in (False, True):
        task = small_task()
        agent = kind(Frozen(str(encoder)), task.action_count, **settings)
        if plain:
            trainer = lightning.Trainer(max_epochs=1, accelerator="cpu", logger=False,
                                        enable_progress_bar=False, enable_model_summary=False,
                                        enable_checkpointing=False,
                                        default_root_dir=tmp_path)  # fmt: skip
            trainer.fit(agent, task)
            assert trainer.global_step == task.experience.updates > 5
        else:
            train(agent, task, accelerator="cpu")
        agents.append(weights(agent))
    assert agents[0]["extractor.norm.screens"] == 8
    assert all(torch.equal(agents[0][name], agents[1][name]) for name in agents[0])


@pytest.mark.slow
@AGENTS
@pytest.mark.parametrize("adapted", [Frozen, FineTuned])
def test_agents_learn_in_double_precision(
    kind: type[Agent], adapted: type, encoder: Path, tmp_path: Path
) -> None:
    settings = SMALL[kind] | {"features": NORMED}
    single, double = (
        kind(adapted(str(encoder)), small_task().action_count, **settings) for _ in range(2)
    )
    double.double()
    task = small_task(44 if kind is DQN else 20)
    train(double, task, accelerator="cpu", precision="64-true")
    assert task.experience.updates >= 2
    floating = {value.dtype for value in double.state_dict().values() if value.is_floating_point()}
    assert floating == {torch.float64}
    if adapted is Frozen:  # what is stored is as precise as the network
        stored = task.experience.replay.held if kind is DQN else task.experience.rollout._asdict()
        assert stored["obs"].dtype == torch.float64
    train(single, small_task(44 if kind is DQN else 20), accelerator="cpu")
    for ours, theirs in zip(single.parameters(), double.parameters(), strict=True):
        torch.testing.assert_close(ours.double(), theirs, rtol=1e-2, atol=1e-3)


@pytest.mark.slow
def test_the_command_learns_in_double_precision(encoder: Path, tmp_path: Path, command) -> None:
    run = tmp_path / "run"
    settings = {
        "trainer.precision": "64-true", "data.total_steps": 68, "data.num_envs": 2,
        "model.init_args.encoder.init_args.encoder": encoder, "model.init_args.hidden": 8,
        "model.init_args.buffer_size": 200, "model.init_args.learning_starts": 64,
        "model.init_args.features.norm_samples": 8,
    }  # fmt: skip
    flags = [word for name, value in settings.items() for word in (f"--{name}", value)]
    assert command("fit", "-c", "dqn_frozen", "--run", run, *flags) == 0
    loaded = load_agent(run)
    weights = read(loaded.checkpoint)["state_dict"].values()
    assert {w.dtype for w in weights if w.is_floating_point()} == {torch.float64}
    assert len(evaluate(loaded.agent, loaded.task, 1, max_frames=100)) == 1


def test_public_names_are_light_until_they_are_used() -> None:
    code = (
        "import sys, fovea.agents\n"
        "assert not {'torch', 'lightning', 'timm'} & set(sys.modules)\n"
        "assert {'DQN', 'Frozen', 'train'} <= set(dir(fovea.agents))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def class_paths(tree: object) -> list[str]:
    if isinstance(tree, list):
        return [path for one in tree for path in class_paths(one)]
    if not isinstance(tree, dict):
        return []
    own = [tree["class_path"]] if "class_path" in tree else []
    return own + [path for one in tree.values() for path in class_paths(one)]


@pytest.mark.parametrize("config", CONFIGS, ids=lambda path: path.stem)
def test_configs_name_public_classes(config: Path) -> None:
    paths = class_paths(yaml.safe_load(config.read_text()))
    assert len(paths) >= 2
    for path in paths:
        room, _, name = path.rpartition(".")
        assert room == "fovea.agents", path
        assert getattr(fovea.agents, name).__name__ == name


@pytest.mark.slow
def test_a_run_folder_names_them_as_well(encoder: Path, tmp_path: Path, command) -> None:
    run = tmp_path / "run"
    flags = ("--data.total_steps", 32, "--model.init_args.num_steps", 4,
             "--model.init_args.features.norm_samples", 8,
             "--model.init_args.encoder.init_args.encoder", encoder)  # fmt: skip
    assert command("fit", "-c", "ppo_lora", "--run", run, *flags) == 0
    paths = class_paths(yaml.safe_load((run / "config.yaml").read_text()))
    assert paths == ["fovea.agents.PPO", "fovea.agents.LoRA"]
