"""`python -m agents continual`: real games in a row, what is kept between them, kills, refusals."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from agents.continual import continual
from agents.judge import Source, source
from agents.phase import ended, weights
from agents.saved import load
from atari.command import UserError
from atari.env import Envs
from atari.games import find
from pretrain.run import read_run

CONFIG = Path(__file__).parents[2] / "agents" / "configs" / "continual.yaml"
SMALL = (
    *("--steps", "72", "--episodes", "2", "--evaluation_envs", "2", "--checkpoint_every", "5"),
    *("--play.envs", "2", "--play.max_frames", "48", "--trainer.log_every_n_steps", "1"),
    *("--agent.init_args.warmup", "40", "--agent.init_args.replay", "80"),
    *("--agent.init_args.hidden", "8", "--agent.init_args.batch", "4"),
)


def config(path: Path, encoder: Path | str, **changes: object) -> Path:
    """The config of the project on another encoder, with some of its top settings changed."""
    text = CONFIG.read_text().replace("runs/quickstart/tov_vicreg", str(encoder))
    settings = yaml.safe_load(text)
    if "methods" in changes:
        changes["methods"] = {name: settings["methods"][name] for name in changes["methods"]}
    path.write_text(yaml.safe_dump(settings | changes, sort_keys=False))
    return path


def play(path: Path, run: Path, *more: str) -> dict:
    """Run the command; what run.json says of it."""
    continual(["-c", str(path), "--run", str(run), *SMALL, *more])
    return read_run(run)


def table(path: Path) -> list[dict[str, str]]:
    with path.open() as file:
        return list(csv.DictReader(file))


GAMES = ["breakout", "freeway"]


METHODS = ["alone", "fine_tuned", "ewc"]


@pytest.fixture(scope="module")
def played(encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder of three methods through two games."""
    folder = tmp_path_factory.mktemp("sequence")
    play(config(folder / "config.yaml", encoder, games=GAMES, methods=METHODS), folder / "run")
    return folder / "run"


def test_every_other_method_of_the_config_learns_a_game(encoder: Path, tmp_path: Path) -> None:
    assert len(CONFIG.read_text().splitlines()) < 50
    names = [name for name in yaml.safe_load(CONFIG.read_text())["methods"] if name not in METHODS]
    path = config(tmp_path / "c.yaml", encoder, games=["freeway"], methods=names, reference=None)
    record = play(path, tmp_path / "run")
    assert list(record["continual"]["methods"]) == names
    assert (record["state"], record["step"]) == ("done", 72 * len(names))
    for name in names:
        assert load(tmp_path / "run" / name / "1-freeway").played == 72


def test_the_tables_hold_every_game_after_every_game(played: Path) -> None:
    record = read_run(played)
    found = record["continual"]
    assert (record["kind"], record["step"], record["steps"]) == ("continual", 432, 432)
    assert found["games"] == GAMES
    assert found["low"] == [find(game).random for game in GAMES]
    assert found["high"] == np.diagonal(found["methods"]["alone"]["returns"]).tolist()
    rows = table(played / "scores.csv")
    assert len(rows) == 3 * 2 * 2
    for row in rows:
        after, game = GAMES.index(row["after"]), GAMES.index(row["game"])
        assert float(row["return"]) == found["methods"][row["method"]]["returns"][after][game]
    assert [row["method"] for row in table(played / "summary.csv")] == list(found["methods"])
    ends = [int(row["step"]) for row in table(played / "metrics.csv")]
    assert 72 < max(ends) <= 144
    for name in found["methods"]:
        files = {path.suffix for path in (played / name / "2-freeway" / "checkpoints").iterdir()}
        assert files == {".ckpt", ".sha256"}


def test_a_game_begins_where_the_one_before_ended(played: Path) -> None:
    """The weights before the first update are those of the end; here they cannot have gone far."""
    ends = {
        name: [weights(ended(played / name / f"{k + 1}-{game}")) for k, game in enumerate(GAMES)]
        for name in ("alone", "fine_tuned")
    }

    def distance(a: dict, b: dict, part: str) -> float:
        keys = [key for key in a if key.startswith(part) and a[key].is_floating_point()]
        return sum(float((a[key] - b[key]).square().sum()) for key in keys) ** 0.5

    for part in ("eyes", "head"):
        one, two = ends["fine_tuned"]
        assert 0 < distance(one, two, part) < 1.0
    # The first game of a sequence is that game alone, bit for bit.
    first, alone = ends["fine_tuned"][0], ends["alone"][0]
    assert all(torch.equal(first[key], alone[key]) for key in first)


