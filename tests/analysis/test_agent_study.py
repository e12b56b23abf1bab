"""A study of agents trains and evaluates every run in every game, and its table says how well."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml

from fovea.analysis import learning, study, study_results
from fovea.analysis.study_kinds import AgentStudy
from fovea.analysis.study_results import Key, Results
from fovea.command import UserError
from fovea.metrics import Curve
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
             "model.init_args.num_steps": 16, "model.init_args.features.norm_samples": 16,
             "data.num_envs": 2}  # fmt: skip
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
    scores = study_results.read(out)["ppo", 3, "breakout"].scores
    assert scores["breakout", "return"] == run.evaluation.mean
    assert f"| ppo | 1 of 1 | {run.evaluation.hns:.3f} |" in (out / "study.md").read_text()
    log = (out / "seed-3" / "breakout" / "ppo.log").read_text()
    assert "next: fovea agents evaluate" in log
    assert "the random agent, 30.5 a human tester" in log
    written = (out / "study.md").read_text()
    study.run(command)
    assert (out / "study.md").read_text() == written
    # Neither training nor evaluation was even started: they would have written to the log.
    assert (out / "seed-3" / "breakout" / "ppo.log").read_text() == log


def small(games: list[str], seeds: list[int]) -> AgentStudy:
    runs = {"mine": {"config": "dqn"}, "other": {"config": "ppo"}}
    pairs = [["mine", "other"], ["mine", "absent"]]
    return AgentStudy("By hand", games, 2000, seeds, runs, pairs, episodes=5)


def found(asked: AgentStudy, out: Path) -> Results:
    """The results of those runs whose folders are there."""
    return asked.results(out, [key for key in asked.made_by() if (out / key.place).exists()])


def test_returns_scores_and_differences_by_hand(tmp_path: Path) -> None:
    # Freeway's random agent gets 0 and its human tester 29.6; Breakout's 1.7 and 30.5.
    for seed, returns in enumerate(({"freeway": 14.8, "breakout": 1.7},
                                    {"freeway": 59.2, "breakout": 16.1})):  # fmt: skip
        for game, score in returns.items():
            write(tmp_path / f"seed-{seed}" / game / "mine", score, SCORED[game, score])
            write(tmp_path / f"seed-{seed}" / game / "other", 0, -0.25, speeds=())
    asked = small(["freeway", "breakout"], [0, 1])
    results = found(asked, tmp_path)
    page = asked.files(results)["study.md"]
    for row in (
        "| mine | 2 of 2 | 0.750 (0.250, 1.250) | 0.500 | 2,000 | 300 | 0 of 4 |  |",
        "| other | 2 of 2 | -0.250 (-0.250, -0.250) | -0.250 | 2,000 |  | 0 of 4 |  |",
        "| human |  | 1.000 | 1.000 |  |  |  |  |\n",
        "| mine - other | 2 of 2 | +1.000 (+0.500, +1.500) |",
        "| mine |  | 1.00 |\n| other | 0.00 |  |",
        "Freeway: mean over seeds, and each of the seeds 0, 1 (",
        "| mine | 37.0 | 1.250 | 14.8, 59.2 | –, – |",
        "| random | 0.0 | 0.000 |  |  |  |\n| human | 29.6 | 1.000 |",
        "| random | 1.7 | 0.000 |  |  |  |\n| human | 30.5 | 1.000 |",
        "| mine - other |  | +1.500 (+0.750, +2.250) |",
    ):
        assert row in page
    assert "| mine - absent |" not in page
    # In the middle of a study: a game of a seed is not there yet.
    del results[Key("mine", 0, "breakout")]
    page = asked.files(results)["study.md"]
    assert "| mine | 1 of 2 | 1.250 | 1.250 | 2,000 | 300 | 0 of 2 |  |" in page
    assert "| mine - other | 1 of 2 | +1.500 |" in page
    assert "| mine | 16.1 | 0.500 | …, 16.1 | …, – |" in page
    assert "| mine | 37.0 | 1.250 | 14.8, 59.2 |" in page
    others = {key: of for key, of in results.items() if key.run == "other"}
    assert "mine" not in asked.files(others)["study.md"]


def test_five_seeds_have_an_interval(tmp_path: Path) -> None:
    for seed in range(5):
        write(tmp_path / f"seed-{seed}" / "freeway" / "mine", 14.8, 0.5 + seed % 2)
        write(tmp_path / f"seed-{seed}" / "freeway" / "other", 0.0, 0.0)
    asked = small(["freeway"], [*range(5)])
    page = asked.files(found(asked, tmp_path))["study.md"]
    assert "| mine | 5 of 5 | 0.900 (0.500 to 1.300) | 0.833 (0.500 to 1.500) |" in page
    assert "| mine |  | 1.00 (1.00 to 1.00) |\n| other | 0.00 (0.00 to 0.00) |  |" in page
    assert "| mine | 14.8 (14.8 to 14.8) | 0.900 (0.500 to 1.300) | 14.8, 14.8, " in page


def test_take_off_area_and_curve_of_every_seed_by_hand(tmp_path: Path) -> None:
    """Episodes of 40 steps: 20 without a point, then 20 of 32. An HNS of 0.1 is 2.96 points."""
    learned = {40 * (k + 1): 32.0 * (k >= 20) for k in range(40)}
    for seed in range(3):
        folder = tmp_path / f"seed-{seed}" / "freeway"
        write(folder / "mine", 20, 0.7, returns=learned if seed else dict.fromkeys(learned, 0.0))
        write(folder / "other", 3, 0.1)
    asked = small(["freeway"], [0, 1, 2])
    results = found(asked, tmp_path)
    of = [results[Key("mine", seed, "freeway")].scores for seed in (0, 1, 2)]
    # After k of the later episodes the mean of twenty is 32 k / 20: at the second it is 3.2.
    assert [scores["freeway", "take_off_0.1"] for scores in of] == [np.inf, 880, 880]
    # 0 for 800 steps, then 32 for the rest of 2,000.
    assert [scores["freeway", "area"] for scores in of] == [0, *[round(0.6 * 32 / 29.6, 6)] * 2]
    curve = results[Key("mine", 1, "freeway")].curve
    # A point each 40 steps of 2,000, also after the last episode.
    assert [*curve] == [40 * (k + 1) for k in range(50)]
    assert (curve[800], curve[880], curve[1600], curve[2000]) == (0, 3.2, 32, 32)
    assert results[Key("other", 1, "freeway")].curve == {}
    page = asked.files(results)["study.md"]
    assert "| 2,000 | 300 | 2 of 3, 880 | 0.432 |" in page
    assert "| 2,000 | 300 | 0 of 3 |  |" in page
    assert "| 20.0, 20.0, 20.0 | –, 880, 880 | 0.000, 0.649, 0.649 |" in page
    later = replace(asked, take_off=0.9)
    again = found(later, tmp_path)[Key("mine", 1, "freeway")]
    assert again.scores["freeway", "take_off_0.9"] == 40 * 37
    # The kept results do not say when another score was reached.
    assert "| 2,000 | 300 | 0 of 0 | 0.432 |" in later.files(results)["study.md"]


def test_a_training_of_parts_of_games_has_no_scores_of_whole_ones(tmp_path: Path) -> None:
    """As an evaluation whose episodes were cut has no HNS: references are of whole games."""
    learned = {40 * (k + 1): 32.0 * (k >= 20) for k in range(40)}
    of = {}
    for seed, most in enumerate((None, 108_000, 164, 160, 2)):
        folder = tmp_path / f"seed-{seed}" / "freeway"
        write(folder / "other", 3, 0.1)
        write(folder / "mine", 20, 0.7, returns=learned)
        run = RunWriter(folder / "mine", "agent", "")
        for step in learned:
            run.log(step, {"length": 40})
        task = {"game": "freeway", "max_frames": most, "frame_skip": 4}
        (folder / "mine" / "config.yaml").write_text(yaml.safe_dump({"data": task}))
        run.update(init_from=str(folder / "other"))
        scores = found(small(["freeway"], [seed]), tmp_path)[Key("mine", seed, "freeway")].scores
        of[most] = {measure for _, measure in scores}
    # An episode of 40 steps has 160 frames: of 164 that are allowed none is cut.
    assert of[None] == of[108_000] == of[164] > {"area", "take_off_0.1", "dip"}
    assert of[160] == of[2] == of[None] - {"area", "take_off_0.1", "dip"}
    config = tmp_path / "seed-0" / "freeway" / "mine" / "config.yaml"
    for text in (
        "data: 5",
        "data: {max_frames: many}",
        "",
        "[]",
        "data: {max_frames: 8, frame_skip: 0}",
    ):
        config.write_text(text)
        with pytest.raises(UserError, match=r"config\.yaml is damaged \(.*bring it back"):
            found(small(["freeway"], [0]), tmp_path)


def test_the_score_of_a_take_off_is_a_setting_that_a_file_may_leave_out(tmp_path: Path) -> None:
    assert study.read(AGENTS).take_off == 0.1
    content = yaml.safe_load(AGENTS.read_text()) | {"take_off": 0.2}
    (tmp_path / "own.yaml").write_text(yaml.safe_dump(content))
    assert study.read(tmp_path / "own.yaml").take_off == 0.2


SCORED = {("freeway", 14.8): 0.5, ("freeway", 59.2): 2.0,
          ("breakout", 1.7): 0.0, ("breakout", 16.1): 0.5}  # fmt: skip


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


def test_a_run_begins_with_another_of_the_study_which_comes_first() -> None:
    runs = {"online": {"config": "dqn", "init_from": "offline",
                       "settings": {"model.init_args.recordings": "recordings/{game}/{seed}"}},
            "offline": {"config": "cal_ql"}}  # fmt: skip
    asked = replace(small(["pong"], [4]), runs=runs)
    cells = asked.jobs(Path("out"), ["online"], 4, "cpu")
    fit = cells[Path("out/seed-4/pong/online")][0]
    assert fit[fit.index("--init_from") + 1] == Path("out/seed-4/pong/offline")
    assert fit[fit.index("--model.init_args.recordings") + 1] == "recordings/pong/4"
    made_by = asked.made_by()
    first = made_by[Key("offline", 4, "pong")]
    assert made_by[Key("online", 4, "pong")].startswith(f"{first} && fovea agents fit -c dqn ")
    # Other settings of the first make the second due as well.
    other = replace(asked, runs={**runs, "offline": {"config": "cloned"}}).made_by()
    assert other[Key("online", 4, "pong")] != made_by[Key("online", 4, "pong")]
    with pytest.raises(UserError, match="init_from 'offline' of the run online is no run of the"):
        replace(asked, runs={"online": runs["online"]})
    order = study.waves(asked, asked.jobs(Path("out"), ["online", "offline"], 4, "cpu"))
    assert [[folder.name for folder in wave] for wave in order] == [["offline"], ["online"]]


def test_the_dip_is_the_least_mean_of_eight_episodes_less_the_start(tmp_path: Path) -> None:
    assert np.isnan(learning.dip(Curve(np.arange(7), np.zeros(7)), 1.0))
    # Eight of 10, eight of 2, and ten of 20 after 50,000 steps do not count.
    steps = np.append(np.arange(1, 17) * 1000, 60_000 + np.arange(10))
    values = np.repeat([10.0, 2.0, -5.0], [8, 8, 10])
    assert learning.dip(Curve(steps, values), 9.0) == -7
    folder = tmp_path / "seed-0" / "freeway"
    write(folder / "other", 9.0, 0.3)
    write(folder / "mine", 20.0, 0.7, returns=dict(zip(steps.tolist(), values, strict=True)))
    RunWriter(folder / "mine", "agent", "").update(init_from=str(folder / "other"))
    asked = small(["freeway"], [0])
    results = found(asked, tmp_path)
    scores = results[Key("mine", 0, "freeway")].scores
    assert (scores["freeway", "initial"], scores["freeway", "dip"]) == (9, -7)
    page = asked.files(results)["study.md"]
    assert "Freeway, also measured\n\n| measure | mine | other |\n" in page
    assert "| dip | -7.00 |  |\n| initial | 9.00 |  |" in page
