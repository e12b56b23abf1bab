"""What a config can name: classes, and their settings."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import is_dataclass
from pydoc import ErrorDuringImport, locate
from typing import get_args, get_type_hints

from lightning import Callback
from lightning.pytorch.loggers import Logger
from torch.nn import Module


def reachable(roots: Iterable[type]) -> set[type]:
    """These classes, their parents and children, and those that settings of theirs can be."""
    reached: set[type] = set()
    waiting = list(roots)
    while waiting:
        kind = waiting.pop()
        if kind not in reached:
            reached.update(kind.__mro__[:-1])
            waiting += kind.__subclasses__()
            waiting += (hint for one in kind.__mro__[:-1] for hint in _hints(one))
    return reached


def settings_of(kinds: Iterable[type]) -> Iterator[str]:
    """The names of the settings of these classes."""
    for kind in kinds:
        if is_dataclass(kind):
            yield from kind.__dataclass_fields__
        elif "__init__" in vars(kind):
            yield from inspect.signature(vars(kind)["__init__"]).parameters


def settings_at(path: str) -> list[str]:
    """The settings of the class at a dotted path; none where that cannot be imported."""
    try:
        kind = locate(path)
    except ErrorDuringImport:
        return []
    return [*settings_of(kind.__mro__[:-1])] if isinstance(kind, type) else []


def numeric_settings(kind: type) -> set[str]:
    """The settings of a class that are numbers of any size, where most have a range."""
    return {name for name, hint in _annotated(kind).items() if {int, float} & set(_parts(hint))}


def _hints(kind: type) -> Iterator[type]:
    """The classes that a class's own settings can be, of those that have settings themselves."""
    for hint in _annotated(kind).values():
        for part in _parts(hint):
            ours = part.__module__.startswith(("fovea.", "lightning."))
            if ours and (is_dataclass(part) or issubclass(part, Module | Logger | Callback)):
                yield part


def _annotated(kind: type) -> dict[str, object]:
    """The type hints of a class's own settings; none where it takes those of its parent."""
    if "__init__" not in vars(kind):
        return {}
    with suppress(NameError):  # what only type checkers import
        return get_type_hints(vars(kind)["__init__"])
    return {}


def _parts(hint: object) -> Iterator[type]:
    """The classes in an annotation: of `list[Logger] | None`, Logger and NoneType."""
    if isinstance(hint, type) and not get_args(hint):
        yield hint
    for part in get_args(hint):
        yield from _parts(part)
