"""What others do to a folder while a command writes to it, or between two of its calls."""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

import pytest
import torch
from hub_server import Fault, serving
from kinds_of_writing import not_whole, said_in_a_line, words
from machine import Machine, Running, until
from safetensors.torch import save_file

from benchmarks.faults import commands
from fovea.files import in_use
from fovea.probes.feature_cache import trim
from fovea.runs import read_run

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

BEGUN: dict[str, Callable[[Path], object]] = {
    "collect": lambda out: list(out.rglob("shard-*.parquet")),
    "pretrain fit": lambda out: list(out.rglob("*.ckpt.sha256")),
    "agents fit": lambda out: list(out.rglob("*.ckpt.sha256")),
    "continual": lambda out: list(out.rglob("*.ckpt.sha256")),
    "probes run": lambda out: list(out.rglob("probes/*.json")),
    "report": lambda out: list(out.glob(".page.*.tmp/*")),
    "import": lambda out: list(out.rglob("shard-*.parquet")),
}
"""How is seen that a command writes."""


def stopped(kind: str, machine: Machine, given: Path, out: Path) -> Running:
    """A command that has written a part of what it will, and stands still."""
    running = machine.begin(*words(kind, given, out))
    until(lambda: BEGUN[kind](out))
    running.stop()
    return running


ENDS: dict[int, tuple[int, str]] = {
    signal.SIGKILL: (-9, ""),
    signal.SIGTERM: (143, "terminated: run the same command again to go on"),
    signal.SIGINT: (130, "interrupted: run the same command again to go on"),
}
"""With which code a command ends by a signal, and its last line."""
LEFT: dict[str, Callable[[Path], str]] = {
    "pretrain fit": commands.of_encoder,
    "agents fit": commands.of_agent,
    "continual": commands.of_sequence,
    "probes run": commands.of_probes,
    "report": commands.of_page,
    "import": commands.of_recordings,
}
"""A digest of what a command leaves."""
BY = {
    "pretrain fit": [signal.SIGINT],
    "agents fit": [signal.SIGKILL, signal.SIGTERM],
    "continual": [signal.SIGKILL],
    "probes run": [signal.SIGKILL, signal.SIGINT],
    "report": [*ENDS],
    "import": [signal.SIGTERM],
}
"""By which signals a command is ended."""


@pytest.fixture(scope="module")
def whole(machine: Machine, given: Path, tmp_path_factory: pytest.TempPathFactory):
    """What a command leaves that nothing happens to, made once."""

    @cache
    def left(kind: str) -> str:
        out = tmp_path_factory.mktemp("whole") / "out"
        code, said = machine.fovea(*words(kind, given, out))
        assert code == 0, said
        return LEFT[kind](out)

    return left


LONG = ("continual", signal.SIGKILL), ("agents fit", signal.SIGTERM)


@pytest.mark.parametrize(
    ("kind", "number"),
    [
        pytest.param(kind, number, marks=pytest.mark.evidence if (kind, number) in LONG else ())
        for kind, numbers in BY.items()
        for number in numbers
    ],
)
def test_a_command_that_is_ended_goes_on_to_the_same_end(
    kind: str, number: int, machine: Machine, given: Path, tmp_path: Path, whole
) -> None:
    out = tmp_path / "out"
    running = stopped(kind, machine, given, out)
    os.kill(running.number, number)
    running.go_on()
    code, said = running.ended()
    last = said.splitlines()[-1] if number != signal.SIGKILL else ""
    assert (code, last) == ENDS[number]
    assert "Traceback" not in said
    code, said = machine.fovea(*words(kind, given, out))
    assert code == 0, said
    assert LEFT[kind](out) == whole(kind)
    left = not_whole(tmp_path)
    if number == signal.SIGKILL:  # what it was writing stays beside it, under a name of its own
        left = [one for one in left if not one.endswith(".tmp")]
    assert not left


WATCHED = "collect", "pretrain fit", "agents fit", "probes run", "import"


