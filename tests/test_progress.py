"""Progress in a log: lines, few of them, and the last one."""

from __future__ import annotations

import io

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
