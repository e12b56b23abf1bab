"""Every cell of a study ends exactly once, whoever runs it and whatever is killed."""

from __future__ import annotations

import os
import random
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from fovea.analysis import study, study_results
from fovea.analysis.study_cells import BUSY, ENDED, Processes, lock_of, run_cells
from fovea.files import exclusive
from fovea.runs import RunWriter, read_run

ROOT = Path(__file__).parents[2]
ENCODER = "model.init_args.encoder.init_args.encoder"
SMALL = {
    "kind": "agents", "title": "Small", "games": ["breakout"], "steps": 32, "episodes": 1,
    "seeds": [0], "differences": [],
    "runs": {name: {"config": str(ROOT / "agents/configs/ppo_frozen.yaml"), "settings": {
        ENCODER: "random:nature_cnn", "model.init_args.hidden": 8,
        "model.init_args.num_steps": 16, "data.num_envs": 2}} for name in ("one", "other")},
}  # fmt: skip


def written(folder: Path, content: dict) -> str:
    (folder / "small.yaml").write_text(yaml.safe_dump(content))
    return str(folder / "small.yaml")


def begun(*arguments: object, log: Path) -> subprocess.Popen:
    command = [sys.executable, "-m", "fovea", "analysis", "study", *map(str, arguments)]
    with open(log, "ab") as file:
        return subprocess.Popen(command, cwd=ROOT, stdout=file, stderr=file)


def of_folder(folder: Path) -> dict[int, list[str]]:
    """The processes whose command names a folder: their words by id."""
    found = {}
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().decode().split("\0")
        except (FileNotFoundError, ProcessLookupError):
            continue
        if any(str(folder) in word for word in words):
            found[int(path.parent.name)] = words
    return found


