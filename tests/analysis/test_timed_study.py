"""A study that has so many minutes keeps to them, goes on where it was, and leaves what is kept."""

from __future__ import annotations

import csv
import re
import tarfile
import time
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from fovea.analysis import study
from fovea.analysis.timed_study import Plan, all_steps, first_steps, steps_within
from fovea.command import UserError
from fovea.pretrain.encoders.folder import load_encoder

TOY = {
    "kind": "timed", "title": "Toy", "games": ["breakout"], "steps": 3000, "collect_share": 0.5,
    "seeds": [0], "batch": 8, "warmup": 0.05, "measure_seconds": 0.5, "stacks": 1000,
    "probe_seconds": 1, "differences": [], "runs": {"vicreg": {"config": "vicreg"}},
    "settings": {
        "model.init_args.encoder.patch": 42, "model.init_args.expander": 8, "data.held_out": 1,
        "trainer.devices": 1, "trainer.log_every_n_steps": 5,
    },
}  # fmt: skip


def write(folder: Path, **changes: object) -> str:
    path = folder / "toy.yaml"
    path.write_text(yaml.safe_dump(TOY | changes))
    return str(path)


def test_steps_by_hand() -> None:
    # Of 100 s 8 are kept and 12 are the start: 80 s at 15 steps/s. Of 10 s at least 2 are kept.
    assert steps_within(100, start=12, rate=15) == 1200
    assert steps_within(10, start=3, rate=2.5) == 12
    assert steps_within(10, start=9, rate=100) == 0


@given(
    seconds=st.floats(0, 3600), start=st.floats(0, 100), rate=st.floats(1e-3, 1e5),
    batch=st.integers(1, 4096),
)  # fmt: skip
def test_a_run_as_planned_takes_less_than_its_time(
    seconds: float, start: float, rate: float, batch: int
) -> None:
    plan = Plan(rates={"mine": rate}, starts={"mine": start})
    plan.choose_steps(["mine"], seconds, batch)
    assert plan.steps["mine"] >= 0
    if plan.steps["mine"]:
        assert plan.seconds("mine", batch) <= seconds - min(2, seconds) + 1e-6
        # One more would not: nothing is given away.
        more = plan.starts["mine"] + (plan.steps["mine"] + 1) * batch / rate
        assert more > seconds - max(2, 0.08 * seconds) - 1e-6


def test_runs_share_the_time_equally_and_what_was_chosen_stays() -> None:
    plan = Plan(rates={"slow": 100, "fast": 400}, starts={"slow": 10, "fast": 10})
    plan.choose_steps(["slow", "fast", "unknown"], 200, batch=10)
    # 100 s each, 8 of them kept and 10 for the start: 82 s.
    assert plan.steps == {"slow": 820, "fast": 3280}
    plan.choose_steps(["slow", "fast"], 1000, batch=10)
    assert plan.steps == {"slow": 820, "fast": 3280}
    plan.rates["late"], plan.starts["late"] = 100, 10
    plan.choose_steps(["slow", "fast", "late"], 284, batch=10)
    # Those two take 92 s each, which leaves 100.
    assert plan.steps["late"] == 820
    assert plan.seconds("slow", batch=10, done=320) == 10 + 50


def test_collecting_by_hand() -> None:
    assert first_steps(cores=16, games=6, most=150_000) == 3000
    assert first_steps(cores=2, games=6, most=150_000) == 1000
    assert first_steps(cores=16, games=1, most=5000) == 5000
    # 3,000 steps took 10 of 60 s: 15,000 more in 50 s, four fifths of which are planned.
    assert all_steps(3000, took=10, budget=60, most=150_000) == 15_000
    assert all_steps(3000, took=10, budget=60, most=9_000) == 9_000
    assert all_steps(3000, took=70, budget=60, most=9_000) == 3000


def test_a_plan_is_kept(tmp_path: Path) -> None:
    plan = Plan(collected=2000, rates={"a": 1.5}, starts={"a": 2.0}, steps={"a": 7})
    plan.speeds = [["a", "fit", 1.5, "samples/s"]]
    plan.save(tmp_path)
    assert Plan.load(tmp_path) == plan
    assert plan.knows("a", "fit")
    assert not plan.knows("b", "fit")
    (tmp_path / "plan.json").write_text("[1")
    with pytest.raises(UserError, match=r"plan.json is damaged .*: delete it to plan anew"):
        Plan.load(tmp_path)


