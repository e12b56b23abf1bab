"""Progress in a log: lines, few of them, and the last one."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import termios
from pathlib import Path

import pytest

from fovea import progress


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time, as the only number of a list."""
    now = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    return now


def test_a_log_has_lines_and_grows_slower_the_longer_it_runs(clock: list[float]) -> None:
    file = io.StringIO()
    log = progress.Log(file)
    counts = {}
    for second in range(0, 86_401):
        clock[0] = float(second)
        log.write(f"\r{second} steps")
        counts[second] = file.getvalue().count("\n")
    log.write("\r86400 steps, all\x1b[A")
    log.write("\n")
    lines = file.getvalue().splitlines()
    assert lines[0] == "0 steps"
    assert lines[-1] == "86400 steps, all"
    assert not any("\r" in line or "\x1b" in line for line in lines)
    assert counts[3600] < 200
    assert counts[86_400] - counts[3600] < 200


def test_a_bar_writes_lines_where_nobody_looks(capsys: pytest.CaptureFixture) -> None:
    with progress.bar("collect", "steps", 10) as shown:
        for _ in range(10):
            shown.update()
    said = capsys.readouterr().err
    assert "\r" not in said
    assert "10/10" in said.splitlines()[-1]
    assert len(said.splitlines()) <= 2


BARS = """
import sys, tqdm
from fovea.command import main
from fovea.progress import bar, bars_of_others
def run():
    with bar("\\x1b[A\\rours", "steps", 2) as outer, bar("inner", "steps", 2, inner=True) as inner:
        inner.update()
        tqdm.tqdm.write("\\x1b[A\\rname", file=sys.stderr)
        outer.update()
    with bars_of_others():
        list(tqdm.tqdm([1], desc="theirs"))
        print("\\x1b[2Jsaid", file=sys.stderr)
main(run)
"""


@pytest.mark.slow
def test_bars_move_in_a_terminal_and_names_do_not() -> None:
    ours, theirs = os.openpty()
    termios.tcsetwinsize(theirs, (24, 80))
    asked = [sys.executable, "-c", BARS]
    with subprocess.Popen(asked, stderr=theirs, cwd=Path(__file__).parents[1]) as running:
        os.close(theirs)
        said = b""
        try:
            while piece := os.read(ours, 2**16):
                said += piece
        except OSError:  # the other end is closed
            os.close(ours)
    assert running.returncode == 0, said
    assert b"\\x1b[A\\x0dours:   0%" in said
    assert b"\x1b[A" in said  # from the inner bar to the outer one
    assert b" \r\x1b[A\\x1b[A\\x0dname\r\n" in said  # once the lines of both were cleared
    assert b"\rtheirs: 100%" in said
    assert b"\\x1b[2Jsaid" in said
    assert b"\x1b" not in said.replace(b"\x1b[A", b"")
