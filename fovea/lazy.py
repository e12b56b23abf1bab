"""Public names that are imported when first asked for, so that light commands stay light."""

from __future__ import annotations

import ast
import importlib
import pkgutil
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path


def lazily(package: str) -> tuple[Callable[[str], object], Callable[[], list[str]]]:
    """`__getattr__` and `__dir__` of a package: what it imports `if TYPE_CHECKING`, when asked for.

    So type checkers, editors and Python read one list of public names.

    Args:
        package: its `__name__`.
    """

    def get(name: str) -> object:
        module = sys.modules[package]
        names = public(Path(str(module.__file__)))
        if name not in names:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value = getattr(importlib.import_module(names[name]), name)
        setattr(module, name, value)
        return value

    def listed() -> list[str]:
        module = sys.modules[package]
        return sorted({*vars(module), *public(Path(str(module.__file__)))})

    return get, listed


@cache
def public(file: Path) -> dict[str, str]:
    """{name: module} of the absolute imports in the `if TYPE_CHECKING` block of a file."""
    blocks = [
        node
        for node in ast.parse(file.read_text(encoding="utf-8")).body
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
    ]
    return {
        alias.name: str(line.module)
        for block in blocks
        for line in block.body
        if isinstance(line, ast.ImportFrom)
        for alias in line.names
    }


def import_all(package: str) -> None:
    """Import every module of a package, so that all classes it defines are known to a parser."""
    for module in pkgutil.iter_modules(importlib.import_module(package).__path__):
        importlib.import_module(f"{package}.{module.name}")