@pytest.mark.parametrize(("words", "message"), [
    ([], "say how long it may take, as --minutes 8"),
    (["--minutes", "0"], "say how long it may take, as --minutes 8"),
    (["--minutes", "1", "--jobs", "2"], "a timed study does one thing at a time"),
    (["--minutes", "1", "--samples", "64"], "--samples 64 is of encoders"),
])  # fmt: skip
def test_what_a_timed_study_cannot_do_is_refused(
    words: list[str], message: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=message):
        study.run([write(tmp_path), "--out", str(tmp_path / "out"), *words])
    assert not (tmp_path / "out").exists()


def test_one_seed_a_call_and_minutes_for_timed_studies_alone(tmp_path: Path) -> None:
    out = ["--out", str(tmp_path / "out"), "--minutes", "1"]
    with pytest.raises(UserError, match="one seed a call: --seeds 3"):
        study.run([write(tmp_path, seeds=[3, 4]), *out, "--seeds", "3", "4"])
    with pytest.raises(UserError, match="--minutes and --recordings are of timed studies"):
        study.run(["objectives", *out])
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_what_does_not_fit_into_the_minutes_is_left_out_with_a_sentence(
    recordings: Path, tmp_path: Path
) -> None:
    begin = time.monotonic()
    study.run([write(tmp_path), "--out", str(tmp_path / "out"), "--minutes", "0.1",
               "--recordings", str(recordings), "--accelerator", "cpu"])  # fmt: skip
    assert time.monotonic() - begin < 9  # the 6 seconds, and tables on a busy machine
    said = (tmp_path / "out" / "export" / "study.md").read_text()
    assert re.search(r"\* speed of vicreg: left out, it had not ended after \d s\.", said)
    assert "* pretraining vicreg: left out, its speed is not known." in said
    assert not (tmp_path / "out" / "export" / "vicreg.tar").exists()


@pytest.mark.evidence
@pytest.mark.slow
def test_a_toy_study_from_games_to_what_is_kept_and_again(
    tmp_path: Path, capfd: pytest.CaptureFixture
) -> None:
    out = tmp_path / "out"
    # Minutes enough for a busy machine; the run's length is set here, as that of an earlier call.
    Plan(steps={"vicreg": 12}).save(out)
    command = [write(tmp_path), "--out", str(out), "--minutes", "4", "--accelerator", "cpu"]
    study.run(command)
    kept = out / "export"
    assert {path.name for path in kept.iterdir()} == {
        "study.md", "scores.csv", "speeds.csv", "curves.csv", "plan.json", "vicreg.tar"
    }  # fmt: skip
    table = (kept / "study.md").read_text()
    assert "| vicreg | done | 12 | 12 | 96 |" in table
    for name in ("vicreg", "random", "pixels"):
        assert f"| {name} | 0." in table
    assert "Left out" not in table
    with open(kept / "speeds.csv", newline="") as file:
        rates = {row["way"]: float(row["rate"]) for row in csv.DictReader(file)}
    assert set(rates) == {"fit", "bare step"}
    assert min(rates.values()) > 0
    with open(kept / "curves.csv", newline="") as file:
        curve = [row for row in csv.DictReader(file) if row["metric"] == "loss"]
    assert [int(row["samples"]) for row in curve] == [32, 72]  # after steps 4 and 9, from 0
    with tarfile.open(kept / "vicreg.tar") as tar:
        tar.extractall(tmp_path, filter="data")
    whole, packed = load_encoder(out / "seed-0" / "vicreg"), load_encoder(tmp_path / "vicreg")
    for name, value in whole.state_dict().items():
        assert packed.state_dict()[name].equal(
            value.half().float() if value.is_floating_point() else value
        )
    plan = Plan.load(out)
    assert plan.collected >= 1000
    capfd.readouterr()
    study.run(command)
    again = "".join(capfd.readouterr())
    assert "already done: pretrain vicreg for 12 steps" in again
    assert "collect" not in again
    assert "speed" not in again
    assert Plan.load(out) == plan
    assert (kept / "study.md").read_text() == table
