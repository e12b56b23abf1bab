"""Run folders of version 0.1 go on loading, under the names of today."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
import yaml

from fovea.agents.loading import load_agent
from fovea.atari.recordings import open_dataset
from fovea.command import UserError
from fovea.old_names import is_old, read_config, renamed_checkpoint, renamed_config
from fovea.pretrain.encoders.folder import load_encoder
from fovea.pretrain.training.fit import fit
from fovea.pretrain.training.growth import changes
from fovea.runs import read_run

OLD = Path(__file__).parent / "before_0_2"
EXPECTED = json.loads((OLD / "expected.json").read_text())
SCREENS = torch.arange(4 * 84 * 84).remainder(251).to(torch.uint8).view(1, 4, 84, 84)


@pytest.fixture
def old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the old folders, which is the current one: agents name their encoder `pretrain`."""
    shutil.copytree(OLD, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_old_folders_are_known_by_their_version(tmp_path: Path) -> None:
    assert all(is_old(OLD / name) for name in ("pretrain", "dqn", "ppo_lora", "probes"))
    assert not is_old(tmp_path)
    (tmp_path / "run.json").write_text('{"versions": {"fovea-rl": "0.2.0"}}')
    assert not is_old(tmp_path)


def test_a_config_of_a_pretraining_has_todays_names() -> None:
    held, now = (
        yaml.safe_load((OLD / "pretrain/config.yaml").read_text()),
        read_config(OLD / "pretrain"),
    )
    assert now["model"]["class_path"] == "fovea.pretrain.TOVVICReg"
    assert now["model"]["init_args"] == held["model"]["init_args"]
    assert now["data"]["batch_size"] == 16
    assert "batch" not in now["data"]
    assert "tensorboard" not in now
    assert now["trainer"] == held["trainer"]


def test_a_config_of_an_agent_has_todays_names() -> None:
    dqn, ppo = read_config(OLD / "dqn"), read_config(OLD / "ppo_lora")
    assert dqn["model"]["class_path"] == "fovea.agents.DQN"
    settings = dqn["model"]["init_args"]
    assert settings["encoder"] == {
        "class_path": "fovea.agents.Frozen", "init_args": {"encoder": "pretrain"},
    }  # fmt: skip
    assert settings["features"] == {
        "kind": "projected_tokens", "projection_dim": 2, "norm": "standard", "norm_samples": 32,
    }  # fmt: skip
    expected = {
        "double_q": True, "value_head": "c51", "target_update_interval": 10, "tau": 1.0,
        "batch_size": 16, "buffer_size": 12, "buffer_on_disk": False, "per_alpha": 0.0,
        "per_beta": 0.4, "learning_starts": 200, "train_freq": 2.0,
        "anneal_lr": False, "gamma": 0.99, "n_step": 1,
    }  # fmt: skip
    assert expected.items() <= settings.items()
    assert not {"double", "values", "batch", "replay", "priority", "warmup", "anneal"} & {*settings}
    assert dqn["data"] == {
        "game": "pong", "num_envs": 2, "total_steps": 300, "stack": 4, "protocol": "machado",
        "fire_reset": False, "full_actions": False, "clip_rewards": True,
    }  # fmt: skip
    settings = ppo["model"]["init_args"]
    assert settings["encoder"]["class_path"] == "fovea.agents.LoRA"
    assert settings["features"]["kind"] == "cls_and_mean"
    expected = {
        "clip_coef": 0.1, "clip_vloss": True, "vf_coef": 0.5, "ent_coef": 0.01, "gae_lambda": 0.95,
        "num_steps": 16, "update_epochs": 4, "num_minibatches": 4, "consistency_coef": 0.1,
        "positive_advantage_only": False,
    }  # fmt: skip
    assert expected.items() <= settings.items()


def test_other_settings_of_0_1_have_todays_names() -> None:
    offline = renamed_config({
        "model": {"class_path": "agents.cal_ql.CalQL",
                  "init_args": {"conservative": 2.0, "replay": 9, "epsilon_steps": 1, "batch": 8}},
        "data": {"game": "pong", "steps": 16},
        "trainer": {}, "start": "runs/other", "tensorboard": True,
    })  # fmt: skip
    pretrained = renamed_config({
        "model": {"class_path": "pretrain.recipe.Recipe", "init_args": {"steps": 3, "count": 8}},
        "data": {"batch": 4},
    })  # fmt: skip
    assert pretrained["data"] == {"batch_size": 4}
    assert pretrained["model"]["init_args"] == {
        "steps": [1, 2, 3], "count": 8, "inverse_weight": 0.0, "last_momentum": None,
    }  # fmt: skip
    assert offline["model"]["init_args"] == {"cql_alpha": 2.0, "batch_size": 8}  # it uses no replay
    assert offline["init_from"] == "runs/other"
    assert offline["trainer"]["logger"] == {"class_path": "TensorBoardLogger"}
    sequence = renamed_config({
        "games": ["pong"], "steps": 9, "play": {"envs": 4},
        "methods": {"alone": {"encoder": {"class_path": "agents.l2p.L2P"}, "per_game": "agent"},
                    "both": {"encoder": {"class_path": "agents.adapt.Frozen"}}},
        "agent": {"class_path": "agents.ppo.PPO", "init_args": {"features": "summary"}},
    })  # fmt: skip
    assert (sequence["steps_per_game"], sequence["task"]) == (9, {"num_envs": 4})
    assert sequence["methods"]["alone"] == {
        "encoder": {"class_path": "fovea.agents.L2P"}, "task_aware": "agent",
    }  # fmt: skip
    assert sequence["methods"]["both"]["task_aware"] == "none"
    assert sequence["agent"] == {
        "class_path": "fovea.agents.PPO",
        "init_args": {"features": {"kind": "cls"}},
    }


@pytest.mark.parametrize("name", ["dqn", "ppo_lora"])
def test_a_checkpoint_has_todays_names_and_the_same_weights(name: str) -> None:
    (path,) = (OLD / name / "checkpoints").glob("*.ckpt")
    held = torch.load(path, weights_only=True)
    now = renamed_checkpoint(held)
    assert "Play" not in now
    assert now["AtariTask"] == held["Play"]
    assert len(now["state_dict"]) == len(held["state_dict"])
    assert not [key for key in now["state_dict"] if "eyes" in key or "standard" in key]
    pairs = {
        "eyes.standard.mean": "extractor.norm.mean",
        "eyes.encoder.encoder.vit.cls_token": "extractor.encoder.encoder.vit.cls_token",
    }
    if name == "dqn":
        pairs |= {"eyes.shrink.0.weight": "extractor.projection.0.weight",
                  "target.0.shrink.0.bias": "target.0.projection.0.bias",
                  "target.0.standard.scale": "target.0.norm.scale",
                  "head.value.2.bias": "head.value.2.bias"}  # fmt: skip
    for before, after in pairs.items():
        assert now["state_dict"][after] is held["state_dict"][before]
    assert renamed_checkpoint(now)["state_dict"].keys() == now["state_dict"].keys()


def old_settings(run: Path) -> list[str]:
    """The command of today that means what the old run was."""
    views = "[{name: shift, pixels: 4}, {name: intensity, scale: 0.05}]"
    return [
        *("-c", "tov_vicreg", "--run", str(run), "--trainer.max_steps", "3"),
        *("--data.recordings", "[recordings/pong, recordings/breakout]", "--data.batch_size", "16"),
        *("--model.encoder.patch", "12", "--model.expander", "16", "--model.width", "16"),
        *("--model.augment_first", views, "--model.augment_second", views),
        *("--model.center_per_game", "false", "--trainer.log_every_n_steps", "1"),
    ]


def test_the_old_settings_are_understood_and_others_are_named(old: Path) -> None:
    """Both sides in today's names: only what differs is refused."""
    now = read_config(old / "pretrain")
    assert changes(old / "pretrain", yaml.safe_dump(now)) == {}
    now["data"]["batch_size"] = 32
    with pytest.raises(UserError, match=r"holds a run with data\.batch_size = 16, not 32: give an"):
        changes(old / "pretrain", yaml.safe_dump(now))


def learned_from(run: Path, recordings: Path) -> None:
    """Make it the run of these recordings: those that it learned from are not kept."""
    record = json.loads((run / "run.json").read_text())
    record["data"] = {game: open_dataset(recordings / game).sha256 for game in record["data"]}
    (run / "run.json").write_text(json.dumps(record))


@pytest.mark.slow
def test_an_old_pretraining_is_done_and_cannot_go_on(
    old: Path, recordings: Path, capsys: pytest.CaptureFixture
) -> None:
    (old / "recordings").symlink_to(recordings)
    learned_from(old / "pretrain", recordings)
    fit(old_settings(old / "pretrain"))
    assert "already done (3 steps)" in capsys.readouterr().out
    record = old / "pretrain" / "run.json"
    record.write_text(record.read_text().replace('"done"', '"failed"'))
    with pytest.raises(UserError, match=r"begun by version 0\.1, whose random draws were others"):
        fit(old_settings(old / "pretrain"))
    assert read_run(old / "pretrain").state == "failed"


@torch.no_grad()
def test_an_old_encoder_gives_the_features_that_it_gave() -> None:
    summary, tokens = load_encoder(OLD / "pretrain")(SCREENS)
    for name, values in (("summary", summary), ("tokens_mean", tokens.mean(dim=1))):
        assert values[0].tolist() == pytest.approx(EXPECTED["encoder"][name], abs=1e-5)


@torch.no_grad()
def test_an_old_dqn_evaluates_as_it_did(old: Path) -> None:
    agent, _, checkpoint, played = load_agent(old / "dqn")
    assert (checkpoint.name, played) == (EXPECTED["dqn"]["checkpoint"], EXPECTED["dqn"]["played"])
    outputs = agent.head(agent.extractor(agent.extractor.observe(SCREENS)))
    values = agent.value_head.value(agent.by_action(outputs))
    # Its features are standardised, of which rounding is 200 times as large a part: on a CPU with
    # AVX-512 values are off by 5e-5 of those that AVX2 gives.
    assert values[0].tolist() == pytest.approx(EXPECTED["dqn"]["values"], abs=2e-4)


@torch.no_grad()
def test_an_old_ppo_evaluates_as_it_did(old: Path) -> None:
    agent, _, checkpoint, played = load_agent(old / "ppo_lora")
    expected = EXPECTED["ppo_lora"]
    assert (checkpoint.name, played) == (expected["checkpoint"], expected["played"])
    logp, value = agent.policy_and_value(agent.extractor.observe(SCREENS))
    assert logp[0].tolist() == pytest.approx(expected["logp"], abs=1e-5)
    assert float(value) == pytest.approx(expected["value"], abs=1e-5)
