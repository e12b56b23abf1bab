"""Every shipped study, two of its runs at toy size, from its own file to its page.

Those of the family are in test_family_studies.py, and one that is timed in test_timed_study.py.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from toy_studies import ALONE, FAMILY

from fovea.agents.fit import fit as fit_agent
from fovea.analysis import study, study_results
from fovea.analysis.figures import REFERENCES
from fovea.analysis.timed_study import TimedStudy
from fovea.pretrain.training.fit import fit as fit_encoder

ROOT = Path(__file__).parents[2]
STUDIES = ROOT / "analysis" / "studies"
MODEL = "model.init_args."
ENCODER = MODEL + "encoder.init_args.encoder"
NORM = {MODEL + "hidden": 8, MODEL + "features.norm_samples": 16}
DQN = {MODEL + "hidden": 8, MODEL + "batch_size": 8, MODEL + "n_step": 2,
       MODEL + "buffer_size": 256, MODEL + "learning_starts": 32, "data.num_envs": 2}  # fmt: skip
PPO = {MODEL + "hidden": 8, MODEL + "num_steps": 16, MODEL + "num_minibatches": 2,
       "data.num_envs": 2}  # fmt: skip
TOY = {
    "der": DQN,
    "dqn_frozen": DQN | NORM,
    "dqn_last_block": DQN | NORM,
    "ppo_frozen": PPO | NORM,
    "ppo_nature": PPO,
    "cal_ql": NORM | {MODEL + "batch_size": 8, "data.total_steps": 16},
}
AT_MOST = {"data.total_steps": 96, "trainer.max_steps": 2, MODEL + "optimisation.warmup": 1}
ENCODERS = {"steps": 1500, "samples": 16, "batch": 8, "stacks": 300}


def toy(name: str, recordings: Path, out: Path) -> dict:
    """A study of one game and one seed, whose runs take some steps, and what is there already."""
    content = yaml.safe_load((STUDIES / f"{name}.yaml").read_text())
    content |= {"games": ["pong"], "seeds": content["seeds"][:1]}
    content |= ENCODERS if content["kind"] == "encoders" else {"steps": 96, "episodes": 1}
    if "recordings" in content:
        content["recordings"] = [str(recordings / "breakout")]
    for run in content["runs"].values():
        settings = run["settings"] = run.get("settings", {}) | TOY.get(run["config"], {})
        settings |= {key: min(settings[key], most) for key, most in AT_MOST.items()
                     if key in settings}  # fmt: skip
        here = {ENCODER: "random:vit_micro", MODEL + "recordings": str(recordings),
                "data.recordings": f"[{out}/recordings]"}  # fmt: skip
        settings |= {key: place for key, place in here.items() if key in settings}
    return content


@pytest.mark.evidence
@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("name", ALONE)
def test_a_shipped_study_runs_from_file_to_page(
    name: str, recordings: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    path, out = tmp_path / f"{name}.yaml", tmp_path / "out"
    path.write_text(yaml.safe_dump(toy(name, recordings, out)))
    study.run([str(path), "--out", str(out), "--only", *ALONE[name], "--accelerator", "cpu"])
    assert {key.run for key in study_results.read(out)} - REFERENCES.keys() == {*ALONE[name]}
    page = (out / "study.md").read_text()
    assert all(f"| {run} | 1 of 1 |" in page for run in ALONE[name])


ROOMS = {"pretrain": fit_encoder, "agents": fit_agent}


@pytest.mark.evidence
@pytest.mark.slow
@pytest.mark.parametrize("name", [*ALONE, "gpu"])
def test_the_settings_of_every_run_of_a_shipped_study_are_understood(
    name: str, tmp_path: Path
) -> None:
    asked = study.read(STUDIES / f"{name}.yaml")
    if isinstance(asked, TimedStudy):
        shared = asked.shared([tmp_path], "cpu")
        commands = [asked.pretrain(run, 0, tmp_path / run, 100, shared) for run in asked.runs]
    else:
        cells = replace(asked, games=asked.games[:1]).jobs(tmp_path, list(asked.runs), 0, "cpu")
        commands = [fit for fit, *_ in cells.values()]
    for room, _, *arguments in commands:
        with pytest.raises(SystemExit) as ended:
            ROOMS[str(room)]([*map(str, arguments), "--print_config"])
        assert not ended.value.code


def test_every_shipped_study_runs_in_a_test() -> None:
    assert {path.stem for path in STUDIES.glob("*.yaml")} == {*ALONE, *FAMILY, "gpu"}
