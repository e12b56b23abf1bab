"""The doctor names what is wrong with a machine, and how to mend it."""

from __future__ import annotations

import platform
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

from fovea.atari import doctor
from fovea.atari.doctor import Line

ROOT = Path(__file__).parents[2]


def site(folder: Path, files: dict[str, str]) -> Path:
    """A folder of installed packages, as Python looks for them."""
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def distribution(name: str, version: str, *requires: str) -> dict[str, str]:
    lines = [f"Name: {name}", f"Version: {version}", *(f"Requires-Dist: {r}" for r in requires)]
    return {f"{name.replace('-', '_')}-{version}.dist-info/METADATA": "\n".join(lines) + "\n"}


def builds(torch: str, torchvision: str) -> dict[str, str]:
    return {
        "torch/__init__.py": "raise OSError('not to be imported')",
        "torch/version.py": f"from typing import Optional\n__version__ = '{torch}'\n",
        "torchvision/__init__.py": "raise RuntimeError('torchvision::nms does not exist')",
        "torchvision/version.py": f"__version__: str = '{torchvision}'\ngit_version = 'abc'\n",
    }


def examine(folder: Path, *search: Path) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "fovea", "atari", "doctor"],
        cwd=folder,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": ":".join(map(str, search))},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def put(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Install files before all else, for this test."""

    def install(files: dict[str, str]) -> None:
        monkeypatch.syspath_prepend(str(site(tmp_path, files)))
        for name in ("torch", "torchvision", "ale_py"):
            if any(file.startswith((f"{name}/", f"{name}.py")) for file in files):
                monkeypatch.delitem(sys.modules, name, raising=False)

    return install


@pytest.mark.slow
def test_here_everything_that_is_needed_is_found():
    """Every requirement with its version; warnings may stay, about the machine or a browser."""
    done = examine(ROOT)
    assert done.returncode == 0, done.stdout
    assert done.stderr == ""
    lines = done.stdout.splitlines()
    assert lines[-1] == "everything that is needed is here"
    assert f"ok    Python {platform.python_version()}" in lines
    assert f"ok    ale-py {metadata.version('ale-py')}" in lines
    assert f"ok    torch {metadata.version('torch').partition('+')[0]}" in "\n".join(lines)
    assert "ok    all 55 games" in lines
    assert "ok    cv2 imports" in lines
    assert not [line for line in lines if line.startswith("fail")]


def test_each_fault_is_printed_with_its_fix_and_the_exit_code_is_1(tmp_path: Path):
    """All at once, of packages that are broken as they break on people's machines."""
    broken = distribution("fovea-rl", "0", "numpy>=99", "tqdm", "no-such-thing>=1,<2")
    broken |= builds("2.14.1+cpu", "0.29.1+cu130")
    broken |= {"cv2.py": "raise ImportError('libGL.so.1: cannot open shared object file')"}
    broken |= {"ale_py.py": "raise ImportError('no SDL')"}
    done = examine(tmp_path, site(tmp_path, broken), ROOT)
    assert done.returncode == 1
    assert done.stderr == ""
    for line, fix in {
        f"numpy {metadata.version('numpy')} is not >=99": "pip install 'numpy>=99'",
        "no-such-thing is missing": "pip install 'no-such-thing>=1,<2'",
        "torch 2.14.1+cpu beside torchvision 0.29.1+cu130: not of one build, "
        "imports end in 'operator torchvision::nms does not exist'": "install both from one index: "
        "pip install --force-reinstall torch==2.14.1 torchvision==0.29.1, "
        "with the same --index-url for both or for neither",
        "cv2 does not import (libGL.so.1: cannot open shared object file)": "pip uninstall "
        "opencv-python; pip install --force-reinstall opencv-python-headless",
        "ale-py does not import (no SDL)": "pip install --force-reinstall ale-py",
    }.items():
        assert f"fail  {line}\n      fix: {fix}\n" in done.stdout
    assert f"ok    tqdm {metadata.version('tqdm')}\n" in done.stdout
    assert done.stdout.endswith("\n\n5 failed\n")


@pytest.mark.parametrize(
    ("torch", "torchvision", "level", "says"),
    [
        ("2.14.1+cu130", "0.29.1+cu130", "ok", "one build"),
        ("2.14.1", "0.29.1", "ok", "one build"),
        ("2.11.0+cpu", "0.26.0+cpu", "ok", "one build"),
        ("2.14.1+cpu", "0.29.1", "fail", "not of one build"),
        ("2.14.1+cu130", "0.29.1+cu128", "fail", "not of one build"),
        ("2.14.1", "0.28.0", "fail", "not of one release"),
    ],
)
def test_torch_and_torchvision_have_to_be_of_one_build(put, torch, torchvision, level, says):
    put(builds(torch, torchvision))
    (line,) = doctor.torchvision()
    assert (line.level, line.found.rpartition(": ")[2].split(",")[0]) == (level, says)
    assert f"torch {torch} beside torchvision {torchvision}" in line.found
    if says == "not of one release":
        assert line.fix == "pip install torch==2.14.1 torchvision==0.29.*"


@pytest.mark.parametrize(
    ("version", "bounds", "fits"),
    [
        ("4.39", ">=4.39,<5", True),
        ("4.39.0", ">=4.39,<5", True),
        ("4.9", ">=4.39,<5", False),  # as numbers, not as text
        ("5.0.0", ">=4.39,<5", False),
        ("2.14.1+cu130", ">=2.11", True),
        ("2.11.0rc1", ">=2.11", True),
        ("1.0", "", True),
    ],
)
def test_versions_are_compared_with_the_bounds_of_the_package(put, version, bounds, fits):
    put(distribution("fovea-rl", "0", f"thing{bounds}", 'other; extra == "dev"'))
    put(distribution("thing", version))
    found = f"thing {version}"
    assert list(doctor.packages()) == [
        Line("ok", found)
        if fits
        else Line("fail", f"{found} is not {bounds}", f"pip install 'thing{bounds}'")
    ]


def test_a_tree_that_was_not_installed_is_said(tmp_path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    assert list(doctor.packages()) == [
        Line("fail", "fovea-rl is not installed", "pip install -e .")
    ]


def test_an_old_python_is_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(platform, "python_version", lambda: "3.9.18")
    fix = "make the environment with Python 3.11 or newer"
    assert list(doctor.python()) == [Line("fail", "Python 3.9.18", fix)]


def test_games_without_a_rom_are_named(put):
    put({"ale_py.py": "class roms:\n    get_all_rom_ids = lambda: ['pong']\n"})
    (line,) = doctor.games()
    assert line.level == "fail"
    assert line.found.startswith("ale-py has no ROM of alien, amidar, ")
    assert "pong" not in line.found.replace(",", "").split()


def test_without_a_browser_the_tests_of_the_page_are_said_to_be_skipped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("PATH", str(tmp_path))
    (line,) = doctor.browser()
    assert (line.level, line.fix) == ("warn", "apt-get install chromium chromium-driver")
    for name in ("chromium", "chromedriver"):
        (tmp_path / name).touch(mode=0o755)
    (line,) = doctor.browser()
    assert line.level == "ok"
