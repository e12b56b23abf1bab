"""The results of a study lie in small tables, which alone say what is due and what is shown."""

from __future__ import annotations

import math
import shutil
import subprocess
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from fovea import checkout
from fovea.analysis import study, study_cells, study_done, study_results
from fovea.analysis.study_kinds import Command
from fovea.analysis.study_results import Key, Result
from fovea.command import UserError
from fovea.files import exclusive
from fovea.runs import RunWriter, read_run
from fovea.schema import Evaluation

STUDY: dict[str, Any] = {
    "kind": "agents", "title": "Small", "games": ["pong"], "steps": 1000, "episodes": 2,
    "seeds": [0, 1], "differences": [["one", "other"]],
    "runs": {"one": {"config": "dqn"}, "other": {"config": "ppo", "settings": {"x": "a b,c"}}},
}  # fmt: skip


@pytest.fixture
def asked(tmp_path: Path) -> list[str]:
    """A study of which all but other of seed 1 has run, and its results are kept apart."""
    (tmp_path / "small.yaml").write_text(yaml.safe_dump(STUDY))
    command = [str(tmp_path / "small.yaml"), "--out", str(tmp_path / "out"),
               "--results", str(tmp_path / "kept")]  # fmt: skip
    content = study.read(tmp_path / "small.yaml")
    for key in list(content.made_by())[:3]:
        agent(tmp_path / "out" / key.place, score=key.seed - 20.0)
        study.keep_results(content, tmp_path / "kept", content.results(tmp_path / "out", [key]))
    return command


def agent(folder: Path, score: float) -> None:
    run = RunWriter(folder, "agent", "Agent")
    for step in range(100, 1001, 100):
        run.log(step, {"return": score})
    evaluation = Evaluation(returns=[score] * 2, mean=score, hns=score / 100, trained=1000)
    run.update(state="done", step=1000, evaluation=evaluation, seconds=61, commit="0123")


def started(
    asked: list[str], monkeypatch: pytest.MonkeyPatch, out: Path, score: float = 5.0
) -> list[str]:
    """The runs that a study starts; each of them then has a run folder with this score."""
    folders = []

    def run_cell(folder: Path, commands: list[Command], *_: object) -> str:
        if not all(study_done.is_done(study_done.typed(each)) for each in commands):
            folders.append(str(folder.relative_to(out)))
            agent(folder, score)
        return study_cells.ENDED

    monkeypatch.setattr(study_cells, "run_cell", run_cell)
    monkeypatch.setattr(study, "check_settings", lambda cells: None)  # some are made up
    study.run(asked)
    return sorted(set(folders))