@pytest.mark.parametrize("kind", WATCHED)
def test_a_folder_that_vanishes_is_one_line(
    kind: str, machine: Machine, given: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    running = stopped(kind, machine, given, out)
    shutil.rmtree(out)
    running.go_on()
    code, said = running.ended()
    assert code == 2, said
    assert str(out) in said_in_a_line(said)
    if kind != "collect":  # whose workers, which hold no lock, write what they have begun
        assert not out.exists()


@pytest.mark.parametrize("kind", WATCHED)
def test_of_two_at_once_one_is_refused_and_the_other_ends_whole(
    kind: str, machine: Machine, given: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    running = stopped(kind, machine, given, out)
    assert in_use(out)
    code, said = machine.fovea(*words(kind, given, out))
    assert code == 2
    assert "is in use by process" in said_in_a_line(said)
    running.go_on()
    code, said = running.ended()
    assert code == 0, said
    assert not not_whole(out)


def test_two_runs_of_probes_share_features(machine: Machine, given: Path, tmp_path: Path) -> None:
    shared = tmp_path / "features"
    shared.mkdir()
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "features").symlink_to(shared)
    both = [machine.begin(*words("probes run", given, tmp_path / name)) for name in ("one", "two")]
    for running in both:
        code, said = running.ended()
        assert code == 0, said
        assert "is damaged" not in said
    assert not not_whole(tmp_path)
    assert list(shared.glob("*.safetensors"))
    results = [path.read_bytes() for path in tmp_path.glob("*/probes/collapse.json")]
    assert len(results) == 2
    assert results[0] == results[1]


def test_two_that_trim_a_folder_of_features_end(tmp_path: Path) -> None:
    for round_ in range(5):
        for number in range(60):
            save_file({"a": torch.zeros(4)}, tmp_path / f"{round_}-{number}.safetensors")
        with ThreadPoolExecutor(4) as threads:
            list(threads.map(lambda _: trim(tmp_path, 0), range(4)))
        assert len(list(tmp_path.iterdir())) == 1


def test_two_fetch_from_the_hub_into_one_cache(
    machine: Machine, small_encoder: Path, tmp_path: Path
) -> None:
    with serving() as hub:
        hub.add("me/mine", small_encoder)
        hub.faults["model.safetensors"] = Fault(method="GET", seconds=0.1)
        variables = {"HF_ENDPOINT": hub.endpoint, "HF_HUB_CACHE": tmp_path / "cache"}
        both = [
            machine.begin("hub", "pull", "hf-hub:me/mine", "--out", tmp_path / name, **variables)
            for name in ("one", "two")
        ]
        for running in both:
            code, said = running.ended()
            assert code == 0, said
    assert hub.asked.count("GET model.safetensors") == 1
    for name in ("one", "two"):
        code, said = machine.fovea("hub", "verify", tmp_path / name)
        assert (code, said) == (0, f"{tmp_path / name}: whole\n")
    assert not list((tmp_path / "cache").rglob("*.incomplete"))


def test_a_clock_that_went_backwards_changes_nothing(
    machine: Machine, given: Path, tmp_path: Path
) -> None:
    """All that a run has left so far is of next year, and its newest checkpoint the oldest."""
    whole, out = tmp_path / "whole", tmp_path / "out"
    assert machine.fovea(*words("pretrain fit", given, whole))[0] == 0
    running = stopped("pretrain fit", machine, given, out)
    os.kill(running.number, signal.SIGKILL)
    running.ended()
    future = time.time() + 365 * 24 * 3600
    for number, path in enumerate(sorted(out.rglob("*"), reverse=True)):
        os.utime(path, (future + number, future + number))
    code, said = machine.fovea(*words("pretrain fit", given, out))
    assert code == 0, said
    assert "going on from step-000000002.ckpt" in said
    ours, theirs = (read_run(folder) for folder in (whole, out))
    assert ours.step == theirs.step == 4
    assert theirs.state == "done"
    weights = [(folder / "encoder" / "model.safetensors").read_bytes() for folder in (whole, out)]
    assert weights[0] == weights[1]
    code, said = machine.fovea("analysis", "report", out, "--out", tmp_path / "page")
    assert code == 0, said


@pytest.mark.evidence
def test_ten_thousand_files_beside_those_of_a_run_are_no_matter(
    machine: Machine, given: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    for name in ("mine", "checkpoints", "media", "probes"):
        (out / name).mkdir(parents=True)
        for number in range(2500):
            (out / name / f"note-{number}.txt").touch()
    began = time.monotonic()
    for asked in (
        words("pretrain fit", given, out),
        ["analysis", "report", out, "--out", tmp_path / "p"],
    ):
        code, said = machine.fovea(*asked)
        assert code == 0, said
    assert time.monotonic() - began < 60
    assert len(list(out.rglob("note-*"))) == 10_000
