"""Every setting that an agent accepts changes something that a user can see."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn.functional import avg_pool2d

from fovea.agents import DQN, PPO, AtariTask, CalQL, Cloned, FineTuned, Frozen, ReadOut, train
from fovea.command import UserError
from fovea.pretrain.encoders.encoder import Encoder, Features, side_by_side

pytestmark = pytest.mark.slow

AGENTS = {agent.__name__: agent for agent in (DQN, PPO, CalQL, Cloned)}


class Tiny(Encoder):
    """Four tokens of six numbers: an encoder that costs nothing."""

    dim, grid, stack, screen, depth = 6, (2, 2), 4, (84, 84), 2

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.mix = nn.Linear(4 * 9, 4 * 6)

    def encode(self, pixels: torch.Tensor) -> Features:
        tokens = self.mix(avg_pool2d(pixels, 28).flatten(1)).unflatten(1, (4, 6))
        return Features(tokens.amax(dim=1), tokens)

    def encode_blocks(self, pixels: torch.Tensor, blocks: Sequence[int]) -> Features:
        found = self.encode(pixels)
        each = [Features(*(number * part.square() for part in found)) for number in blocks]
        return side_by_side(each, blocks)


READ = ReadOut("projected_tokens", norm="standard", norm_samples=8)
# Settings of a run in which every other setting has something to do: prioritised, noisy, n-step ...
RICH = {
    "DQN": {"learning_starts": 16, "buffer_size": 30, "batch_size": 4, "train_freq": 2,
            "target_update_interval": 3, "epsilon_steps": 2, "hidden": 8, "per_alpha": 0.5,
            "features": READ, "value_head": "c51",
            "n_step": 3, "n_step_final": 1, "gamma_final": 0.9, "anneal_updates": 3,
            "reset_interval": 4, "tau": 0.5, "epsilon_initial": 0.9, "epsilon_final": 0.5,
            "epsilon_spread": 4.0, "epsilon_evaluation": 0.5, "lr": 0.05,
            "augmentations": [[{"name": "shift", "pixels": 4}]]},
    "CalQL": {"batch_size": 4, "target_update_interval": 3, "hidden": 8, "n_step": 2, "lr": 0.02,
              "features": READ, "value_head": "c51",
              "epsilon_evaluation": 0.5},
    "PPO": {"num_steps": 8, "num_minibatches": 2, "update_epochs": 2, "hidden": 8, "lr": 0.02,
            "clip_coef": 0.001, "features": READ,
            "augmentations": [[{"name": "shift", "pixels": 4}]]},
    "Cloned": {"batch_size": 4, "hidden": 8, "features": READ, "lr": 0.02},
}  # fmt: skip
# Another value for each setting; a setting that is missing here fails the test.
OTHER = {
    "encoder": "frozen", "actions": 18, "features": ReadOut("cls", norm="none"),
    "hidden": 5, "lr": 0.1, "adam_eps": 1.0, "anneal_lr": True,
    "seed": 1, "double_q": False, "dueling": True, "noisy": 0.5, "value_head": "regression",
    "value_range": (-2.0, 2.0), "bins": 20, "target_update_interval": 1, "tau": 0.25, "gamma": 0.5,
    "gamma_final": None, "n_step": 1, "n_step_final": None, "anneal_updates": 1,
    "reset_interval": 0, "reset_shrink": 0.5, "act_with_target": True, "weight_decay": 0.5,
    "batch_size": 5, "buffer_size": 20, "buffer_on_disk": True, "per_alpha": 0.0, "per_beta": 0.9,
    "shift": 4, "learning_starts": 20, "train_freq": 4, "epsilon_initial": 0.1,
    "epsilon_final": 0.9, "epsilon_spread": 0.0, "epsilon_steps": 1000, "epsilon_evaluation": 0.0,
    "clip_coef": 0.1, "clip_vloss": False, "vf_coef": 5.0, "ent_coef": 1.0, "gae_lambda": 0.1,
    "num_steps": 4, "update_epochs": 1, "num_minibatches": 1,
    "augmentations": [[{"name": "shift", "pixels": 1}]], "consistency_coef": 5.0,
    "consistency_tau": 5.0, "positive_advantage_only": True, "cql_alpha": 5.0, "calibrated": False,
    "offline_ratio": 0.5, "view_coef": 5.0, "return_coef": 5.0, "critic_warmup": 16,
}  # fmt: skip


TASKS = {
    actions: AtariTask("pong", 2, total_steps=36, noop_max=0, full_actions=actions == 18)
    for actions in (6, 18)
}


def shown(name: str, recordings: Path | str, folder: Path, **other: object) -> str:
    """A hash of what a tiny run shows: weights, actions in an evaluation, files in its folder."""
    agent_class = AGENTS[name]
    settings = RICH[name] | {"encoder": "fine-tuned", "actions": 6, "recordings": recordings}
    settings |= other
    if settings["encoder"] == "frozen":
        settings.pop("augmentations", None)  # of screens, of which none are stored
    accepted = inspect.signature(agent_class).parameters
    settings = {name: value for name, value in settings.items() if name in accepted}
    settings["encoder"] = {"frozen": Frozen, "fine-tuned": FineTuned}[settings["encoder"]](Tiny())
    task = TASKS[settings["actions"]]
    task.folder = folder
    agent = agent_class(**settings)
    train(agent, task, accelerator="cpu")
    hashed = hashlib.sha256()
    for key, value in agent.state_dict().items():
        hashed.update(key.encode() + value.numpy().tobytes())
    obs = agent.observe(torch.from_numpy(task.envs.screens)).repeat_interleave(50, dim=0)
    hashed.update(agent.act(obs, torch.Generator().manual_seed(0)).numpy().tobytes())
    hashed.update(str(str(folder) in Path("/proc/self/maps").read_text()).encode())
    return hashed.hexdigest()


@pytest.fixture(scope="module")
def usual(recordings: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("usual")
    return {name: shown(name, str(recordings), folder) for name in AGENTS}


@pytest.mark.parametrize("name", AGENTS)
def test_the_same_settings_show_the_same(
    name: str, usual: dict[str, str], recordings: Path, tmp_path: Path
) -> None:
    assert shown(name, str(recordings), tmp_path) == usual[name]


@pytest.mark.parametrize(
    ("name", "setting"),
    [(name, setting) for name, agent in AGENTS.items()
     for setting in inspect.signature(agent).parameters if setting != "recordings"],
)  # fmt: skip
def test_another_value_of_a_setting_shows(
    name: str, setting: str, usual: dict[str, str], recordings: Path, tmp_path: Path
) -> None:
    other = shown(name, str(recordings), tmp_path, **{setting: OTHER[setting]})
    assert other != usual[name]


# From `READ`, or from `attention` for its queries.
OTHER_READ_OUTS = {
    "kind": ("locally_connected", {}),
    "blocks": ([1], {}),
    "norm": ("whiten", {}),
    "norm_samples": (16, {}),
    "projection_dim": (3, {}),
    "queries": (2, {"kind": "attention"}),
}


@pytest.mark.parametrize(
    "field",
    [
        pytest.param(
            field.name,
            marks=[] if field.name == "kind" else [pytest.mark.slow, pytest.mark.evidence],
        )
        for field in fields(ReadOut)
    ],
)
def test_another_value_of_a_read_out_shows(field: str, tmp_path: Path) -> None:
    value, more = OTHER_READ_OUTS[field]
    usual = replace(READ, **more)
    found = {
        shown("DQN", "", tmp_path, features=read_out)
        for read_out in (usual, replace(usual, **{field: value}))
    }
    assert len(found) == 2


@pytest.mark.parametrize("name", ["CalQL", "Cloned"])
def test_recordings_are_read(name: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nowhere"):
        shown(name, "nowhere", tmp_path)