def test_what_is_kept_is_text_for_people_and_git(asked: list[str], tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    assert {path.name for path in kept.iterdir()} == {
        "runs.csv", "scores.csv", "curves.csv", "study.md", "study.svg", ".lock"
    }  # fmt: skip
    assert (kept / "runs.csv").read_text() == (
        "run,seed,game,commit,seconds,command\n"
        "one,0,pong,0123,61,fovea agents fit -c dqn --seed_everything 0 --data.game pong "
        "--data.total_steps 1000 && fovea agents evaluate --episodes 2\n"
        "one,1,pong,0123,61,fovea agents fit -c dqn --seed_everything 1 --data.game pong "
        "--data.total_steps 1000 && fovea agents evaluate --episodes 2\n"
        'other,0,pong,0123,61,"fovea agents fit -c ppo --seed_everything 0 --data.game pong '
        "--data.total_steps 1000 --x 'a b,c' && fovea agents evaluate --episodes 2\"\n"
    )
    scores = (kept / "scores.csv").read_text().splitlines()
    assert scores[0] == "run,seed,game,measure,value"
    assert {"one,0,pong,return,-20", "one,1,pong,hns,-0.19", "one,0,pong,steps,1000",
            "other,0,pong,take_off_0.1,inf"} <= set(scores)  # fmt: skip
    assert scores[1:] == sorted(scores[1:])
    curves = (kept / "curves.csv").read_text().splitlines()
    assert curves[:2] == ["run,seed,game,step,return", "one,0,pong,100,-20"]
    assert len(curves) == 1 + 3 * 46  # none before the first episode has ended


def test_what_is_kept_does_not_run_again_and_gives_the_same_page(
    asked: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    assert started(asked, monkeypatch, tmp_path / "out") == ["seed-1/pong/other"]
    assert "kept: seed-0/pong/one, seed-0/pong/other\nkept: seed-1/pong/one\n" in (
        capsys.readouterr().out
    )
    tables = contents(tmp_path / "kept")
    shutil.rmtree(tmp_path / "out")
    assert started(asked, monkeypatch, tmp_path / "out") == []
    assert not (tmp_path / "out").exists()
    assert contents(tmp_path / "kept") == tables
    (tmp_path / "kept" / "study.md").unlink()
    study.run([asked[0], "--results", str(tmp_path / "kept"), "--page"])
    assert contents(tmp_path / "kept") == tables
    # Without its line it is due.
    lines = (tmp_path / "kept" / "runs.csv").read_text().splitlines(keepends=True)
    (tmp_path / "kept" / "runs.csv").write_text("".join(lines[:1] + lines[2:]))
    assert started(asked, monkeypatch, tmp_path / "out", -20) == ["seed-0/pong/one"]
    assert contents(tmp_path / "kept") == tables


def test_other_settings_make_a_run_due_and_replace_its_rows(
    asked: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    shutil.rmtree(tmp_path / "out")
    changed = STUDY | {"runs": STUDY["runs"] | {"one": {"config": "dqn", "settings": {"y": 1}}}}
    Path(asked[0]).write_text(yaml.safe_dump(changed))
    study.run([*asked, "--page"])
    assert "left out, of other settings than the study's now: seed-0/pong/one, seed-1/pong/one" in (
        capsys.readouterr().out
    )
    assert "| one |" not in (tmp_path / "kept" / "study.md").read_text()
    ran = started([*asked, "--seeds", "0"], monkeypatch, tmp_path / "out")
    assert ran == ["seed-0/pong/one"]
    results = study_results.read(tmp_path / "kept")
    assert results[Key("one", 0, "pong")].scores["pong", "return"] == 5
    assert results[Key("one", 1, "pong")].scores["pong", "return"] == -19
    assert "| one | 1 of 2 | 0.050 |" in (tmp_path / "kept" / "study.md").read_text()


@pytest.mark.parametrize(("file", "change", "message"), [
    ("runs.csv", lambda text: text.replace("seed,", "sed,"), r"line 1 \(not run,seed,game,commit"),
    ("runs.csv", lambda text: text + text.splitlines()[1] + "\n", r"line 5 \(a second row of the"),
    ("scores.csv", lambda text: text[:-1], r"line 16 \(its end is missing\)"),
    ("scores.csv", lambda text: "<<<<<<< HEAD\n".join(text.partition("one,1")), r"line \d+ \(\d"),
    ("curves.csv", lambda text: text.replace("-20", "much", 1), r"line 2 \(could not convert"),
    ("curves.csv", lambda text: "", r"line 1 \(not run,seed,game,step,return\)"),
    ("curves.csv", lambda text: text + text.splitlines()[1] + "\n", r"line 140 \(a second row of"),
    ("curves.csv", lambda text: text.replace("-20", "nan", 1), r"line 2 \(nan is no finite num"),
    ("scores.csv", lambda text: text + "one,-1,pong,hns,1\n", r"line 17 \(-1 is below 0\)"),
    ("scores.csv", lambda text: text + "one,0,pong,x,nan\n", r"line 17 \(nan is no number\)"),
    ("scores.csv", lambda text: text + 'one,0,pong,"x,1\n', r"line 17 \(unexpected end of data"),
    ("scores.csv", lambda text: text + f"{'x' * 2**18},0,pong,x,1\n", r"line 17 \(field larger"),
    ("runs.csv", lambda text: text.replace(",61,", ",inf,", 1), r"line 2 \(inf is no finite"),
])  # fmt: skip
def test_a_damaged_table_is_named_with_its_line_before_anything_runs(
    asked: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file, change, message
) -> None:
    path = tmp_path / "kept" / file
    path.write_text(change(path.read_text()))
    with pytest.raises(UserError, match=rf"{file} is damaged in {message}"):
        started(asked, monkeypatch, tmp_path / "out")
    assert not (tmp_path / "out" / "seed-1" / "pong" / "other").exists()


def test_runs_without_their_scores_are_refused(asked: list[str], tmp_path: Path) -> None:
    (tmp_path / "kept" / "scores.csv").unlink()
    with pytest.raises(UserError, match=r"kept holds runs\.csv without scores\.csv: bring"):
        study.run(asked)


def test_scores_that_no_run_owns_do_not_count(asked: list[str], tmp_path: Path) -> None:
    """As a process leaves them that was killed between two files."""
    before = study_results.read(tmp_path / "kept")
    for name, row in (("scores.csv", "new,0,pong,hns,1\n"), ("curves.csv", "new,0,pong,3,1\n")):
        with open(tmp_path / "kept" / name, "a") as file:
            file.write(row)
    assert study_results.read(tmp_path / "kept") == before


@pytest.mark.slow
def test_two_studies_write_to_one_folder_in_turn(tmp_path: Path) -> None:
    """Each merges its results into what the other has kept; whoever comes second waits."""
    content = replace(study.read(write(tmp_path, STUDY)), seeds=[*range(8)])
    keys = list(content.made_by())
    for key in keys:
        agent(tmp_path / "out" / key.place, score=-20.0)
    with exclusive(tmp_path / "kept"):
        halves = [
            threading.Thread(target=keep_each, args=(content, tmp_path, keys[start::2]))
            for start in (0, 1)
        ]
        for half in halves:
            half.start()
        time.sleep(0.05)
        assert not (tmp_path / "kept" / "runs.csv").exists()
    for half in halves:
        half.join()
    assert study_results.read(tmp_path / "kept").keys() == set(keys)
    assert "| one | 8 of 8 |" in (tmp_path / "kept" / "study.md").read_text()


def write(folder: Path, content: dict) -> Path:
    (folder / "small.yaml").write_text(yaml.safe_dump(content))
    return folder / "small.yaml"


def keep_each(content: study.Study, folder: Path, keys: list[Key]) -> None:
    for key in keys:
        study.keep_results(content, folder / "kept", content.results(folder / "out", [key]))


def test_a_page_of_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nowhere holds no results: give the folder"):
        study.run(["agents", "--results", str(tmp_path / "nowhere"), "--page"])
    assert not (tmp_path / "nowhere").exists()


words = st.text(st.characters(codec="utf-8", exclude_characters="\r\n\0"), min_size=1, max_size=8)
number = st.floats(-1e6, 1e6).map(study_results.rounded)
natural = st.floats(0, 1e6).map(study_results.rounded)
result = st.builds(
    Result,
    commit=st.sampled_from(["", "0123+"]),
    seconds=natural,
    command=words,
    scores=st.dictionaries(st.tuples(st.just("pong"), words), number | st.just(float("inf"))),
    curve=st.dictionaries(st.integers(0, 10**9), number),
)
some = st.dictionaries(
    st.builds(Key, words, st.integers(0, 9), st.just("pong")), result, max_size=3
)


@pytest.mark.slow
@settings(max_examples=25)
@given(some, some)
def test_results_are_read_as_they_were_merged(tmp_path_factory, first, second) -> None:
    folder = tmp_path_factory.mktemp("kept")
    study_results.merge(folder, first)
    assert study_results.merge(folder, second) == first | second
    assert study_results.read(folder) == first | second
    tables = contents(folder)
    study_results.merge(folder, first)
    study_results.merge(folder, second)
    assert contents(folder) == tables


cell = st.sampled_from(
    [
        "one",
        "0",
        "-1",
        "1.5",
        "nan",
        "inf",
        "1e999",
        "9" * 5000,
        "\0",
        '"',
        "\r",
        "\n",
        "",
        "pong",
        ",",
    ]
) | st.text(max_size=5)
row = st.lists(cell, max_size=7).map(",".join)


@given(
    file=st.sampled_from([*study_results.COLUMNS]),
    rows=st.lists(row, max_size=4),
    end=st.sampled_from(["\n", ""]) | st.binary(max_size=4),
)
def test_a_table_of_strangers_is_read_or_named_with_its_line(
    file: str, rows: list[str], end: str | bytes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("kept")
    for name, columns in study_results.COLUMNS.items():
        (folder / name).write_text(",".join(columns) + "\n")
    end = end.encode() if isinstance(end, str) else end
    with open(folder / file, "ab") as table:
        table.write("\n".join(rows).encode("utf-8", "replace") + end)
    try:
        found = study_results.read(folder)
    except UserError as fault:
        said = str(fault)
        assert "\n" not in said.replace(str(folder), "")
        assert said.startswith(str(folder / file))
        assert "is damaged in line" in said or "is no UTF-8" in said
    else:
        assert all(math.isfinite(of.seconds) and key.seed >= 0 for key, of in found.items())


def test_a_table_larger_than_any_of_ours_is_refused(tmp_path: Path) -> None:
    with open(tmp_path / "runs.csv", "wb") as file:
        file.truncate(2**26 + 1)
    with pytest.raises(UserError, match=r"runs\.csv has more than 67,108,864 bytes"):
        study_results.read(tmp_path)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != ".lock"}


def test_a_run_knows_the_commit_of_its_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def git(*words: str) -> str:
        identity = ["-c", "user.name=A", "-c", "user.email=a@b.c"]
        done = subprocess.run(
            ["git", *identity, *words], cwd=tmp_path, check=True, capture_output=True, text=True
        )
        return done.stdout.strip()

    package, room = tmp_path / "fovea", tmp_path / "agents"
    for folder in (package, room):
        folder.mkdir()
        (folder / "__init__.py").touch()
    (package / "agents").symlink_to("../agents")
    monkeypatch.setattr(checkout, "PACKAGE", package)
    assert checkout.commit() is None
    git("init")
    assert checkout.commit() is None  # a package that lies in somebody's repository by chance
    git("add", ".")
    git("commit", "-m", "first")
    first = git("rev-parse", "--short=12", "HEAD")
    (tmp_path / "docs.md").touch()
    assert checkout.commit() == first
    (room / "new.py").touch()
    assert checkout.commit() == f"{first}+"
    RunWriter(tmp_path / "run", "agent", "Agent").begin()
    assert read_run(tmp_path / "run").commit == f"{first}+"
