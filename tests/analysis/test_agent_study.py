"""A study of agents trains and evaluates every run in every game, and its table says how well."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import yaml

from fovea.analysis import study
from fovea.analysis.agent_table import AgentScores
from fovea.command import UserError
from fovea.runs import RunWriter, read_run
from fovea.schema import Evaluation

ROOT = Path(__file__).parents[2]
AGENTS = ROOT / "analysis" / "studies" / "agents.yaml"
ENCODER = "model.init_args.encoder.init_args.encoder"


def test_every_run_of_a_seed_is_trained_on_the_seeds_encoder_and_evaluated() -> None:
    jobs = study.read(AGENTS).jobs(Path("out"), ["dqn_summary", "ppo_tokens"], 2, "cpu")
    assert [str(folder) for folder in jobs] == [
        "out/seed-2/pong/dqn_summary",
        "out/seed-2/pong/ppo_tokens",
    ]
    fit, evaluate = jobs[Path("out/seed-2/pong/dqn_summary")]
    assert fit[:4] == ["agents", "fit", "-c", "dqn_frozen"]
    given = dict(zip(fit[4::2], map(str, fit[5::2]), strict=True))
    assert given == {
        "--run": "out/seed-2/pong/dqn_summary", "--seed_everything": "2", "--data.game": "pong",
        "--data.total_steps": "100000", "--trainer.accelerator": "cpu",
        f"--{ENCODER}": "runs/objectives/seed-2/recipe", "--checkpoint_every": "10000",
        "--data.protocol": "atari_100k", "--model.init_args.features.kind": "cls",
    }  # fmt: skip
    assert list(map(str, evaluate)) == [
        *("agents", "evaluate", "--run", "out/seed-2/pong/dqn_summary"),
        *("--episodes", "20", "--accelerator", "cpu"),
    ]


@pytest.mark.slow
def test_a_study_of_agents_from_file_to_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    small = {ENCODER: "random:nature_cnn", "model.init_args.hidden": 16,
             "model.init_args.num_steps": 16, "data.num_envs": 2}  # fmt: skip
    content = {
        "kind": "agents", "title": "Small", "games": ["breakout"], "steps": 32, "episodes": 1,
        "seeds": [3], "differences": [],
        "runs": {"ppo": {"config": "agents/configs/ppo_frozen.yaml", "settings": small}},
    }  # fmt: skip
    (tmp_path / "small.yaml").write_text(yaml.safe_dump(content))
    out = tmp_path / "out"
    command = [str(tmp_path / "small.yaml"), "--out", str(out), "--jobs", "2",
               "--accelerator", "cpu"]  # fmt: skip
    study.run(command)
    run = read_run(out / "seed-3" / "breakout" / "ppo")
    assert (run.seed, run.step, run.evaluation.episodes) == (3, 32, 1)
    with open(out / "study.csv", newline="") as file:
        (row,) = csv.DictReader(file)
    assert float(row["return"]) == run.evaluation.mean
    assert f"| ppo | {run.evaluation.hns:.3f} |" in (out / "study.md").read_text()
    log = (out / "seed-3" / "breakout" / "ppo.log").read_text()
    assert "next: fovea agents evaluate" in log
    assert "the random agent, 30.5 a human tester" in log
    written = (out / "study.md").read_text()
    study.run(command)
    assert (out / "study.md").read_text() == written
    # Neither training nor evaluation was even started: they would have written to the log.
    assert (out / "seed-3" / "breakout" / "ppo.log").read_text() == log


def test_returns_scores_and_differences_by_hand(tmp_path: Path) -> None:
    # Freeway's random agent gets 0 and its human tester 29.6; Breakout's 1.7 and 30.5.
    for seed, returns in enumerate(({"freeway": 14.8, "breakout": 1.7},
                                    {"freeway": 59.2, "breakout": 16.1})):  # fmt: skip
        for game, score in returns.items():
            write(tmp_path / f"seed-{seed}" / game / "mine", score, SCORED[game, score])
            write(tmp_path / f"seed-{seed}" / game / "other", 0, -0.25, speeds=())
    games, pairs = ["freeway", "breakout"], [["mine", "other"], ["mine", "absent"]]
    found = AgentScores.read(tmp_path, ["mine", "other"], games, [0, 1], pairs)
    np.testing.assert_allclose(found.hns["mine"], [[0.5, 0.0], [2.0, 0.5]])
    np.testing.assert_allclose(found.mean["mine"], [[14.8, 1.7], [59.2, 16.1]])
    differences = found.differences()
    assert list(differences) == ["mine - other"]
    np.testing.assert_allclose(differences["mine - other"], [[0.75, 0.25], [2.25, 0.75]])
    text = found.files("By hand")["study.md"]
    # Each game draws its runs for itself: one time in sixteen the worse of both, or the better.
    assert "| mine | 0.750 (0.250 to 1.250) | 0.500 (0.250 to 1.250) | 2,000 | 300 |" in text
    assert "| other | -0.250 (-0.250 to -0.250) | -0.250 (-0.250 to -0.250) | 2,000 |  |" in text
    assert "| human | 1.000 | 1.000 |  |  |  |  |\n| mine - other | +1.000 (+0.500 to" in text
    assert "| mine |  | 1.00 (1.00 to 1.00) |\n| other | 0.00 (0.00 to 0.00) |  |" in text
    assert "Freeway, mean over seeds" in text
    assert "| mine | 37.0 (14.8 to 59.2) | 1.250 (0.500 to 2.000) | 14.8, 59.2 |" in text
    assert "| random | 0.0 | 0.000 |  |  |  |\n| human | 29.6 | 1.000 |" in text
    assert "| random | 1.7 | 0.000 |  |  |  |\n| human | 30.5 | 1.000 |" in text
    assert "| mine - other |  | +1.500 (+0.750 to +2.250) |" in text


def test_take_off_and_area_of_every_seed_by_hand(tmp_path: Path) -> None:
    """Episodes of 40 steps: 20 without a point, then 20 of 32. An HNS of 0.1 is 2.96 points."""
    learned = {40 * (k + 1): 32.0 * (k >= 20) for k in range(40)}
    for seed in range(3):
        folder = tmp_path / f"seed-{seed}" / "freeway"
        write(folder / "mine", 20, 0.7, returns=learned if seed else dict.fromkeys(learned, 0.0))
        write(folder / "other", 3, 0.1)
    found = AgentScores.read(tmp_path, ["mine", "other"], ["freeway"], [0, 1, 2], [])
    # After k of the later episodes the mean of twenty is 32 k / 20: at the second it is 3.2.
    np.testing.assert_array_equal(found.taken_off["mine"][:, 0], [np.nan, 880, 880])
    # 0 for 800 steps, then 32 for the rest of 2,000.
    np.testing.assert_allclose(found.area["mine"][:, 0], [0, *[0.6 * 32 / 29.6] * 2])
    text = found.files("By hand")["study.md"]
    assert "| 2,000 | 300 | 2 of 3, 880 | 0.432 |" in text
    assert "| 2,000 | 300 | 0 of 3 |  |" in text
    assert "| 20.0, 20.0, 20.0 | –, 880, 880 | 0.000, 0.649, 0.649 |" in text
    later = AgentScores.read(tmp_path, ["mine"], ["freeway"], [1], [], take_off=0.9)
    assert later.taken_off["mine"].tolist() == [[40.0 * 37]]


def test_the_score_of_a_take_off_is_a_setting_that_a_file_may_leave_out(tmp_path: Path) -> None:
    assert study.read(AGENTS).take_off == 0.1
    content = yaml.safe_load(AGENTS.read_text()) | {"take_off": 0.2}
    (tmp_path / "own.yaml").write_text(yaml.safe_dump(content))
    assert study.read(tmp_path / "own.yaml").take_off == 0.2


SCORED = {("freeway", 14.8): 0.5, ("freeway", 59.2): 2.0,
          ("breakout", 1.7): 0.0, ("breakout", 16.1): 0.5}  # fmt: skip


def test_one_seed_has_every_score_and_no_interval(tmp_path: Path) -> None:
    write(tmp_path / "seed-4" / "freeway" / "mine", 14.8, 0.5)
    files = AgentScores.read(tmp_path, ["mine"], ["freeway"], [4], []).files("One")
    assert "| mine | 14.8 | 0.500 |" in files["study.md"]
    assert files["study.csv"] == (
        "run,seed,game,return,hns,episodes,steps,take_off,area\nmine,4,freeway,14.8,0.5,5,2000,,\n"
    )


def test_samples_are_refused_where_there_are_none(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--samples 64 is of encoders and this is a study of"):
        study.run([str(AGENTS), "--out", str(tmp_path), "--samples", "64"])


def write(
    run: Path,
    score: float,
    hns: float,
    speeds: tuple[int, ...] = (100, 300, 900),
    returns: dict[int, float] | None = None,
) -> None:
    """A run folder as an agent of 2,000 steps leaves it after five episodes of evaluation."""
    writer = RunWriter(run, "agent", "Agent")
    for step, value in (returns or {}).items():
        writer.log(step, {"return": value})
    for step, speed in enumerate(speeds):
        writer.log(step, {"steps_per_second": speed})
    found = Evaluation(returns=[score] * 5, mean=score, hns=hns, episodes=5, trained=2000)
    writer.update(state="done", evaluation=found)
