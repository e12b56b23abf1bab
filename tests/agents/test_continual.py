"""`fovea agents continual`: real games in a row, what is kept between them, kills, refusals."""

from __future__ import annotations

import copy
import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from fovea.agents.adaptation.base import FineTuned
from fovea.agents.algorithms.dqn import DQN
from fovea.agents.continual.evaluation import Source, source
from fovea.agents.continual.phase import ended, train, weights
from fovea.agents.continual.run import continual, go_on, parsed
from fovea.agents.loading import load_agent
from fovea.atari.games import find
from fovea.command import UserError
from fovea.pretrain.training.checkpoint import VerifiedCheckpointIO
from fovea.runs import read_run
from fovea.schema import RunRecord

CONFIGS = Path(__file__).parents[2] / "agents" / "configs"
SMALL = (
    *(
        "--steps_per_game",
        "60",
        "--episodes",
        "1",
        "--evaluation_envs",
        "1",
        "--checkpoint_every",
        "4",
    ),
    *("--task.num_envs", "1", "--task.max_frames", "80", "--trainer.log_every_n_steps", "1"),
    *("--agent.init_args.learning_starts", "32", "--agent.init_args.buffer_size", "60"),
    *("--agent.init_args.hidden", "8", "--agent.init_args.batch_size", "4"),
    *("--agent.init_args.features.norm_samples", "8"),
)
GAMES, METHODS = ["breakout", "freeway"], ["alone", "ewc"]


def config(
    path: Path,
    encoder: Path | str,
    recordings: Path | str = "nowhere",
    name: str = "continual",
    **changes,
) -> Path:
    """A config of the project on other files, with some of its top settings changed."""
    text = (CONFIGS / f"{name}.yaml").read_text()
    for written in ("runs/quickstart/tov_vicreg", "runs/objectives/seed-0/recipe"):
        text = text.replace(written, str(encoder))
    for written in ("runs/quickstart/recordings", "runs/objectives/recordings"):
        text = text.replace(written, str(recordings))
    settings = yaml.safe_load(text)
    if "methods" in changes:
        changes["methods"] = {name: settings["methods"][name] for name in changes["methods"]}
    path.write_text(yaml.safe_dump(settings | changes, sort_keys=False))
    return path


def play(path: Path, run: Path, *more: str) -> RunRecord:
    """Run the command; what run.json says of it."""
    continual(["-c", str(path), "--run", str(run), *SMALL, *more])
    return read_run(run)


