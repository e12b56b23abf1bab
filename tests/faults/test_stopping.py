"""Signals: a step is ended and saved, and the same command ends as if nothing had been."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from fovea.command import Terminated, terminable, undisturbed
from fovea.metrics import read_metrics
from fovea.pretrain.training.checkpoint import newest
from fovea.runs import read_run


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "times", "step", "raised"),
    [
        (signal.SIGTERM, 1, 3, Terminated),
        (signal.SIGINT, 1, 3, KeyboardInterrupt),
        pytest.param(signal.SIGHUP, 1, 3, Terminated, marks=pytest.mark.evidence),
        pytest.param(signal.SIGINT, 2, None, KeyboardInterrupt, marks=pytest.mark.evidence),
    ],
)
@pytest.mark.parametrize("interval", [3, 1.0])  # whether that step ends with a validation
def test_a_signal_ends_the_step_and_the_run_goes_on_from_it(
    number: int,
    times: int,
    step: int | None,
    raised: type,
    interval: float,
    vicreg,
    short: Path,
    tmp_path: Path,
) -> None:
    before = {one: signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    run = tmp_path / "run"
    me = f"{{class_path: signalled.Signalled, init_args: {{number: {number:d}, times: {times}}}}}"
    often = ("--trainer.log_every_n_steps", 1, "--trainer.val_check_interval", interval)
    with pytest.raises(raised):
        vicreg(short, run, *often, "--trainer.callbacks", f"[{me}]")
    assert {one: signal.getsignal(one) for one in before} == before
    assert read_run(run).reason == raised.__name__
    kept = newest(run / "checkpoints")
    assert (kept and kept.name) == (step and f"step-{step:09d}.ckpt")
    for name in ("run", "whole"):
        assert vicreg(short, tmp_path / name, *often).state == "done"
    same(tmp_path / "run", tmp_path / "whole")


def same(one: Path, other: Path) -> None:
    """Two runs have the same weights and logged the same numbers, but for how fast they were."""
    ours, theirs = (read_metrics(run / "metrics.csv") for run in (one, other))
    assert ours.keys() == theirs.keys()
    for name, curve in theirs.items():
        if not name.endswith("per_second"):
            assert ours[name].steps.tolist() == curve.steps.tolist(), name
            assert ours[name].values.tolist() == curve.values.tolist(), name
    ours, theirs = (run / "encoder" / "model.safetensors" for run in (one, other))
    assert ours.read_bytes() == theirs.read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize("moment", ["on_validation_start", "on_validation_end"])
@pytest.mark.parametrize(("step", "interval"), [(2, 2), (4, 1.0)])
def test_a_run_that_is_lost_beside_its_validation_keeps_the_held_out_numbers(
    moment: str, step: int, interval: float, vicreg, short: Path, tmp_path: Path
) -> None:
    """Of the middle and of the end of a run, whose checkpoints are of the same steps."""
    often = ("--trainer.val_check_interval", interval, "--checkpoint_every", "2")
    me = f"{{class_path: signalled.Lost, init_args: {{moment: {moment}, step: {step}}}}}"
    with pytest.raises(RuntimeError, match="lost"):
        vicreg(short, tmp_path / "run", *often, "--trainer.callbacks", f"[{me}]")
    for name in ("run", "whole"):
        assert vicreg(short, tmp_path / name, *often).state == "done"
    same(tmp_path / "run", tmp_path / "whole")
    curves = read_metrics(tmp_path / "whole" / "metrics.csv")
    assert len(curves["held_out/loss"].steps) == 4 / step


HANDLED = signal.SIGINT, signal.SIGTERM, signal.SIGHUP


@pytest.fixture
def as_by_default() -> Iterator[None]:
    """SIGINT interrupts, which a shell makes ignored in what it starts in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_waits_until_processes_are_started(number: int, as_by_default: None) -> None:
    before = [signal.getsignal(one) for one in HANDLED]
    started = []

    def start() -> None:
        with terminable(), undisturbed():
            os.kill(os.getpid(), number)
            started.append(subprocess.Popen([sys.executable, "-c", "import time; time.sleep(1)"]))
            started[0].send_signal(number)  # as Ctrl-C does, to the whole group

    with pytest.raises(KeyboardInterrupt if number == signal.SIGINT else Terminated):
        start()
    assert started[0].wait() == 0
    assert [signal.getsignal(one) for one in HANDLED] == before


@pytest.mark.parametrize(
    ("number", "raised"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, Terminated)]
)
def test_a_signal_that_falls_into_a_destructor_is_sent_again(
    number: signal.Signals, raised: type[BaseException], as_by_default: None
) -> None:
    """Python drops what is raised there, with a line on stderr."""

    class Interrupted:
        def __del__(self) -> None:
            signal.raise_signal(number)

    went_on = []

    def work() -> None:
        with terminable():
            Interrupted()
            went_on.append(True)
            time.sleep(30)

    with pytest.raises(raised):
        work()
    assert went_on
