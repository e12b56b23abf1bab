"""A trained agent in other hands: its folder moved, its values and their gradients asked for."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

from fovea.agents import DQN, L2M, PPO, AtariTask, FineTuned, Frozen, ReadOut, load_agent, train
from fovea.agents.loading import ARCHITECTURES
from fovea.command import UserError
from fovea.pretrain.encoders.folder import export_encoder
from fovea.pretrain.encoders.vit import Shape, build

SMALL = {
    "dqn_frozen": {"buffer_size": 200, "learning_starts": 64},
    "ppo_lora": {"num_steps": 4},
}


def screens(count: int) -> torch.Tensor:
    return torch.randint(0, 256, (count, 4, 84, 84)).to(torch.uint8)


def values(agent, images: torch.Tensor) -> torch.Tensor:
    return (agent.q_values if isinstance(agent, DQN) else agent.action_probabilities)(images)


@pytest.mark.slow
@pytest.mark.parametrize("config", SMALL)
def test_a_run_loads_from_anywhere(
    config: str, tmp_path: Path, command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    export_encoder(build(Shape(patch=42), seed=7), "eyes/encoder", {})
    settings = {"hidden": 8, "features.norm_samples": 8, "encoder.init_args.encoder": "eyes"}
    settings |= SMALL[config]
    flags = [w for name, value in settings.items() for w in (f"--model.init_args.{name}", value)]
    fit = ("fit", "-c", config, "--run", "run", "--data.total_steps", 68, "--data.num_envs", 2)
    assert command(*fit, *flags) == 0
    here = load_agent("run")
    (tmp_path / "else").mkdir()
    shutil.move("run", tmp_path / "else" / "moved")
    shutil.rmtree("eyes")
    monkeypatch.chdir(tmp_path / "else")
    there = load_agent("moved")
    assert (Path("moved") / ARCHITECTURES["encoder"]).exists()
    named = load_agent(str(tmp_path / "else" / "moved"), str(there.checkpoint))
    images = screens(3)
    for loaded in (there, named):
        assert torch.equal(values(here.agent, images), values(loaded.agent, images))


@pytest.mark.slow
@pytest.mark.parametrize("adapted", [Frozen, FineTuned, L2M])
@pytest.mark.parametrize("kind", [DQN, PPO])
def test_values_of_bytes_and_of_pixels_with_gradients(
    kind: type, adapted: type, encoder: Path
) -> None:
    agent = kind(adapted(str(encoder)), actions=6, hidden=8, features=ReadOut("tokens")).eval()
    agent.on_collect_start()
    images = screens(3)
    of_bytes = values(agent, images)
    assert of_bytes.shape == (3, 6)
    assert not of_bytes.requires_grad
    pixels = (images / 255).requires_grad_()
    of_pixels = values(agent, pixels)
    torch.testing.assert_close(of_pixels, of_bytes, rtol=1e-2, atol=1e-3)
    of_pixels[:, 0].sum().backward()
    assert (pixels.grad != 0).any()
    if kind is PPO:
        torch.testing.assert_close(of_bytes.sum(dim=1), torch.ones(3))


@pytest.mark.parametrize("adapted", [Frozen, FineTuned])
@pytest.mark.parametrize("kind", [DQN, PPO])
def test_an_agent_that_is_shown_float_screens_names_what_takes_them(
    kind: type, adapted: type, encoder: Path
) -> None:
    """A frozen encoder when it observes; one that learns keeps screens, and reads them to act."""
    agent = kind(adapted(str(encoder)), actions=6, hidden=8).eval()
    agent.on_collect_start()
    pixels = screens(2) / 255
    with pytest.raises(UserError, match=r"go to .* an agent's q_values and action_probabilities"):
        agent.act(agent.observe(pixels), torch.Generator())
    assert values(agent, pixels).shape == (2, 6)


@pytest.mark.slow
def test_values_are_those_that_actions_follow(encoder: Path) -> None:
    task = AtariTask("pong", num_envs=2, total_steps=60, noop_max=0)
    agent = DQN(Frozen(str(encoder)), task.action_count, learning_starts=40, batch_size=4,
                buffer_size=60, hidden=8, train_freq=2, epsilon_evaluation=0)  # fmt: skip
    train(agent, task, accelerator="cpu")
    images = screens(5)
    actions = agent.act(agent.observe(images), torch.Generator())
    assert torch.equal(agent.q_values(images).argmax(dim=1), actions)


@pytest.mark.slow
def test_captum_attributes_a_value_to_pixels(encoder: Path) -> None:
    captum = pytest.importorskip("captum.attr")
    agent = DQN(Frozen(str(encoder)), actions=6, hidden=8).eval()
    gradients = captum.IntegratedGradients(agent.q_values)
    pixels = screens(2) / 255
    found = gradients.attribute(pixels, target=1, n_steps=64)
    with torch.no_grad():
        difference = (agent.q_values(pixels) - agent.q_values(torch.zeros_like(pixels)))[:, 1]
    torch.testing.assert_close(found.sum(dim=(1, 2, 3)), difference.float(), rtol=0.1, atol=0.01)