def table(path: Path) -> list[dict[str, str]]:
    with path.open() as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def played(encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder of two methods through two games."""
    folder = tmp_path_factory.mktemp("sequence")
    play(config(folder / "config.yaml", encoder, games=GAMES, methods=METHODS), folder / "run")
    return folder / "run"


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(path.stem for path in CONFIGS.glob("continual*.yaml")))
def test_every_method_of_a_config_is_one_that_can_be_built(
    name: str, encoder: Path, recordings: Path, tmp_path: Path
) -> None:
    text = (CONFIGS / f"{name}.yaml").read_text()
    assert len(text.splitlines()) < 50
    path = config(tmp_path / "c.yaml", encoder, recordings, name, games=["freeway"])
    _, sequence, _ = parsed(["-c", str(path), "--run", str(tmp_path)])
    sequence.check()
    assert list(sequence.agents) == list(yaml.safe_load(text)["methods"])


@pytest.mark.slow
def test_agents_are_told_of_the_next_game_and_can_be_loaded(
    encoder: Path, recordings: Path, tmp_path: Path
) -> None:
    only = {"games": ["freeway"], "methods": ["l2m"], "reference": None}
    record = play(config(tmp_path / "c.yaml", encoder, recordings, **only), tmp_path / "run")
    assert (record.state, record.step) == ("done", 60)
    assert record.continual.high == [None]  # a human played whole games
    loaded = load_agent(tmp_path / "run" / "l2m" / "1-freeway")
    assert loaded.played == 60
    choice = loaded.agent.extractor.encoder.pool.choice
    assert choice.centred
    used = choice.usage > 0.01
    assert used.any()
    assert choice.weights[used].max() < 0.01 * choice.weights[~used].min()


@pytest.mark.slow
def test_the_tables_hold_every_game_after_every_game(played: Path) -> None:
    record = read_run(played)
    found = record.continual
    assert (record.kind, record.step, record.steps) == ("continual", 240, 240)
    assert found.games == GAMES
    assert found.low == [find(game).random for game in GAMES]
    assert found.high == np.diagonal(found.methods["alone"].returns).tolist()
    rows = table(played / "scores.csv")
    assert len(rows) == 2 * 2 * 2
    for row in rows:
        after, game = GAMES.index(row["after"]), GAMES.index(row["game"])
        assert float(row["return"]) == found.methods[row["method"]].returns[after][game]
    assert [row["method"] for row in table(played / "summary.csv")] == list(found.methods)
    ends = [int(row["step"]) for row in table(played / "metrics.csv")]
    assert 60 < max(ends) <= 120
    for name in found.methods:
        files = {path.suffix for path in (played / name / "2-freeway" / "checkpoints").iterdir()}
        assert files == {".ckpt", ".sha256"}


@pytest.mark.slow
def test_a_game_begins_where_the_one_before_ended(played: Path) -> None:
    one, two = (weights(ended(played / "ewc" / f"{k + 1}-{game}")) for k, game in enumerate(GAMES))
    extractor = [key for key in one if key.startswith("extractor.encoder.encoder.")]
    distance = sum(float((one[key] - two[key]).square().sum()) for key in extractor) ** 0.5
    size = sum(float(one[key].square().sum()) for key in extractor) ** 0.5
    assert 0 < distance < 0.01 * size
    # Nothing holds the first game back: its encoder is that of the game alone, bit for bit.
    alone = weights(ended(played / "alone" / "1-breakout"))
    assert all(torch.equal(one[key], alone[key]) for key in extractor)


@pytest.mark.slow
@pytest.mark.parametrize(("task_aware", "extractor", "heads"), [
    ("none", True, True), ("heads", True, False), ("agent", False, False),
])  # fmt: skip
def test_what_goes_on_to_the_next_game(
    task_aware: str, extractor: bool, heads: bool, encoder: Path, tmp_path: Path
) -> None:
    """Of the online network as of the target network; the scale of features is the heads'."""
    old, new = (DQN(encoder=FineTuned(str(encoder)), actions=3, seed=seed) for seed in (1, 2))
    for weights_ in (*old.parameters(), *old.buffers()):
        weights_.data += 1
    before, fresh = old.state_dict(), copy.deepcopy(new.state_dict())
    VerifiedCheckpointIO().save_checkpoint({"state_dict": before}, tmp_path / "end.ckpt")
    go_on(new, task_aware, [tmp_path / "end.ckpt"])
    for key, value in new.state_dict().items():
        norm = key.startswith(("extractor.norm.", "target.0.norm."))
        seen = key.startswith(("extractor.", "target.0.")) and not norm
        goes_on = extractor if seen else heads
        assert torch.equal(value, (before if goes_on else fresh)[key]), key
    assert len(fresh) == len(before) > 100


@pytest.mark.evidence
@pytest.mark.slow
def test_one_agent_for_all_games_sees_them_all_on_the_scale_of_all(
    encoder: Path, tmp_path: Path
) -> None:
    """And keeps it; one that has heads of its own for a game has a scale of its own."""
    methods = {"head_only": {"encoder": {"class_path": "fovea.agents.Frozen",
                                         "init_args": {"encoder": str(encoder)}}}}  # fmt: skip
    methods["own_heads"] = methods["head_only"] | {"task_aware": "heads"}
    path = config(tmp_path / "c.yaml", encoder, games=GAMES, reference=None)
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | {"methods": methods}))
    play(path, tmp_path / "run", "--agent.init_args.features.norm_samples", "32")
    scales = {}
    for method in methods:
        for number, game in enumerate(GAMES, start=1):
            state = weights(ended(tmp_path / "run" / method / f"{number}-{game}"))
            scales[method, game] = state["extractor.norm.mean"]
            assert state["extractor.norm.screens"] == 32
    one, two = (scales["head_only", game] for game in GAMES)
    own = [scales["own_heads", game] for game in GAMES]
    assert torch.equal(one, two)
    assert not torch.allclose(*own, atol=0.01)
    torch.testing.assert_close(one, (own[0] + own[1]) / 2, atol=0.05, rtol=0)


