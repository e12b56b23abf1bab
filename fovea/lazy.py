"""Public names that are imported when first asked for, so that light commands stay light."""

from __future__ import annotations

import importlib
import pkgutil
import sys
from collections.abc import Callable, Mapping


def lazily(
    package: str, names: Mapping[str, str]
) -> tuple[Callable[[str], object], Callable[[], list[str]]]:
    """`__getattr__` and `__dir__` of a package whose public `names` lie in other modules.

    Args:
        package: its `__name__`.
        names: {public name: module that defines it}.
    """

    def get(name: str) -> object:
        if name not in names:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value = getattr(importlib.import_module(names[name]), name)
        setattr(sys.modules[package], name, value)
        return value

    return get, lambda: sorted({*vars(sys.modules[package]), *names})


def import_all(package: str) -> None:
    """Import every module of a package, so that all classes it defines are known to a parser."""
    for module in pkgutil.iter_modules(importlib.import_module(package).__path__):
        importlib.import_module(f"{package}.{module.name}")
