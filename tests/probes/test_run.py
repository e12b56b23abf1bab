"""The command: what is measured is stored as it comes, skipped when it stands, and never mixed."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import get_args

import numpy as np
import pytest

import report_samples
from fovea import analysis, command, probes
from fovea.command import UserError
from fovea.files import exclusive
from fovea.pretrain.encoders.feature_norm import FeatureNormKind
from fovea.pretrain.encoders.folder import export_encoder
from fovea.pretrain.encoders.vit import Shape, ViT, build
from fovea.probes.__main__ import NORMS
from fovea.probes.__main__ import run as run_command
from fovea.probes.references import untrained
from fovea.probes.run import run
from fovea.runs import read_run

FACTS = {"method": "VICReg", "games": ["pong", "breakout"], "samples": 1280}
NAMES = ["mine", "random", "pixels", "pixels_pooled", "majority"]
PROBES = ["action", "attention", "collapse", "map", "sparsity", "state"]
"""Those that one run of all encoders is shown by; the others go the same way, and have tests."""


@pytest.fixture
def folder(encoder: ViT, tmp_path: Path) -> Path:
    return export_encoder(encoder, tmp_path / "encoder", FACTS)


def measure(folder: Path, recordings: Path, into: Path, **settings: object) -> None:
    run([f"mine={folder}"], [recordings], into, **{"samples": 200, "accelerator": "cpu"} | settings)


def stored(into: Path) -> dict[str, dict]:
    return {p.stem: json.loads(p.read_text()) for p in (into / "probes").glob("*.json")}


def skipped(capsys: pytest.CaptureFixture) -> set[str]:
    return set(re.findall(r"(\w+ of \w+): finished before, skipped", capsys.readouterr().err))


@pytest.mark.slow
def test_every_probe_of_every_encoder_is_stored_and_then_skipped(
    folder: Path, recordings: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    into = tmp_path / "run"
    measure(folder, recordings, into, only=PROBES)
    printed = capsys.readouterr()
    assert "finished before" not in printed.err
    # The encoder lacks nothing; that references have no attention is left out without a word.
    assert "left out" not in printed.out + printed.err
    assert re.search(r"state r2 +-?\d\.\d{3}", printed.out)
    found, sample = stored(into), report_samples.probes(tmp_path / "sample")
    assert sorted(found) == PROBES
    for name, result in found.items():
        assert result["probe"] == name
        assert set(result["encoders"]) | set(result["left_out"]) == set(NAMES)
        assert result["settings"]["samples"] == 200
        columns = {
            table["name"]: table["columns"]
            for encoder in result["encoders"].values()
            for table in encoder["tables"]
        }
        written = json.loads((sample / "probes" / f"{name}.json").read_text())["encoders"]
        assert columns == {t["name"]: t["columns"] for t in written["vicreg"]["tables"]}
        for encoder in result["encoders"].values():
            for table in encoder["tables"]:
                assert table["columns"] == columns[table["name"]]
                assert table["rows"]
                assert {len(row) for row in table["rows"]} == {len(table["columns"])}
    assert (
        set(found["attention"]["encoders"]) == set(found["sparsity"]["encoders"]) == set(NAMES[:2])
    )
    assert set(found["state"]["encoders"]) == set(NAMES)
    with np.load(into / "probes" / "attention.npz") as arrays:
        assert arrays["mine/maps"].shape == (2, 2, 48, 3, 3)
        assert set(arrays["random/game"]) == {"breakout", "pong"}
    record = read_run(into)
    assert (record.kind, record.state, record.step, record.steps) == ("probes", "done", 30, 30)
    assert set(record.data) == {"breakout", "pong"}

    measure(folder, recordings, into, only=PROBES)
    assert len(skipped(capsys)) == 30
    assert stored(into) == found


@pytest.mark.slow
def test_changed_weights_or_settings_are_measured_again(
    encoder: ViT, folder: Path, recordings: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    into, only = tmp_path / "run", {"only": ["collapse"]}
    measure(folder, recordings, into, **only)
    first = stored(into)["collapse"]["encoders"]
    export_encoder(untrained(encoder, 7), folder, FACTS)
    capsys.readouterr()
    measure(folder, recordings, into, **only)
    assert skipped(capsys) == {f"collapse of {name}" for name in NAMES[1:]}
    second = stored(into)["collapse"]["encoders"]
    assert second["mine"] != first["mine"]
    assert second["random"] == first["random"]
    measure(folder, recordings, into, samples=220, **only)
    assert not skipped(capsys)
    assert stored(into)["collapse"]["settings"]["samples"] == 220


@pytest.mark.evidence
@pytest.mark.slow
def test_a_kill_loses_only_the_probe_in_hand(
    folder: Path, recordings: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    into = tmp_path / "run"
    started = [sys.executable, "-m", "fovea", "probes", "run", "--encoder", f"mine={folder}",
               "--recordings", str(recordings), "--run", str(into), "--samples", "200",
               *(word for name in PROBES for word in ("--probe", name))]  # fmt: skip
    path = into / "probes" / "sparsity.json"
    with subprocess.Popen(started, stderr=subprocess.DEVNULL) as process:
        while not (path.exists() and json.loads(path.read_text())["fingerprints"]):
            assert process.poll() is None
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
    before = stored(into)
    assert read_run(into).state == "running"
    finished = {f"{p} of {e}" for p, result in before.items() for e in result["fingerprints"]}
    assert {"action of mine", "attention of mine", "sparsity of mine"} <= finished
    assert len(finished) < 25

    measure(folder, recordings, into, only=PROBES)
    assert skipped(capsys) == finished
    after = stored(into)
    for probe, result in before.items():
        assert result["encoders"].items() <= after[probe]["encoders"].items()
    assert read_run(into).state == "done"
    clean = tmp_path / "clean"
    measure(folder, recordings, clean, only=PROBES)
    assert stored(clean) == after


@pytest.fixture
def new_probe(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[str, str], None]]:
    """Adds a file to the probes, with this name and text, for the test alone."""
    more, names = tmp_path / "more", []
    monkeypatch.setattr(probes, "__path__", [*probes.__path__, str(more)])

    def add(name: str, text: str) -> None:
        more.mkdir(exist_ok=True)
        (more / f"{name}.py").write_text(text)
        names.append(name)

    yield add
    for name in names:
        sys.modules.pop(f"fovea.probes.{name}", None)
        vars(probes).pop(name, None)


BRIGHTNESS = '''
"""Brightness."""
from fovea.figures import Comparison, Verdict
from fovea.results import Measured
from fovea.tables import Table

TITLE = "Brightness"
ABOUT = "How bright the screens are."
FIGURES = [Comparison(table="screens", along="game", choice="split",
                      measures={"brightness": "Brightness, 0 black"})]
VERDICT = Verdict(table="screens", measure="brightness", sentence="mean brightness of {games}")


def probe(encoder, seen, *, scale=2):
    rows = [[game, "test", float(of.test.frames.screens.double().mean()) * scale]
            for game, of in seen.items()]
    return Measured([Table("screens", "Screens", ["game", "split", "brightness"], rows)])
'''


@pytest.mark.slow
def test_a_new_probe_is_one_file_with_its_figure_in_the_report(
    folder: Path, recordings: Path, tmp_path: Path, new_probe, capsys: pytest.CaptureFixture
) -> None:
    new_probe("brightness", BRIGHTNESS)
    run_command(["ls"])
    assert "How bright the screens are." in capsys.readouterr().out
    measure(folder, recordings, tmp_path / "run", only=["brightness"])
    result = stored(tmp_path / "run")["brightness"]
    assert result["settings"] == {"samples": 200, "seed": 0, "scale": 2}
    assert set(result["encoders"]) == set(NAMES)
    index, _ = analysis.report([tmp_path / "run"], tmp_path / "page")
    assert "mean brightness of 2 games: mine " in index.read_text()
    assert "Brightness, 0 black" in (tmp_path / "page" / "assets" / "data.js").read_text()


@pytest.mark.slow
@pytest.mark.parametrize(("before", "after", "message"), [
    ('TITLE = "Brightness"', "", "the probe fovea.probes.bright has no TITLE: give it one"),
    ("return Measured([", "return ([", r"bright gave list: return Measured\(\[Table\(\.\.\.\)"),
    ('table="screens", along', 'table="screen", along',
     "bright.FIGURES names the table 'screen': did you mean 'screens'"),
    ('along="game"', 'along="gam"', "bright.FIGURES names the column 'gam': did you mean 'game'"),
    ('"Brightness, 0 black"}', '"Brightness, 0 black"}, kind="line"',
     "bright.FIGURES names the kind 'line': did you mean 'lines'"),
    ('measure="brightness", sent', 'measure="brightnes", sent',
     "bright.VERDICT names the column 'brightnes': did you mean 'brightness'"),
    ('sentence="mean', 'where={"split": "tests"}, sentence="mean',
     "bright.VERDICT names the split 'tests': did you mean 'test'"),
    ("of {games}", "of {game}", "a sentence with the braces 'game': did you mean 'games'"),
    ('[game, "test", ', '[game, ', r"table screens has the odd row \['breakout', .*; give"),
    ("def probe(encoder, seen, *, scale=2)", "def probe(seen, *, scale=2)",
     r"takes seen, scale=2: write probe\(encoder, games\)"),
])  # fmt: skip
def test_what_a_probe_declares_is_held_to_what_it_returns(
    before: str, after: str, message: str, folder: Path, recordings: Path, new_probe
) -> None:
    assert before in BRIGHTNESS
    new_probe("bright", BRIGHTNESS.replace(before, after))
    with pytest.raises(UserError, match=message):
        probes.measure(folder, recordings, probe="bright", samples=60)


def test_a_probe_of_ones_own_lies_where_python_looks(
    folder: Path, recordings: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "my_brightness.py").write_text(BRIGHTNESS)
    monkeypatch.syspath_prepend(tmp_path)
    found = probes.measure(folder, recordings, probe="my_brightness", samples=60)
    assert found["screens"].columns == ["game", "split", "brightness"]
    with pytest.raises(UserError, match=r"unknown probe 'my_brightnes': .*one of your own is"):
        probes.measure(folder, recordings, probe="my_brightnes", samples=60)


@pytest.mark.parametrize(("encoders", "only", "message"), [
    (["mine"], None, r"--encoder 'mine' is not NAME=REF: write mine="),
    (["random=random:vit_micro"], None, "the encoder name 'random' is taken"),
    (["a=random:vit_micro", "a=random:vit_tiny"], None, "the encoder name 'a' is taken"),
    (["a=nowhere"], None, "nowhere"),
    (["a=random:vit_huge"], None, "unknown encoder size 'vit_huge'"),
    (["a=random:vit_micro"], ["vision"], "unknown probe 'vision': known are action, attention"),
])  # fmt: skip
def test_a_mistake_is_named_before_anything_is_written(
    encoders: list[str], only: list[str] | None, message: str, recordings: Path, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=message) as mistake:
        run(encoders, [recordings], tmp_path / "run", only=only)
    assert "\n" not in str(mistake.value)
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_encoders_of_another_stack_or_size_are_refused(
    folder: Path, recordings: Path, tmp_path: Path
) -> None:
    other = export_encoder(build(Shape(patch=28, stack=3)), tmp_path / "other", FACTS)
    with pytest.raises(UserError, match="other takes a stack of 3 screens, mine one of 2"):
        run([f"mine={folder}", f"other={other}"], [recordings], tmp_path / "run")
    large = export_encoder(build(Shape(patch=32, stack=2, screen=96)), tmp_path / "large", FACTS)
    with pytest.raises(UserError, match="large takes 96x96 px screens, the recordings hold 84x84"):
        run([f"mine={folder}", f"large={large}"], [recordings], tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_an_encoder_of_single_screens_sees_each_of_a_stack(
    folder: Path, recordings: Path, tmp_path: Path
) -> None:
    single = export_encoder(build(Shape("vit_micro", patch=42, stack=1)), tmp_path / "one", FACTS)
    run([f"single={single}", f"stacked={folder}"], [recordings], tmp_path / "run",
        only=["collapse"], samples=100, accelerator="cpu")  # fmt: skip
    measured = stored(tmp_path / "run")["collapse"]["encoders"]
    assert {"single", "stacked", "random"} <= measured.keys()


def test_a_folder_in_use_is_left_alone(folder: Path, recordings: Path, tmp_path: Path) -> None:
    with exclusive(tmp_path / "run"), pytest.raises(UserError, match="is in use by process"):
        measure(folder, recordings, tmp_path / "run", only=["collapse"])
    assert not (tmp_path / "run" / "run.json").exists()


@pytest.mark.slow
def test_damaged_results_are_named(folder: Path, recordings: Path, tmp_path: Path) -> None:
    into = tmp_path / "run"
    measure(folder, recordings, into, only=["attention"])
    arrays = into / "probes" / "attention.npz"
    arrays.write_bytes(arrays.read_bytes()[:1000])
    with pytest.raises(
        UserError, match=r"attention\.npz is damaged .*: delete it and attention\.json"
    ):
        measure(folder, recordings, into, only=["attention"])
    (into / "probes" / "attention.json").write_text("{")
    with pytest.raises(UserError, match=r"attention\.json is damaged"):
        measure(folder, recordings, into, only=["attention"])


def test_a_fault_is_kept_in_the_record(
    folder: Path, recordings: Path, tmp_path: Path, new_probe
) -> None:
    new_probe("luckless", "TITLE = ABOUT = 'Luck'\ndef probe(encoder, seen): 1 / 0\n")
    with pytest.raises(ZeroDivisionError):
        measure(folder, recordings, tmp_path / "run", only=["luckless"])
    record = read_run(tmp_path / "run")
    assert (record.state, record.reason) == ("failed", "division by zero")


def test_the_command_ends_with_one_line_and_exit_code_2(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    asked = ["run", "--encoder", "a=random:vit_micro", "--run", str(tmp_path / "run"),
             "--recordings", str(tmp_path / "none")]  # fmt: skip
    with pytest.raises(SystemExit) as ended:
        command.main(lambda: run_command(asked))
    assert ended.value.code == 2
    printed = capsys.readouterr().err
    assert printed.startswith("error: ")
    assert printed.count("\n") == 1
    assert str(tmp_path / "none") in printed
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_features_of_blocks_are_probed_as_those_of_the_last_are(
    folder: Path, recordings: Path, tmp_path: Path
) -> None:
    settings = {"only": ["collapse"]}
    into = tmp_path / "run"
    measure(folder, recordings, into, **settings)
    usual = stored(into)["collapse"]
    measure(folder, recordings, into, **settings, blocks=[2])
    last = stored(into)["collapse"]
    assert last["settings"]["blocks"] == [2]
    for of in usual[
        "encoders"
    ].values():  # chosen blocks are one read-out, of which there is no more
        of["tables"] = [table for table in of["tables"] if table["name"] != "blocks"]
    assert last["encoders"] == usual["encoders"]
    measure(folder, recordings, into, **settings, blocks=[1, 2])
    both = stored(into)["collapse"]
    assert both["encoders"]["mine"] != usual["encoders"]["mine"]
    assert both["encoders"]["random"] != usual["encoders"]["random"]
    assert both["encoders"]["pixels"] == usual["encoders"]["pixels"]
    with pytest.raises(UserError, match=r"blocks \[5\]: this encoder has blocks 1 to 2"):
        measure(folder, recordings, tmp_path / "none", **settings, blocks=[5])
    assert not (tmp_path / "none").exists()


@pytest.mark.evidence
@pytest.mark.slow
def test_the_norm_is_a_setting_of_the_state_alone(
    folder: Path, recordings: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    into, only = tmp_path / "run", {"only": ["collapse", "state"]}
    measure(folder, recordings, into, **only)
    usual = stored(into)
    assert usual["state"]["settings"]["norm"] == "standard"
    assert "norm" not in usual["collapse"]["settings"]
    capsys.readouterr()
    measure(folder, recordings, into, **only, norm="whiten")
    assert skipped(capsys) == {f"collapse of {name}" for name in NAMES}
    whitened = stored(into)["state"]
    assert whitened["settings"]["norm"] == "whiten"

    def tables(of: dict) -> dict[str, list]:
        return {table["name"]: table["rows"] for table in of["encoders"]["mine"]["tables"]}

    changed = {k for k, rows in tables(whitened).items() if rows != tables(usual["state"])[k]}
    assert changed == {"labels", "blocks", "variables_by_read_out", "variables_by_block"}


def test_a_norm_that_no_probe_takes_is_refused(
    folder: Path, recordings: Path, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match="--norm whiten: none of collapse takes it, add"):
        measure(folder, recordings, tmp_path / "run", only=["collapse"], norm="whiten")
    assert not (tmp_path / "run").exists()
    assert set(NORMS) == set(get_args(FeatureNormKind))


@pytest.mark.evidence
@pytest.mark.slow
def test_pixels_of_patches_are_an_encoder_too(recordings: Path, tmp_path: Path) -> None:
    into = tmp_path / "run"
    measure("random:patches6", recordings, into, only=["collapse"])
    found = stored(into)["collapse"]
    assert {"mine", "random", "pixels", "pixels_pooled"} == set(found["encoders"])