def test_who_is_told_the_game_plays_with_what_belongs_to_it() -> None:
    assert source("nothing", 1, 0) == Source(1, 1)
    assert source("heads", 1, 0) == Source(1, 0)
    assert source("heads", 1, 2) == Source(1, None)
    assert source("agent", 1, 0) == Source(0, 0)
    assert source("agent", 0, 1) == Source(None, None)


def test_games_alone_forget_nothing_and_ewc_held_its_encoder_back(played: Path) -> None:
    found = read_run(played)["continual"]["methods"]
    returns = np.array(found["alone"]["returns"])
    assert returns[1, 0] == returns[0, 0]
    assert len(json.loads((played / "alone" / "scores.json").read_text())) == 3
    state = weights(ended(played / "ewc" / "2-freeway"))
    assert state["eyes.encoder.fisher_0"].sum() > 0
    rows = table(played / "ewc" / "2-freeway" / "metrics.csv")
    penalties = [float(row["value"]) for row in rows if row["name"] == "loss/ewc"]
    assert penalties[0] == 0
    assert max(penalties) > 0


def test_a_sequence_that_is_killed_again_and_again_ends_the_same(
    played: Path, encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the middle of a game, and of an evaluation."""
    path, run = config(tmp_path / "c.yaml", encoder, games=GAMES, methods=METHODS), tmp_path / "run"
    kills, stepped, step = {30, 45, 75, 100}, 0, Envs.step

    def killing(envs: Envs, actions: np.ndarray):
        nonlocal stepped
        stepped += 1
        if stepped in kills:
            raise KeyboardInterrupt
        return step(envs, actions)

    monkeypatch.setattr(Envs, "step", killing)
    for _ in kills:
        with pytest.raises(KeyboardInterrupt):
            play(path, run)
        assert read_run(run)["state"] == "failed"
    assert play(path, run)["continual"] == read_run(played)["continual"]
    for name in METHODS:
        for place, game in enumerate(GAMES):
            one, two = (weights(ended(f / name / f"{place + 1}-{game}")) for f in (run, played))
            assert all(torch.equal(one[key], two[key]) for key in one)
    assert (run / "metrics.csv").read_text() == (played / "metrics.csv").read_text()


def test_a_finished_sequence_says_so(
    played: Path, encoder: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    before = read_run(played)
    path = config(tmp_path / "c.yaml", encoder, games=GAMES, methods=METHODS)
    assert play(path, played) == before
    said = capsys.readouterr().out
    assert f"{played}: already done" in said
    assert "fine_tuned" in said
    with pytest.raises(UserError, match=r"holds a run with steps = 72, not 80"):
        play(path, played, "--steps", "80")


MISTAKES = {
    "other actions": (
        ["--play.full_actions", "false"],
        "breakout has 4 actions (NOOP, FIRE, RIGHT, LEFT) and freeway has 3 (NOOP, UP, DOWN): set",
    ),
    "a game twice": (["--games", "[pong, pong]"], "games pong, pong: name at least one, each once"),
    "an unknown game": (["--games", "[pongg]"], "unknown game 'pongg': did you mean pong"),
    "no games": (["--games", "[]"], "name at least one"),
    "a reference that is no method": (["--reference", "lonely"], "reference lonely is no method"),
    "a reference that goes through": (["--reference", "head_only"], "with per_game: agent"),
    "an unknown setting": (["--stepz", "3"], "unknown setting 'stepz': did you mean 'steps'?"),
    "an unknown setting of the agent": (["--agent.init_args.gama", "1"], "did you mean 'gamma'"),
    "a wrong type": (["--episodes", "many"], "episodes"),
    "no run folder": (["--run", ""], "say where to with --run"),
    "a replay larger than memory": (["--agent.init_args.replay", "100000000000"], "GB"),
}


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


def test_an_unknown_encoder_is_refused_before_anything_is_learned(tmp_path: Path) -> None:
    path = config(tmp_path / "c.yaml", "nowhere", games=GAMES, methods=["alone"])
    with pytest.raises(UserError, match="nowhere"):
        play(path, tmp_path / "run")
    assert not (tmp_path / "run").exists()
