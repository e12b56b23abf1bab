"""Every mistake that a user is told of: it has a fix, and the site lists it."""

from __future__ import annotations

import errno
import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

from fovea.command import REFUSED, Terminated, main

ROOT = Path(__file__).parents[1]
sys.path.append(str(ROOT / "docs"))

errors = importlib.import_module("errors")


@pytest.mark.slow
def test_every_mistake_has_its_fix_and_stands_in_the_table_of_the_site() -> None:
    found = errors.mistakes()
    assert len(found) > 200
    assert not [one for one in found if not one.fix]
    assert not [one for one in found if "\n" in one.what + one.fix]
    braces = {word for one in found for word in re.findall(r"\{([^{}]*)\}", one.what + one.fix)}
    assert not [word for word in braces if not re.fullmatch(r"|\.\.\.|(number of )?\w+", word)]
    assert not braces & errors.TRANSFORMS  # names of values, not of what code does to them
    page = errors.page()
    assert page.count("\n| ") >= len(found)
    assert {one.file.split("/")[0] for one in found} == set(errors.ROOMS)


@pytest.mark.parametrize("number", sorted(REFUSED))
def test_what_the_system_refuses_of_a_path_is_one_line(
    number: int, capsys: pytest.CaptureFixture
) -> None:
    def refused() -> None:
        raise OSError(number, "text of the system", "runs/mine")

    with pytest.raises(SystemExit) as ended:
        main(refused)
    assert ended.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: runs/mine: ")


def test_an_error_of_the_system_without_a_path_is_no_mistake_of_the_users() -> None:
    def refused() -> None:
        raise OSError(errno.EACCES, "text of the system")

    with pytest.raises(OSError, match="text of the system"):
        main(refused)


@pytest.mark.parametrize(("number", "code"), [(15, 143), (1, 129)])
def test_a_command_that_is_ended_by_others_says_so(
    number: int, code: int, capsys: pytest.CaptureFixture
) -> None:
    def ended() -> None:
        raise Terminated(number)

    with pytest.raises(SystemExit) as stopped:
        main(ended)
    assert stopped.value.code == code
    assert capsys.readouterr().err.startswith("terminated: run the same command again")


@pytest.mark.slow
def test_a_locale_that_is_not_utf_8_changes_nothing(tmp_path: Path) -> None:
    """Names are read, printed and written in UTF-8, whatever LC_ALL says."""
    folder = tmp_path / "Müller"
    asked = [sys.executable, "-m", "fovea", "analysis", "report", str(folder), "--out", "x"]
    env = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"}
    done = subprocess.run(asked, env=env, capture_output=True, cwd=tmp_path, check=False)
    assert done.returncode == 2
    assert done.stderr.decode("utf-8").startswith(f"error: {folder} is no folder: ")


def test_every_fault_that_was_found_names_a_test_that_is_there() -> None:
    page = (ROOT / "docs" / "reliability.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\d+) \|.*\| ([^|]+) \|$", page, re.MULTILINE)
    assert [int(number) for number, _ in rows] == list(range(1, 26))
    there = "".join(path.read_text(encoding="utf-8") for path in ROOT.glob("tests/**/test_*.py"))
    for number, cell in rows:
        names = re.findall(r"`(test_\w+)`", cell)
        assert names, number
        assert not [name for name in names if f"def {name}(" not in there], number