def until(true: Callable[[], object], seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it took too long"
        time.sleep(0.05)


def test_show_says_how_each_run_stands_and_starts_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    out = tmp_path / "out"
    asked = study.read(Path(written(tmp_path, SMALL | {"seeds": [0, 1]})))
    states = {"seed-0/breakout/one": ("running", 10, ""),
              "seed-0/breakout/other": ("failed", 4, "RuntimeError: no memory"),
              "seed-1/breakout/one": ("failed", 20, "KeyboardInterrupt")}  # fmt: skip
    for place, (state, step, reason) in states.items():
        run = RunWriter(out / place, "agent", "PPO")
        run.update(state=state, step=step, steps=30, seconds=60.0, reason=reason)
    assert list(asked.jobs(out, list(asked.runs), 1, "auto"))[1] == out / "seed-1/breakout/other"
    with exclusive(lock_of(out / "seed-0/breakout/one")):
        study.run([str(tmp_path / "small.yaml"), "--out", str(out), "--show"])
    assert capsys.readouterr().out.splitlines() == [
        "run                    state       steps     time     left",
        "seed-0/breakout/one    running  10 of 30  0:01:00  0:02:00",
        "seed-0/breakout/other  failed    4 of 30  0:01:00           RuntimeError: no memory",
        "seed-1/breakout/one    waiting  20 of 30  0:01:00  0:00:30  "
        "was stopped; goes on from its newest checkpoint",
        "seed-1/breakout/other  waiting",
        # one is left for 120 s, the next for 30, and the last for the 450 that its like would take
        "Small: 0 done, 1 running, 1 failed, 2 waiting; 0:10:00 are left with 1 at once",
    ]
    assert not (out / "seed-1/breakout/other").exists()


def test_a_run_that_is_done_is_shown_as_done_whatever_accelerator_was_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    content = SMALL | {"kind": "encoders", "steps": 9, "samples": 8, "batch": 8, "stacks": 9,
                       "seeds": [0], "runs": {"one": {"config": "vicreg"}}}  # fmt: skip
    del content["episodes"]
    path, out = written(tmp_path, content), tmp_path / "out"
    ((folder, (command,)),) = study.read(Path(path)).jobs(out, ["one"], 0, "cpu").items()
    monkeypatch.setattr("sys.argv", ["fovea", *map(str, command)])
    run = RunWriter(folder, "pretrain", "VICReg")
    run.begin()
    run.update(state="done", step=1, seconds=3.0)
    study.run([path, "--out", str(out), "--show"])
    assert "Small: 1 done, 0 running, 0 failed, 0 waiting\n" in capsys.readouterr().out
    # What it learned from is another now.
    (out / "recordings" / "breakout").mkdir(parents=True)
    (out / "recordings" / "breakout" / "_dataset.json").touch()
    study.run([path, "--out", str(out), "--show"])
    said = capsys.readouterr().out
    assert " waiting " in said
    assert "has ended; what is left to do is found out when it runs\n" in said


@pytest.mark.slow
def test_a_cell_that_another_process_runs_is_waited_for(tmp_path: Path) -> None:
    folder, outcomes = tmp_path / "one", []

    class Watched(Processes):
        def submit(self, *cell):
            future = super().submit(*cell)
            future.add_done_callback(lambda done: outcomes.append(done.result()))
            return future

    with exclusive(lock_of(folder)) as lock:
        # A process that was given the lock holds it on, as a command whose study was killed.
        orphan = subprocess.Popen(["sleep", "0.7"], pass_fds=[lock])
    with Watched(1) as workers:
        run_cells({folder: []}, workers, "seed 0", logs=False)
    assert orphan.wait(0.1) == 0
    assert outcomes[0] == BUSY
    assert outcomes[-1] == ENDED


@pytest.mark.slow
@pytest.mark.parametrize(
    "asked", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.evidence)]
)
def test_a_study_that_is_stopped_leaves_no_process(tmp_path: Path, asked: signal.Signals) -> None:
    content = SMALL | {"kind": "encoders", "steps": 10**6, "samples": 8, "batch": 8, "stacks": 9,
                       "runs": {"one": {"config": "vicreg"}}}  # fmt: skip
    del content["episodes"]
    out = tmp_path / "out"
    running = begun(written(tmp_path, content), "--out", out, log=tmp_path / "log")
    until(lambda: any("collect" in words for words in of_folder(out).values()))
    until(lambda: (out / "recordings" / ".lock").exists())
    running.send_signal(asked)
    assert running.wait() == {signal.SIGTERM: 143, signal.SIGINT: 130}[asked]
    assert of_folder(out) == {}
    said = (tmp_path / "log").read_text()
    assert said.splitlines()[-1].endswith(": run the same command again to go on")
    assert "Traceback" not in said


KILLED = "agents", "analysis", "agents", "analysis"


@pytest.mark.evidence
@pytest.mark.timeout(1200)
def test_two_studies_share_the_cells_and_each_ends_once_whatever_is_killed(tmp_path: Path) -> None:
    """Two processes on one folder; studies and their commands are killed now and then."""
    path, out, log = written(tmp_path, SMALL), tmp_path / "out", tmp_path / "log"
    command = path, "--out", out, "--jobs", "2", "--accelerator", "cpu"
    draws = random.Random(0)
    studies = [begun(*command, log=log) for _ in range(2)]
    for room in KILLED:
        until(lambda room=room: room in [words[3] for words in of_folder(out).values()])
        time.sleep(draws.uniform(1, 4))
        there = [pid for pid, words in of_folder(out).items() if words[3] == room]
        os.kill(draws.choice(there), signal.SIGKILL)
        studies = [one if one.poll() is None else begun(*command, log=log) for one in studies]
    for one in studies:  # the last kill may have been of one of them
        one.wait()
    assert begun(*command, log=log).wait() == 0, log.read_text()
    assert of_folder(out) == {}
    each_ended_once(out)


def each_ended_once(out: Path) -> None:
    kept = study_results.read(out)
    assert len(kept) == 2
    for key in kept:
        run = read_run(out / key.place)
        assert (run.state, run.step, run.evaluation.trained) == ("done", 32, 32)
        said = (out / key.place).with_suffix(".log").read_text()
        assert said.count("next: fovea agents evaluate") == 1, said
        assert said.count("a human tester") == 1, said
        assert "is in use by process" not in said  # no two at once
        assert shlex.split(run.command)[:3] == ["fovea", "agents", "fit"]
