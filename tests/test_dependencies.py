"""What is declared is what is imported: by the package, by the tests, and by the benchmarks."""

from __future__ import annotations

import ast
import configparser
import re
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ("atari", "pretrain", "agents", "probes", "analysis")
DISTRIBUTIONS = {
    "cv2": "opencv-python-headless",
    "sklearn": "scikit-learn",
    "umap": "umap-learn",
    "yaml": "pyyaml",
}
"""Of modules that are not called as what is installed."""
THROUGH = {"gymnasium": "ale_py/vector_env.py", "torchvision": "timm/data/transforms.py"}
"""Declared for another's sake, which imports it where we use it and does not declare it as we do:
gymnasium by an extra of ale-py that brings a second OpenCV, torchvision without its pairing with
torch, which `fovea atari doctor` checks."""

UNDECLARED = {"ocatari"}
"""Installed with --no-deps: its own list of packages holds NumPy back (`atari/ocatari.py`)."""


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def declared(section: str, option: str) -> set[str]:
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg", encoding="utf-8")
    lines = setup[section][option].split("\n")
    return {normal(re.match(r"[\w.-]+", line)[0]) for line in lines if line}


def imported(paths: list[Path]) -> set[str]:
    """The distributions that files import, or take data files from."""
    modules = set()
    for path in paths:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                modules |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                modules.add(node.module)
            elif isinstance(node, ast.Call) and ast.unparse(node.func) == "resources.files":
                modules.add(node.args[0].value)
    tops = {module.split(".")[0] for module in modules} - set(sys.stdlib_module_names)
    names = {normal(DISTRIBUTIONS.get(top, top)) for top in tops if not is_ours(top)}
    return names - UNDECLARED


def is_ours(module: str) -> bool:
    return any((folder / f"{module}.py").exists() or (folder / module).is_dir()
               for folder in (ROOT, ROOT / "tests"))  # fmt: skip


def files(*folders: str) -> list[Path]:
    return [path for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))]


RUNTIME = declared("options", "install_requires")
OPTIONAL = set().union(
    *(
        declared("options.extras_require", extra)
        for extra in ("captum", "figures", "minari", "onnx", "ray", "sb3", "umap")
    )
)
"""What single modules of the package import, and say how to install."""


@pytest.mark.slow
def test_the_package_declares_what_it_imports_and_nothing_else() -> None:
    used = imported([*(ROOT / "fovea").glob("*.py"), *files(*PACKAGE)])
    assert used - RUNTIME - OPTIONAL == set(), "imported, and not in install_requires"
    assert RUNTIME - used - set(THROUGH) == set(), "in install_requires, and imported nowhere"


@pytest.mark.parametrize("module", THROUGH)
def test_what_is_declared_for_another_is_imported_by_it(module: str) -> None:
    package, _, file = THROUGH[module].partition("/")
    source = Path(find_spec(package).origin).parent / file
    assert module in imported([source])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("folder", "extras"),
    [("tests", ("dev", "sb3", "tensorboard", "ray", "minari")), ("benchmarks", ("bench", "dev"))],
)
def test_tests_and_benchmarks_declare_what_they_import_beside(
    folder: str, extras: tuple[str, ...]
) -> None:
    known = set().union(*(declared("options.extras_require", extra) for extra in extras))
    assert imported(files(folder)) - RUNTIME <= known
