"""What `pip install` of the wheel gives: everything that a walk needs, in a place of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from collections import Counter
from pathlib import Path
from shutil import copytree, ignore_patterns

import pytest

from fovea import __version__

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent
LEFT_BEHIND = ignore_patterns(".*", "__pycache__", "*.egg-info", "build", "dist", "runs")
WALK = (
    "atari collect breakout --out recordings --steps 1000 --shard-steps 500 --workers 1",
    "pretrain configs",
    "pretrain fit -c vicreg --run runs/vicreg --data.recordings [recordings]"
    " --data.batch_size 8 --trainer.max_steps 2",
    "hub ls runs",
    "probes run --encoder vicreg=runs/vicreg --recordings recordings --run runs/probes"
    " --samples 120 --probe state --probe attention --probe collapse --probe action",
    "hub verify pretrained:vit_micro",
    "agents fit -c dqn_frozen --run runs/dqn --data.total_steps 400"
    " --model.init_args.features.norm_samples 64 --model.init_args.learning_starts 200",
    "agents evaluate --run runs/dqn --episodes 1 --max-frames 400",
)


def run(*command: str | Path, cwd: Path) -> str:
    """What a command prints that finds nothing of this checkout."""
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(
        list(map(str, command)),
        cwd=cwd,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}"
    return done.stdout


def make_wheel(source: Path, into: Path) -> Path:
    run(sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--no-index",
        "--wheel-dir", into, source, cwd=into.parent)  # fmt: skip
    (wheel,) = into.glob("*.whl")
    return wheel


def held(wheel: Path) -> list[str]:
    with zipfile.ZipFile(wheel) as file:
        return sorted(file.namelist())


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of this checkout with its links, so that building leaves nothing in the real one."""
    return copytree(
        ROOT, tmp_path_factory.mktemp("copy") / "fovea", symlinks=True, ignore=LEFT_BEHIND
    )


@pytest.fixture(scope="module")
def wheel(checkout: Path) -> Path:
    return make_wheel(checkout, checkout.parent / "wheel")


@pytest.fixture(scope="module")
def python(wheel: Path) -> Path:
    """A virtual environment that holds the wheel, and finds its dependencies in that of the tests.

    A path in a .pth file is put behind what the environment holds itself, and the .pth files that
    lie there, such as the one of an editable install of this checkout, are not read.
    """
    venv = wheel.parent.parent / "venv"
    run(sys.executable, "-m", "venv", "--without-pip", venv, cwd=venv.parent)
    python = venv / "bin" / "python"
    run(sys.executable, "-m", "pip", "--python", python, "install", "--no-deps", "--no-index",
        wheel, cwd=venv.parent)  # fmt: skip
    (site,) = venv.glob("lib/python*/site-packages")
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return python


def test_the_wheel_holds_each_room_once_with_its_data_and_no_tests(wheel: Path) -> None:
    names = held(wheel)
    assert [name for name, count in Counter(names).items() if count > 1] == []
    assert {name.split("/")[0].partition("-")[0] for name in names} == {"fovea", "fovea_rl"}
    assert not [name for name in names if "tests" in name.split("/")]
    for room in ("atari", "pretrain", "agents", "probes", "analysis"):
        wanted = {
            f"fovea/{path.relative_to(ROOT)}"
            for path in (ROOT / room).rglob("*")
            if path.is_file() and "__pycache__" not in path.parts
        }
        assert wanted == {name for name in names if name.startswith(f"fovea/{room}/")}
    assert "fovea/py.typed" in names


@pytest.mark.evidence
def test_a_source_distribution_makes_the_same_wheel(
    checkout: Path, wheel: Path, tmp_path: Path
) -> None:
    """It holds files where the checkout has links."""
    build = "import sys; from setuptools import build_meta; build_meta.build_sdist(sys.argv[1])"
    run(sys.executable, "-c", build, tmp_path, cwd=checkout)
    (archive,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(archive) as file:
        file.extractall(tmp_path, filter="data")
    source = tmp_path / archive.name.removesuffix(".tar.gz")
    assert not (source / "fovea" / "pretrain").is_symlink()
    assert held(make_wheel(source, tmp_path / "wheel")) == held(wheel)


@pytest.mark.timeout(600)
def test_from_an_empty_folder_the_whole_way_can_be_walked(python: Path, tmp_path: Path) -> None:
    where = run(python, "-c", "import fovea; print(fovea.__file__)", cwd=tmp_path)
    assert Path(where.strip()).is_relative_to(python.parents[1])
    fovea = python.with_name("fovea")
    assert run(fovea, "--help", cwd=tmp_path).startswith("usage: fovea COMMAND")
    assert run(fovea, "--version", cwd=tmp_path) == f"fovea {__version__}\n"
    # In one process, since each would import torch anew.
    walk = (
        "import sys; from fovea.__main__ import run; [run(line.split()) for line in sys.argv[1:]]"
    )
    run(python, "-c", walk, *WALK, cwd=tmp_path)
    run(fovea, "analysis", "report", "runs", "--out", "report", cwd=tmp_path)
    assert (tmp_path / "report" / "index.html").exists()
    assert "vicreg" in run(fovea, "pretrain", "configs", cwd=tmp_path)
