"""Kill -9, Ctrl-C, SIGTERM, a full disk and a second process, in the middle of commands."""

from __future__ import annotations

import os
import shutil
import signal
import time
from functools import partial
from pathlib import Path

from benchmarks.faults.commands import COMMANDS, ended, ends_within, forked, moment, reference
from benchmarks.faults.trials import Fault

PATIENCE = 5.0  # seconds in which a command stops that is asked to
STOPS = {signal.SIGINT: 130, signal.SIGTERM: 143}
FULL = 1  # exit code where the disk is full


def _begin(out: Path, kind: str, name: str, number: int) -> tuple[Path, Path, str, float]:
    """A folder of a trial's own, its log, what is to be left in the end, and how long it takes."""
    whole, seconds = reference(out, name)
    run = out / kind / name.replace(" ", "_") / str(number)
    shutil.rmtree(run, ignore_errors=True)
    return run, run.with_suffix(".log"), COMMANDS[name].left(whole), seconds


def _go_on(out: Path, name: str, run: Path, log: Path, left: str) -> str:
    """Run the command once more to its end; what differs from the run that nothing happened to."""
    code = ended(forked(COMMANDS[name].typed(out, run), log))
    if code:
        return f"the same command ended with {code}: {_last(log)}"
    if COMMANDS[name].left(run) != left:
        return "the same command ended otherwise than the run that nothing happened to"
    shutil.rmtree(run)
    log.unlink()
    return ""


def _last(log: Path) -> str:
    lines = log.read_text(errors="replace").split("\n")
    return next((line for line in reversed(lines) if line.strip()), "")[-300:]


def kill(name: str, out: Path, number: int) -> str:
    """SIGKILL at some moment; what is under its final name is whole, and the command goes on."""
    run, log, left, seconds = _begin(out, "kill", name, number)
    process = forked(COMMANDS[name].typed(out, run), log)
    if ends_within(process, moment(name, number, seconds)) is None:
        os.kill(process, signal.SIGKILL)
        ended(process)
    if torn := COMMANDS[name].sound(run):
        return torn
    return _go_on(out, name, run, log, left)


def stop(name: str, number_of_signal: signal.Signals, out: Path, number: int) -> str:
    """A signal at some moment: the command ends soon with its code, and goes on."""
    kind = number_of_signal.name
    run, log, left, seconds = _begin(out, kind, name, number)
    process = forked(COMMANDS[name].typed(out, run), log)
    if ends_within(process, moment(name, number, seconds)) is None:
        os.kill(process, number_of_signal)
        began = time.monotonic()
        code = ends_within(process, 60)
        took = time.monotonic() - began
        if code is None:
            os.kill(process, signal.SIGKILL)
            ended(process)
            return "it went on for a minute"
        if took > PATIENCE:
            return f"it took {took:.1f} s to stop"
        if code not in (STOPS[number_of_signal], 0):  # 0: it was at its end
            return f"it ended with {code}: {_last(log)}"
        if "Traceback" in log.read_text(errors="replace"):
            return "it showed a traceback"
    if torn := COMMANDS[name].sound(run):
        return torn
    return _go_on(out, name, run, log, left)


def fill(name: str, out: Path, number: int) -> str:
    """No file can grow beyond some size, as on a full disk: one line, and it goes on later."""
    run, log, left, _ = _begin(out, "full", name, number)
    largest = int(moment(name, number, 400_000))
    code = ended(forked(COMMANDS[name].typed(out, run), log, largest))
    text = log.read_text(errors="replace")
    if code and (code != FULL or "the disk is full" not in text or "Traceback" in text):
        return f"it ended with {code}: {_last(log)}"
    if torn := COMMANDS[name].sound(run):
        return torn
    return _go_on(out, name, run, log, left)


def share(name: str, out: Path, number: int) -> str:
    """Two of the same command at once: one works; the other waits, or is refused in one line."""
    run, log, left, seconds = _begin(out, "share", name, number)
    words = COMMANDS[name].typed(out, run)
    other_log = log.with_suffix(".other.log")
    first = forked(words, log)
    time.sleep(moment(name, number, seconds) / 2)
    codes = {ended(forked(words, other_log)), ended(first)}
    said = log.read_text(errors="replace") + other_log.read_text(errors="replace")
    if not codes <= {0, 2} or "Traceback" in said:
        return f"they ended with {codes}: {_last(log)} / {_last(other_log)}"
    if 2 in codes and "is in use by process" not in said:
        return f"one was refused for another reason: {_last(other_log)}"
    other_log.unlink()
    return _go_on(out, name, run, log, left)


WHOLE = "what has its final name is whole; the same command ends bitwise as one never stopped"
SOON = f"stops within {PATIENCE:g} s with exit code"
TRAINING = ("pretrain", "pretrain accumulating", "pretrain in turns", "dqn", "ppo")

FAULTS = [
    *(Fault(f"kill -9: {name}", 50, WHOLE, partial(kill, name)) for name in COMMANDS),
    *(
        Fault(
            f"{number.name}: {name}", 10, f"{SOON} {code}, goes on", partial(stop, name, number)
        )
        for number, code in STOPS.items()
        for name in COMMANDS
    ),
    *(
        Fault(f"full disk: {name}", 10, "one line, exit code 1, goes on later", partial(fill, name))
        for name in ("collect", "pretrain", "dqn", "ppo", "record", "probes")
    ),
    *(
        Fault(f"two at once: {name}", 5, "one waits or is refused; nothing is torn",
              partial(share, name))
        for name in COMMANDS
    ),
]  # fmt: skip
