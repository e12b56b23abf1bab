"""One line for what is wrong with a config: the deepest cause, and the nearest known name."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Iterator
from dataclasses import is_dataclass
from difflib import get_close_matches
from typing import get_type_hints

from jsonargparse import ArgumentError
from torch.nn import Module

from fovea.command import UserError

UNKNOWN = re.compile(r"(?:Option|accept option) '([^']+)'|unrecognized arguments: --([^\s=]+)")


def explain(fault: Exception, roots: Iterable[type]) -> UserError | None:
    """The mistake behind a parser's error, or None where `fault` is no mistake of the user's.

    Args:
        fault: what jsonargparse raised; it wraps its causes several times over.
        roots: the classes that a config builds, whose settings are the known names.
    """
    causes = list(_causes(fault))
    for cause in causes:
        if isinstance(cause, UserError):
            return cause
    said = [" ".join(str(cause).split()) for cause in causes if isinstance(cause, ArgumentError)]
    if not said:
        return None
    unknown = UNKNOWN.search(said[-1])
    if not unknown:
        if "Union" in said[-1]:
            return UserError(f"model: {causes[-1]}")
        return UserError(said[-1].replace("Parser key", "setting").replace("typing.", ""))
    name = (unknown[1] or unknown[2]).rpartition(".")[2]
    close = get_close_matches(name, set(_settings(roots)), n=1)
    hint = f": did you mean {close[0]!r}?" if close else ": --help lists the known ones"
    return UserError(f"unknown setting {name!r}{hint}")


def _causes(fault: BaseException | None) -> Iterator[BaseException]:
    while fault is not None:
        yield fault
        fault = fault.__cause__ or fault.__context__


def _settings(roots: Iterable[type]) -> Iterator[str]:
    """The names of all settings of these classes, their parents and children.

    Also of the modules and dataclasses that are settings of theirs.
    """
    for root in roots:
        for kind in {*root.__mro__[:-1], *_children(root)}:
            init = kind.__dict__.get("__init__")
            if init is None:
                continue
            yield from inspect.signature(init).parameters
            for hint in get_type_hints(init).values():
                if is_dataclass(hint):
                    yield from hint.__dataclass_fields__
                elif isinstance(hint, type) and issubclass(hint, Module):
                    yield from _settings([hint])


def _children(kind: type) -> Iterator[type]:
    for child in kind.__subclasses__():
        yield child
        yield from _children(child)
