"""Lists on a narrow terminal, on a dumb one, and in a pipe."""

from __future__ import annotations

import fcntl
import io
import os
import pty
import struct
import subprocess
import sys
import termios
from contextlib import redirect_stdout
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import report_samples
from fovea import by_episode
from fovea.files import write_text
from fovea.pretrain.hub import SHIPPED
from fovea.probes import state
from fovea.results import Measured
from fovea.tables import Table, aligned, print_lines

ROOT = Path(__file__).parents[2]
NARROW = 40


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an encoder, one that is damaged, and results of probes."""
    folder = tmp_path_factory.mktemp("w")
    (folder / "mine").symlink_to(SHIPPED / "vit_micro")
    write_text(folder / "damaged" / "SHA256SUMS", "")
    draws = np.random.default_rng(0)
    truth, episode = draws.normal(size=(80, 3)), np.repeat(np.arange(10), 8)
    encoders = {}
    for name in ("mine", "random"):
        rows = [["pong", f"{name}_{k}", "small", "cls", 0.5] for k in range(3)]
        columns = ["game", "variable", "category", "read_out", "r2"]
        sums = by_episode.errors(episode, truth, truth + draws.normal(size=truth.shape))
        encoders[name] = Measured(
            [Table("variables_by_read_out", "Each", columns, rows)],
            {"variables_by_read_out/errors": by_episode.stacked([sums])},
        )
    report_samples.write_probe(folder / "probes", "state", state, encoders)
    return folder


LISTS = {
    "the games": ["atari", "ls"],
    "recordings": ["atari", "ls", "RECORDINGS"],
    "statistics": ["atari", "stats", "RECORDINGS"],
    "encoders": ["hub", "ls", "."],
    "probes": ["probes", "compare", "probes"],
}


def asked(name: str, recordings: Path) -> list[str]:
    return [str(recordings) if word == "RECORDINGS" else word for word in LISTS[name]]


def environment(**more: str) -> dict[str, str]:
    without = {"COLUMNS", "NO_COLOR", "TERM"}
    kept = {name: value for name, value in os.environ.items() if name not in without}
    return kept | {"PYTHONPATH": str(ROOT)} | more


def piped(words: list[str], work: Path, **more: str) -> str:
    """What a command prints into a pipe."""
    command = [sys.executable, "-m", "fovea", *words]
    done = subprocess.run(
        command, cwd=work, env=environment(**more), capture_output=True, check=True
    )
    assert b"\r" not in done.stdout + done.stderr
    assert b"\x1b" not in done.stdout + done.stderr
    return done.stdout.decode()


def in_terminal(words: list[str], work: Path, columns: int, **more: str) -> str:
    """What a command prints on a terminal of so many columns."""
    ours, its = pty.openpty()
    fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    command = [sys.executable, "-m", "fovea", *words]
    with subprocess.Popen(command, cwd=work, env=environment(**more), stdout=its, stderr=its):
        os.close(its)
        said = b""
        while True:
            try:
                part = os.read(ours, 2**16)
            except OSError:  # of a terminal that nobody writes to any more
                break
            if not part:
                break
            said += part
    os.close(ours)
    return said.decode().replace("\r\n", "\n")


def check_fits(text: str) -> None:
    """Each line has at most 40 letters, or is one word and what stands before it."""
    for line in text.splitlines():
        assert len(line) <= NARROW or len(line.split()) == 1, line


@pytest.mark.slow
@pytest.mark.parametrize("name", LISTS)
def test_a_list_fits_a_narrow_terminal_and_is_whole_in_a_pipe(
    name: str, recordings: Path, work: Path
) -> None:
    words = asked(name, recordings)
    wide, narrow = piped(words, work), piped(words, work, COLUMNS=str(NARROW))
    assert max(map(len, wide.splitlines())) > NARROW
    check_fits(narrow)
    assert wide.split() == narrow.split()


@pytest.mark.slow
def test_a_dumb_terminal_is_asked_for_its_width_and_nothing_else(
    recordings: Path, work: Path
) -> None:
    for name in ("the games", "encoders"):
        words = asked(name, recordings)
        said = in_terminal(words, work, NARROW, TERM="dumb", NO_COLOR="1")
        assert "\r" not in said
        assert "\x1b" not in said
        check_fits(said)
        assert said == piped(words, work, COLUMNS=str(NARROW))
        assert in_terminal(words, work, 500, TERM="dumb", NO_COLOR="1") == piped(words, work)


CELLS = st.text("ab é-", max_size=30)


@pytest.mark.slow
@given(st.integers(1, 5).flatmap(lambda n: st.lists(st.tuples(*[CELLS] * n), min_size=1)))
def test_no_word_of_a_table_is_lost(rows: list[tuple[str, ...]]) -> None:
    lines = aligned(rows)
    printed = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(printed):
        patch.setenv("COLUMNS", str(NARROW))
        print_lines(lines)
    check_fits(printed.getvalue())
    assert printed.getvalue().split() == "\n".join(lines).split()
