"""The studies of the family, a few of their runs at toy size, from file to page."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from toy_studies import FAMILY

from fovea.agents.fit import fit
from fovea.analysis import study, study_results

ROOT = Path(__file__).parents[2]
MODEL = "model.init_args."
HEADS = {MODEL + "hidden": 8, MODEL + "features.norm_samples": 16, "data.num_envs": 2}
DQN = HEADS | {MODEL + "batch_size": 8, MODEL + "n_step": 2, MODEL + "buffer_size": 256}
PPO = HEADS | {MODEL + "num_steps": 16, MODEL + "num_minibatches": 2}
TOY = {
    "cal_ql": DQN | {"data.total_steps": 16},
    "cloned": {k: v for k, v in HEADS.items() if k != "data.num_envs"}
    | {MODEL + "batch_size": 8, "data.total_steps": 16},
    "dqn_frozen": DQN | {MODEL + "learning_starts": 32},
    "dqn_fused": DQN | {MODEL + "learning_starts": 32},
    "one_step_fb": {MODEL + "hidden": 8, MODEL + "batch_size": 8, MODEL + "labelled": 50},
    "dpt": {MODEL + "batch_size": 4, MODEL + "context": 3, MODEL + "width": 8},
    "ppo_frozen": PPO,
    "distilled": {k: v for k, v in DQN.items() if "n_step" not in k and "norm" not in k}
    | {MODEL + "learning_starts": 32},
    "ppo_lora": PPO,
    "ppo_nature": {k: v for k, v in PPO.items() if "norm_samples" not in k},
}
TOY["cal_ql"].pop(MODEL + "buffer_size")
TOY["cal_ql"].pop("data.num_envs")


@pytest.mark.evidence
@pytest.mark.parametrize("name", FAMILY)
def test_the_settings_of_every_run_are_understood(name: str, tmp_path: Path) -> None:
    asked = study.read(ROOT / "analysis" / "studies" / f"{name}.yaml")
    for commands in asked.jobs(tmp_path, list(asked.runs), 0, "cpu").values():
        with pytest.raises(SystemExit) as ended:
            fit([*map(str, commands[0][2:]), "--print_config"])
        assert not ended.value.code


@pytest.mark.evidence
@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("name", FAMILY)
def test_a_study_of_the_family_runs_from_file_to_page(
    name: str, recordings: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    content = yaml.safe_load((ROOT / "analysis" / "studies" / f"{name}.yaml").read_text())
    content |= {"games": ["pong"], "steps": 96, "episodes": 1, "seeds": [0]}
    if "disturb" in content:
        content["disturb"] = content["disturb"][:1] if name == "dpt" else ["blank:0.25", "sticky:0"]
    for run in content["runs"].values():
        settings = run.setdefault("settings", {})
        settings |= TOY.get(run["config"], {})
        if "data.total_steps" in settings:
            settings["data.total_steps"] = min(96, settings["data.total_steps"])
        for key in ("model.encoder.encoder", MODEL + "encoder.init_args.encoder"):
            if key in settings:
                settings[key] = "random:vit_micro"
        if MODEL + "recordings" in settings:
            settings[MODEL + "recordings"] = str(recordings)
        if MODEL + "critic_warmup" in settings:
            settings[MODEL + "critic_warmup"] = 32
    path, out = tmp_path / f"{name}.yaml", tmp_path / "out"
    path.write_text(yaml.safe_dump(content))
    study.run([str(path), "--out", str(out), "--only", *FAMILY[name], "--accelerator", "cpu"])
    kept = study_results.read(out)
    assert {key.run for key in kept} == set(FAMILY[name])
    page = (out / "study.md").read_text()
    assert all(f"| {run} | 1 of 1 |" in page for run in FAMILY[name])
