"""The public names of `fovea.pretrain`: what configs, notebooks and editors rely on."""

from __future__ import annotations

import ast
import importlib
import inspect
import subprocess
import sys
from pathlib import Path

import docstring_parser
import pytest
import yaml

import fovea.pretrain as room
from fovea.pretrain import Objective

FOLDER = Path(room.__file__).parent
CONFIGS = sorted((FOLDER / "configs").glob("*.yaml"))
FILES = sorted(path.stem for path in (FOLDER / "objectives").glob("[!_]*.py"))


def for_editors() -> dict[str, str]:
    """{name: module} of what type checkers and editors see."""
    (block,) = (node for node in ast.parse(Path(room.__file__).read_text()).body
                if isinstance(node, ast.If))  # fmt: skip
    return {line.names[0].asname: line.module for line in block.body}


PUBLIC = for_editors()


@pytest.mark.parametrize("name", PUBLIC)
def test_a_public_name_is_what_its_module_defines(name: str) -> None:
    assert name in dir(room)
    assert getattr(room, name) is getattr(importlib.import_module(PUBLIC[name]), name)
    assert getattr(room, name).__module__ == PUBLIC[name]


def test_editors_see_every_name_that_is_imported_when_asked_for() -> None:
    asked_for = "import fovea.pretrain as room; print(*set(dir(room)) - set(vars(room)))"
    command = [sys.executable, "-c", asked_for]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) == PUBLIC.keys()


@pytest.mark.parametrize("file", FILES)
def test_every_objective_is_public(file: str) -> None:
    module = importlib.import_module(f"fovea.pretrain.objectives.{file}")
    here = {
        name
        for name, value in vars(module).items()
        if inspect.isclass(value)
        and issubclass(value, Objective)
        and value.__module__ == module.__name__
    }
    assert here
    assert here <= PUBLIC.keys()


@pytest.mark.parametrize("config", CONFIGS, ids=lambda path: path.stem)
def test_a_config_names_a_public_objective(config: Path) -> None:
    path = yaml.safe_load(config.read_text())["model"]["class_path"]
    package, _, name = path.rpartition(".")
    assert package == "fovea.pretrain"
    assert issubclass(getattr(room, name), Objective)


CONFIGURED = [
    name
    for name in PUBLIC
    if inspect.isclass(getattr(room, name)) and issubclass(getattr(room, name), Objective)
]


@pytest.mark.parametrize("name", [*CONFIGURED, "Windows", "Shape", "Optimisation", "ViT", "CNN"])
def test_every_setting_has_a_name_and_a_line_of_its_own(name: str) -> None:
    kind = getattr(room, name)
    settings = inspect.signature(kind).parameters
    documented = docstring_parser.parse(inspect.getdoc(kind)).params
    assert settings.keys() <= {p.arg_name for p in documented if p.description}
    assert not [p for p in settings.values() if p.kind in (p.VAR_KEYWORD, p.VAR_POSITIONAL)]