def test_who_is_told_the_game_plays_with_what_belongs_to_it() -> None:
    assert source("none", 1, 0) == Source(1, 1)
    assert source("heads", 1, 0) == Source(1, 0)
    assert source("heads", 1, 2) == Source(1, None)
    assert source("agent", 1, 0) == Source(0, 0)
    assert source("agent", 0, 1) == Source(None, None)


@pytest.mark.slow
def test_games_alone_forget_nothing_and_ewc_held_its_encoder_back(played: Path) -> None:
    found = read_run(played).continual.methods
    returns = np.array(found["alone"].returns)
    assert returns[1, 0] == returns[0, 0]
    assert len(json.loads((played / "alone" / "scores.json").read_text())) == 3
    state = weights(ended(played / "ewc" / "2-freeway"))
    assert state["extractor.encoder.fisher_0"].sum() > 0
    rows = table(played / "ewc" / "2-freeway" / "metrics.csv")
    penalties = [float(row["value"]) for row in rows if row["name"] == "loss/ewc"]
    assert penalties[0] == 0
    assert max(penalties) > 0


@pytest.mark.evidence
@pytest.mark.slow
def test_a_sequence_that_is_killed_again_and_again_ends_the_same(
    played: Path, encoder: Path, tmp_path: Path, failing: Callable[..., None]
) -> None:
    """In a game after its checkpoint, while EWC measures the game, and in an evaluation."""
    path = config(tmp_path / "c.yaml", encoder, games=GAMES, methods=["ewc"], reference=None)
    run, kills = tmp_path / "run", (55, 80, 150)
    failing(KeyboardInterrupt(), *kills)
    for _ in kills:
        with pytest.raises(KeyboardInterrupt):
            play(path, run)
        assert read_run(run).state == "failed"
    play(path, run)
    for file in ("scores.json", "1-breakout/metrics.csv", "2-freeway/metrics.csv"):
        one, two = ((folder / "ewc" / file).read_text() for folder in (run, played))
        assert steady(one) == steady(two), file
    for place, game in enumerate(GAMES):
        one, two = (weights(ended(f / "ewc" / f"{place + 1}-{game}")) for f in (run, played))
        assert all(torch.equal(one[key], two[key]) for key in one)


def steady(text: str) -> set[str]:
    """Lines that are the same in every run; some come twice where a game is gone on with."""
    return {line for line in text.splitlines() if "_per_second" not in line}


