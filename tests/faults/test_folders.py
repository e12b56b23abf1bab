"""Folders of runs, recordings and studies that are not as one thinks: each is found and told of."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
import yaml

import report_samples as samples
from fovea.analysis import study
from fovea.analysis.runs import read_runs
from fovea.atari.collect import collect
from fovea.atari.emulator import Settings
from fovea.atari.origin import COMPARED, unlike
from fovea.atari.parquet import read_shard, shard_paths
from fovea.atari.recordings import open_dataset, seal
from fovea.atari.shards import Shards
from fovea.command import UserError
from fovea.pretrain.show import show_all
from fovea.runs import run_folders


def test_linked_folders_are_found_once_and_circles_are_not_followed(tmp_path: Path) -> None:
    """Fault 14."""
    there, runs = tmp_path / "there", tmp_path / "runs"
    samples.run(there / "mine", "pretrain")
    samples.run(runs / "own", "pretrain")
    (runs / "linked").symlink_to(there)
    (runs / "again").symlink_to(there / "mine")
    (runs / "circle").symlink_to(runs)
    names = [folder.resolve() for folder in run_folders(runs)]
    assert sorted(names) == [runs / "own", there / "mine"]
    assert len(read_runs([runs, there])) == 2


def test_runs_are_told_apart_by_the_shortest_path_that_does(tmp_path: Path) -> None:
    """Fault 15: seeds of one method share its name, runs of one seed do not."""
    for place in ("a/seed-0/vicreg", "a/seed-1/vicreg", "b/seed-0/vicreg", "other"):
        samples.run(tmp_path / place, "pretrain", seed=int("seed-1" in place))
    shutil.copytree(tmp_path / "other", tmp_path / "copied")
    runs = {run.folder.relative_to(tmp_path).as_posix(): run for run in read_runs([tmp_path])}
    names = {place: (run.name, run.method) for place, run in runs.items()}
    assert names == {
        "a/seed-0/vicreg": ("a/seed-0/vicreg", "a/vicreg"),
        "a/seed-1/vicreg": ("a/seed-1/vicreg", "a/vicreg"),
        "b/seed-0/vicreg": ("b/seed-0/vicreg", "b/vicreg"),
        "other": ("other", "other"),
        "copied": ("copied", "copied"),
    }


def test_a_run_without_a_sign_of_life_is_not_still_running(tmp_path: Path) -> None:
    """Fault 15."""
    for name in ("alive", "gone"):
        samples.run(tmp_path / name, "pretrain", state="running", step=20)
    for path in (tmp_path / "gone").iterdir():
        os.utime(path, (1_000_000_000, 1_000_000_000))
    text, _ = samples.page(tmp_path, tmp_path / "out")
    assert "no sign of life of gone (step 20 of 500) since 2001-09-" in text.text
    assert "alive (step 20 of 500)" in text.text


@pytest.mark.slow
def test_one_odd_run_does_not_take_the_page_down(tmp_path: Path) -> None:
    """Fault 23: a mean that is no number, and a record that nobody thought of."""
    samples.agent(tmp_path / "fine", "fine", seed=1)
    for name in ("nan", "odd"):
        folder = samples.agent(tmp_path / name, name, seed=2)
        record = json.loads((folder / "run.json").read_text())
        del record["check"]
        if name == "nan":
            record["evaluation"] |= {"returns": [None] * 10, "mean": None}
        else:
            record["evaluation"]["protocol"] = {"deep": [1]}
            record["evaluation"]["game"] = ["pong"]
            record["game"] = ["pong"]
        (folder / "run.json").write_text(json.dumps(record))
    text, _ = samples.page(tmp_path, tmp_path / "out")
    assert "its evaluation holds what is no number, and is left out" in text.text
    assert "odd unreadable at step" in text.text
    assert "fine" in (tmp_path / "out" / "data" / "evaluation.csv").read_text()


def test_one_damaged_encoder_does_not_end_the_list(
    small_encoder: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    """Fault 24, behind a link as well (14)."""
    for name in ("a", "b", "c"):
        shutil.copytree(small_encoder, tmp_path / name)
    (tmp_path / "b" / "config.json").write_bytes(b"\xff{")
    (tmp_path / "c" / "config.json").unlink()
    (tmp_path / "d").symlink_to(small_encoder)
    show_all(tmp_path)
    lines = capsys.readouterr().out.splitlines()
    assert ["  damaged: " in line for line in lines] == [False, True, True, False]


STUDY = {
    "kind": "agents", "title": "S", "games": ["pong"], "steps": 1, "episodes": 1, "seeds": [0],
    "runs": {"mine": {"config": "dqn", "settings": {}}}, "differences": [],
}  # fmt: skip
WRONG = {
    "a key of a run": ({"runs": {"mine": {"config": "dqn", "setings": {}}}}, "'settings'"),
    "no config": ({"runs": {"mine": {}}}, "lacks its key 'config'"),
    "a difference": ({"differences": [["mine", "mein"]]}, "'mein': did you mean 'mine'"),
    "no pair": ({"differences": [["mine"]]}, "give pairs of runs"),
    "a game": ({"games": ["pogn"]}, "pong"),
    "no runs": ({"runs": []}, "give each a name"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_mistake_inside_a_study_is_told_before_anything_runs(case: str, tmp_path: Path) -> None:
    """Fault 8."""
    changed, message = WRONG[case]
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(STUDY | changed))
    with pytest.raises(UserError) as refused:
        study.read(tmp_path / "mine.yaml")
    assert message in str(refused.value)


def test_a_recording_counts_once(short: Path, tmp_path: Path) -> None:
    """Fault 18: by another name, behind a link, or copied."""
    (tmp_path / "link").symlink_to(short)
    shutil.copytree(short, tmp_path / "copy")
    for again in (short, short / "breakout", tmp_path / "link", tmp_path / "copy"):
        with pytest.raises(UserError, match="are the same recording of breakout: give it once"):
            Shards.find([short, again])


def test_a_shard_counts_once(short: Path, tmp_path: Path) -> None:
    """A recording of two shards beside a copy that has grown to three."""
    shutil.copytree(short / "breakout", tmp_path / "grown")
    shards = [read_shard(path) for path in shard_paths(short / "breakout")]
    seal(tmp_path / "grown", shards)
    seal(tmp_path / "before", [*shards[:1]])
    shutil.copy(shards[0].path, tmp_path / "before")
    for folders in ("before", "grown"), ("grown", "before"):
        one, other = (tmp_path / name for name in folders)
        with pytest.raises(UserError) as refused:
            Shards.find([one, other])
        assert str(refused.value) == (
            f"{one} and {other} hold the same shards of breakout, such as shard-00000.parquet: "
            "give one of them, such as the larger"
        )
    listed = json.loads((tmp_path / "before" / "_dataset.json").read_text())
    (tmp_path / "before" / "_dataset.json").write_text(
        json.dumps({"origin": listed["origin"], "shards": 2 * listed["shards"]})
    )
    with pytest.raises(UserError, match=r"_dataset\.json is damaged"):
        Shards.find([tmp_path / "before"])


@pytest.mark.slow
def test_settings_that_travel_with_recordings_are_compared(
    short: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    """Fault 19."""
    assert tuple(Settings.__dataclass_fields__) == COMPARED
    collect(["breakout"], tmp_path, steps=200, shard_steps=200, settings=Settings(sticky=0.0),
            workers=1)  # fmt: skip
    Shards.find([short, tmp_path])
    assert "breakout was played with different settings: sticky 0 and 0.25" in (
        capsys.readouterr().err
    )
    with pytest.raises(UserError, match="give recordings of one kind, or leave out strict"):
        Shards.find([short, tmp_path], strict=True)
    origin = open_dataset(tmp_path / "breakout").origin
    (line,) = unlike([origin], {"sticky": 0.25, "mode": None})
    assert line == "breakout was recorded with other settings: sticky 0.0 there and 0.25 here"
