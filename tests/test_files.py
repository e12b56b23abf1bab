"""Files and folders that are either complete or absent."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from fovea.files import replacing_folder

REPLACES = """
import sys
from itertools import count
from pathlib import Path
from fovea.files import replacing_folder

for number in count():
    with replacing_folder(sys.argv[1]) as building:
        for name in "ab":
            (building / name).write_text(str(number))
    if not number:
        print("begun", flush=True)
"""


def read(folder: Path) -> list[str]:
    return [(folder / name).read_text() for name in "ab"]


def test_a_folder_is_there_whole_whenever_its_writer_is_killed(tmp_path: Path) -> None:
    """Of many kills some fall between two writes of a file, and some beside an exchange."""
    folder = tmp_path / "folder"
    for _ in range(8):
        words = [sys.executable, "-c", REPLACES, str(folder)]
        with subprocess.Popen(words, stdout=subprocess.PIPE) as process:
            assert process.stdout
            assert process.stdout.readline() == b"begun\n"
            for _ in range(100):
                assert folder.exists()
            process.send_signal(signal.SIGKILL)
        a, b = read(folder)
        assert a == b
    with replacing_folder(folder) as building:
        (building / "a").write_text("last")
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]
    assert (folder / "a").read_text() == "last"


def test_a_folder_stays_as_it_was_where_its_writer_fails(tmp_path: Path) -> None:
    def write(name: str, fails: bool = False) -> None:
        with replacing_folder(tmp_path / "folder") as building:
            (building / name).write_text(name)
            if fails:
                raise RuntimeError

    write("a")
    with pytest.raises(RuntimeError):
        write("b", fails=True)
    assert [path.name for path in tmp_path.rglob("*")] == ["folder", "a"]