@pytest.mark.slow
def test_a_finished_sequence_says_so(
    played: Path, encoder: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    before = read_run(played)
    path = config(tmp_path / "c.yaml", encoder, games=GAMES, methods=METHODS)
    assert play(path, played) == before
    said = capsys.readouterr().out
    assert f"{played}: already done" in said
    assert "ewc" in said
    with pytest.raises(UserError, match=r"holds a run with steps_per_game = 60, not 80"):
        play(path, played, "--steps_per_game", "80")


@pytest.mark.slow
def test_a_default_is_the_same_setting_whether_it_is_written_out_or_not(
    played: Path, encoder: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    run.mkdir()
    shutil.copy(played / "config.yaml", run)
    path = config(tmp_path / "c.yaml", encoder, games=GAMES, methods=METHODS)
    settings = yaml.safe_load(path.read_text())

    def ask(batches: int) -> None:
        settings["methods"]["ewc"]["encoder"]["init_args"]["batches"] = batches
        path.write_text(yaml.safe_dump(settings))
        parsed(["-c", str(path), "--run", str(run), *SMALL])

    ask(10)
    held = yaml.safe_load((run / "config.yaml").read_text())
    del held["methods"]["ewc"]["encoder"]["init_args"]["lr_scale"]  # as if it had come later
    del held["agent"]["init_args"]["n_step"]
    (run / "config.yaml").write_text(yaml.safe_dump(held))
    ask(10)
    with pytest.raises(UserError, match=r"methods\.ewc\.encoder\.init_args\.batches = 10, not 11"):
        ask(11)


MISTAKES = {
    "other actions": (
        ["--task.full_actions", "false"],
        "breakout has 4 actions (NOOP, FIRE, RIGHT, LEFT) and freeway has 3 (NOOP, UP, DOWN): set",
    ),
    "a game twice": (["--games", "[pong, pong]"], "games pong, pong: name at least one, each once"),
    "an unknown game": (["--games", "[pongg]"], "unknown game 'pongg': did you mean pong"),
    "no games": (["--games", "[]"], "name at least one"),
    "a reference that is no method": (["--reference", "lonely"], "reference lonely is no method"),
    "a reference that goes through": (["--reference", "head_only"], "with task_aware: agent"),
    "an unknown setting": (
        ["--episode", "3"],
        "unknown setting 'episode': did you mean 'episodes'?",
    ),
    "an unknown setting of the agent": (["--agent.init_args.gama", "1"], "did you mean 'gamma'"),
    "half the name of one": (
        ["--agent.init_args.gam", "1"],
        "'gam' of fovea.agents.DQN: did you mean",
    ),
    "an unknown setting of an encoder": (
        ["--methods.alone.encoder.init_args.lr_scal", "1"],
        "unknown setting 'lr_scal' of fovea.agents.FineTuned: did you mean 'lr_scale'",
    ),
    "a wrong type": (["--episodes", "many"], "episodes"),
    "no run folder": (["--run", ""], "say where to with --run"),
    "a replay larger than memory": (["--agent.init_args.buffer_size", "100000000000"], "GB"),
}


@pytest.mark.slow
@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_gets_one_line_and_leaves_nothing_behind(
    mistake: str, encoder: Path, tmp_path: Path, command: Callable[..., int],
    capsys: pytest.CaptureFixture,
) -> None:  # fmt: skip
    more, message = MISTAKES[mistake]
    path = config(tmp_path / "c.yaml", encoder, games=GAMES, methods=["alone", "head_only"])
    run = tmp_path / "run"
    assert command("continual", "-c", path, "--run", run, *SMALL, *more) == 2
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1
    assert message in said[0]
    assert not run.exists()


@pytest.mark.slow
@pytest.mark.parametrize("missing", ["encoder", "recordings"])
def test_missing_files_are_refused_before_anything_is_learned(
    missing: str, encoder: Path, tmp_path: Path
) -> None:
    there = {"encoder": encoder, "recordings": tmp_path} | {missing: tmp_path / "nowhere"}
    path = config(tmp_path / "c.yaml", **there, games=GAMES, methods=["alone", "l2m"])
    with pytest.raises(UserError, match="nowhere"):
        play(path, tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_a_game_that_was_killed_as_it_ended_is_not_learned_again(
    played: Path, tmp_path: Path
) -> None:
    """Between the checkpoint of the end and all that comes after it."""
    folder = shutil.copytree(played / "ewc" / "2-freeway", tmp_path / "2-freeway")
    end, record = ended(folder), read_run(folder)
    for name in ("step-000000004.ckpt", "step-000000004.ckpt.sha256"):
        (folder / "checkpoints" / name).write_bytes(b"of before")
    (folder / "run.json").write_text(json.dumps(record.plain() | {"state": "running", "step": 16}))

    assert train({}, folder, begin=pytest.fail) == end
    assert {path.name for path in end.parent.iterdir()} == {end.name, f"{end.name}.sha256"}
    after = read_run(folder)
    assert (after.state, after.step) == ("done", record.step)
