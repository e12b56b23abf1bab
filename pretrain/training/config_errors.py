"""One line for what is wrong with a config: the deepest cause, and the nearest known names."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator
from dataclasses import is_dataclass
from difflib import get_close_matches
from typing import get_args, get_type_hints

from jsonargparse import ArgumentError
from lightning import Callback
from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities.exceptions import MisconfigurationException
from torch.nn import Module

from fovea.command import UserError

FAULTS = (ArgumentError, ValueError, MisconfigurationException)
"""What parsing and building raise where a config is wrong, among others."""


def explain(fault: Exception, roots: Iterable[type]) -> UserError | None:
    """The mistake behind a parser's error, or None where `fault` is no mistake of the user's.

    Args:
        fault: one of FAULTS; jsonargparse wraps its causes several times over.
        roots: the classes that a config builds, whose settings are the known names.
    """
    causes = list(_causes(fault))
    for cause in causes:
        if isinstance(cause, UserError):
            return cause
    if not any(isinstance(cause, ArgumentError | MisconfigurationException) for cause in causes):
        return None
    texts = [" ".join(str(cause).split()) for cause in causes]
    reason = texts[-1]
    if isinstance(causes[-1], KeyError):  # "Group 'encoder' does not accept option 'ptch'"
        return _unknown("setting", reason.split("'")[-2], _settings(roots))
    if given := _after("unrecognized arguments: ", reason):  # "--encoder.ptch=3"
        name = given.split()[0].split("=")[0].lstrip("-").rpartition(".")[2]
        return _unknown("setting", name, _settings(roots))
    if name := _after("Expected a dot import path string: ", reason):
        return _unknown("class", name, _classes(roots))
    if isinstance(causes[-1], ImportError | AttributeError):
        paths = [text.split("'")[1] for text in texts if _after("Problem with given class", text)]
        return _unknown("class", paths[-1].rpartition(".")[2], _classes(roots), paths[-1])
    keys = [text.split('"')[1] for text in texts if _after('Parser key "', text)]
    plain = reason.replace("a <class '", "").replace("'>", "").replace("typing.", "")
    return UserError(f"setting {keys[-1]}: {plain}" if keys else texts[0])


def _after(beginning: str, text: str) -> str:
    """What follows a beginning; empty where `text` begins otherwise."""
    return text.removeprefix(beginning) if text.startswith(beginning) else ""


def _unknown(what: str, name: str, known: Iterable[str], given: str = "") -> UserError:
    close = map(repr, get_close_matches(name, set(known), n=3))
    hint = " or ".join(close)
    more = f"did you mean {hint}?" if hint else "--help lists the known ones"
    return UserError(f"unknown {what} {given or name!r}: {more}")


def _causes(fault: BaseException | None) -> Iterator[BaseException]:
    while fault is not None:
        yield fault
        fault = fault.__cause__ or fault.__context__


def _settings(roots: Iterable[type]) -> Iterator[str]:
    """The names of all settings of these classes, their parents and children.

    Also of the modules and dataclasses that are settings of theirs.
    """
    for kind in _family(roots):
        yield from inspect.signature(kind.__init__).parameters if "__init__" in vars(kind) else ()
        for hint in _hints(kind):
            if is_dataclass(hint):
                yield from hint.__dataclass_fields__
            elif issubclass(hint, Module):
                yield from _settings([hint])


def _classes(roots: Iterable[type]) -> Iterator[str]:
    """The names of these classes and of those that settings of theirs can be."""
    for kind in _family(roots):
        yield kind.__name__
        taken = [hint for hint in _hints(kind) if issubclass(hint, Module | Logger | Callback)]
        yield from (one.__name__ for hint in taken for one in (hint, *_children(hint)))


def _family(roots: Iterable[type]) -> set[type]:
    """These classes, their parents and their children."""
    return {kind for root in roots for kind in (*root.__mro__[:-1], *_children(root))}


def _hints(kind: type) -> Iterator[type]:
    """The classes in the annotations of a class's own settings."""
    if "__init__" in vars(kind):
        for hint in get_type_hints(kind.__init__).values():
            yield from _types(hint)


def _types(hint: object) -> Iterator[type]:
    if isinstance(hint, type) and not get_args(hint):
        yield hint
    for part in get_args(hint):
        yield from _types(part)


def _children(kind: type) -> Iterator[type]:
    for child in kind.__subclasses__():
        yield child
        yield from _children(child)
