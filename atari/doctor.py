"""Check that this machine has what the project needs, and name the fix for what is missing.

Versions are read as text, because the mismatches that it looks for make imports fail.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import platform
import re
import shutil
from collections.abc import Iterator
from importlib import metadata
from operator import ge, lt
from pathlib import Path
from typing import NamedTuple

from fovea.atari.games import GAMES
from fovea.memory import free_disk, total_memory

DISTRIBUTION = "fovea-rl"
GIB = 2**30
OPERATORS = {">=": ge, "<": lt}


class Line(NamedTuple):
    """One finding: "ok", "warn" or "fail", what was found, and how to fix it."""

    level: str
    found: str
    fix: str = ""


def report() -> int:
    """Print every finding; 1 if one fails, else 0."""
    failed = 0
    for check in CHECKS:
        for line in check():
            failed += line.level == "fail"
            print(
                f"{line.level:<5} {line.found}" + (f"\n      fix: {line.fix}" if line.fix else "")
            )
    print(f"\n{failed} failed" if failed else "\neverything that is needed is here")
    return min(failed, 1)


def python() -> Iterator[Line]:
    found = f"Python {platform.python_version()}"
    if _within(platform.python_version(), ">=3.11"):
        yield Line("ok", found)
    else:
        yield Line("fail", found, "make the environment with Python 3.11 or newer")


def packages() -> Iterator[Line]:
    """What setup.cfg asks for, as the installed metadata repeats it."""
    try:
        requirements = metadata.requires(DISTRIBUTION) or []
    except metadata.PackageNotFoundError:
        yield Line("fail", f"{DISTRIBUTION} is not installed", "pip install -e .")
        return
    for requirement in requirements:
        if "extra ==" in requirement:
            continue
        name = re.split(r"[^\w.-]", requirement)[0]
        bounds = re.sub(r"^[\w.-]+(\[[^]]*\])?\s*", "", requirement)
        try:
            version = metadata.version(name)
        except metadata.PackageNotFoundError:
            yield Line("fail", f"{name} is missing", f"pip install '{requirement}'")
            continue
        if _within(version, bounds):
            yield Line("ok", f"{name} {version}")
        else:
            yield Line("fail", f"{name} {version} is not {bounds}", f"pip install '{requirement}'")


def _within(version: str, bounds: str) -> bool:
    return all(
        OPERATORS[operator](_release(version), _release(bound))
        for operator, bound in re.findall(r"(>=|<)\s*([\d.]+)", bounds)
    )


def _release(version: str) -> tuple[int, ...]:
    plain = re.split(r"[^\d.]", version)[0].strip(".")
    numbers = [int(number) for number in plain.split(".")]
    return (*numbers, *[0] * (4 - len(numbers)))


def torchvision() -> Iterator[Line]:
    """torch and torchvision have to be of one release and one build, or importing timm fails."""
    first, second = _build("torch"), _build("torchvision")
    if first is None or second is None:
        return  # `packages` has said that one is missing
    found = f"torch {first} beside torchvision {second}"
    torch, _, torch_build = first.partition("+")
    vision, _, vision_build = second.partition("+")
    # torchvision 0.(n + 15) is made for torch 2.n.
    if _release(torch)[1] + 15 != _release(vision)[1]:
        yield Line(
            "fail",
            f"{found}: not of one release",
            f"pip install torch=={torch} torchvision==0.{_release(torch)[1] + 15}.*",
        )
    elif torch_build != vision_build:
        yield Line(
            "fail",
            f"{found}: not of one build, imports end in 'operator torchvision::nms does not exist'",
            f"install both from one index: pip install --force-reinstall torch=={torch} "
            f"torchvision=={vision}, with the same --index-url for both or for neither",
        )
    else:
        yield Line("ok", f"{found}: one build")


def _build(package: str) -> str | None:
    """The version with its build tag, e.g. "2.14.1+cu130", read from version.py as text."""
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        return None
    text = Path(spec.origin).with_name("version.py").read_text(encoding="utf-8")
    return re.findall(r"__version__\s*(?::\s*\w+)?\s*=\s*['\"]([^'\"]+)", text)[0]


def games() -> Iterator[Line]:
    try:
        roms = importlib.import_module("ale_py").roms
    except ImportError as fault:
        yield Line(
            "fail", f"ale-py does not import ({fault})", "pip install --force-reinstall ale-py"
        )
        return
    missing = set(GAMES) - set(roms.get_all_rom_ids())
    if missing:
        yield Line(
            "fail",
            f"ale-py has no ROM of {', '.join(sorted(missing))}",
            "pip install --force-reinstall ale-py",
        )
    else:
        yield Line("ok", f"all {len(GAMES)} games")


def resizing() -> Iterator[Line]:
    try:
        importlib.import_module("cv2")
        yield Line("ok", "cv2 imports")
    except ImportError as fault:
        yield Line(
            "fail",
            f"cv2 does not import ({fault})",
            "pip uninstall opencv-python; pip install --force-reinstall opencv-python-headless",
        )


def machine() -> Iterator[Line]:
    cores = len(os.sched_getaffinity(0))
    memory, disk = total_memory() / GIB, free_disk(Path()) / GIB
    for amount, enough, found, fix in (
        (cores, 2, f"{cores} cores", "use more cores; with one, everything is slow"),
        (memory, 4, f"{memory:.0f} GiB of memory", "record and pretrain with fewer steps"),
        (disk, 5, f"{disk:.0f} GiB of free disk", "free some space: runs need a few GiB"),
    ):
        yield Line("ok", found) if amount >= enough else Line("warn", found, fix)


def gpu() -> Iterator[Line]:
    """Imports torch only where there is a GPU."""
    if not Path("/proc/driver/nvidia").exists():
        yield Line("ok", "no NVIDIA GPU: everything runs on the processor")
        return
    try:
        torch = importlib.import_module("torch")
    except (ImportError, OSError) as fault:
        yield Line(
            "fail", f"torch does not import ({fault})", "pip install --force-reinstall torch"
        )
        return
    if torch.cuda.is_available():
        memory = torch.cuda.get_device_properties(0).total_memory / GIB
        yield Line("ok", f"{torch.cuda.get_device_name(0)}, {memory:.0f} GiB")
    else:
        yield Line(
            "warn",
            f"there is an NVIDIA GPU that torch {torch.__version__} cannot use",
            "install a CUDA build of torch and torchvision that the driver supports",
        )


def browser() -> Iterator[Line]:
    """Only the tests of the report need one."""
    names = ("chromium", "chromium-browser", "google-chrome")
    found = next(filter(None, map(shutil.which, names)), None)
    if found and shutil.which("chromedriver"):
        yield Line("ok", f"{found} with chromedriver, for the tests of the report page")
    else:
        yield Line(
            "warn",
            "no chromium with chromedriver: the tests of the report page are skipped",
            "apt-get install chromium chromium-driver",
        )


CHECKS = (python, packages, torchvision, games, resizing, machine, gpu, browser)
