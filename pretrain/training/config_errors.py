"""One line for what is wrong with a config: the deepest cause, and the nearest known names."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from difflib import get_close_matches
from types import ModuleType

from jsonargparse import ArgumentError
from lightning.pytorch.utilities.exceptions import MisconfigurationException

from fovea.command import UserError, nearest
from fovea.pretrain.training.nameable import reachable, settings_at, settings_of

FAULTS = (ArgumentError, ValueError, MisconfigurationException, ModuleNotFoundError)
"""What parsing and building raise where a config is wrong, among others."""

PLAINER = {
    "invalid literal for int() with base 10: ": "a whole number is expected, and not ",
    "could not convert string to float: ": "a number is expected, and not ",
    "Expected list. Got value: ": "a list is expected, such as '[a, b]', and not ",
}
"""What Python says of a text that is no number, and in plain words."""


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
        if isinstance(cause, ModuleNotFoundError) and cause.name is None:
            return UserError(str(cause).partition("\n")[0])  # Lightning's, of a logger's package
    if not any(isinstance(cause, ArgumentError | MisconfigurationException) for cause in causes):
        return None
    texts = [" ".join(str(cause).split()) for cause in causes]
    reason = texts[-1]
    paths = [text.split("'")[1] for text in texts if _after("Problem with given class_path", text)]
    if isinstance(causes[-1], KeyError):  # "Group 'encoder' does not accept option 'ptch'"
        name = reason.split("'")[-2]
        if near := get_close_matches(name, settings_at(paths[-1]) if paths else (), n=1):
            return UserError(f"unknown setting {name!r} of {paths[-1]}: did you mean {near[0]!r}?")
        return _unknown("setting", name, settings_of(reachable(roots)))
    if given := _after("unrecognized arguments: ", reason):  # "--encoder.ptch=3"
        name = given.split()[0].split("=")[0].lstrip("-").rpartition(".")[2]
        return _unknown("setting", name, settings_of(reachable(roots)))
    classes = [kind.__name__ for kind in reachable(roots)]
    if name := _after("Expected a dot import path string: ", reason):
        return _unknown("class", name, classes)
    if paths and (mistake := _not_imported(paths[-1], causes[-1], classes)):
        return mistake
    keys = [text.split('"')[1] for text in texts if _after('Parser key "', text)]
    plain = reason.replace("a <class '", "").replace("'>", "").replace("typing.", "")
    for said, meant in PLAINER.items():
        plain = plain.replace(said, meant)
    return UserError(f"setting {keys[-1]}: {plain}" if keys else texts[0])


def _not_imported(path: str, cause: BaseException, classes: list[str]) -> UserError | None:
    """Why a class could not be imported; None where that is not what went wrong.

    Args:
        path: of the class, `module.Name`.
        cause: what was raised.
        classes: names of the classes that a config can name.
    """
    module, _, name = path.rpartition(".")
    if isinstance(cause, AttributeError) and isinstance(cause.obj, ModuleType):
        there = {key for key, value in vars(cause.obj).items() if isinstance(value, type)}
        return UserError(f"{module} has no class {name!r}{nearest(name, {*there, *classes}, 3)}")
    if not isinstance(cause, ImportError):
        return None
    missing = cause.name
    if missing and not f"{path}.".startswith(f"{missing}."):
        return UserError(
            f"class_path {path} cannot be imported, since there is no module {missing!r}: "
            "install it, or mend the import"
        )
    first = path.partition(".")[0]
    return _unknown(
        "class",
        path,
        classes,
        f": there is no module {missing or module!r} in this folder or on PYTHONPATH; run the "
        f"command where {first}.py lies, or name its folder in PYTHONPATH",
    )


def _after(beginning: str, text: str) -> str:
    """What follows a beginning; empty where `text` begins otherwise."""
    return text.removeprefix(beginning) if text.startswith(beginning) else ""


def _unknown(
    what: str, name: str, known: Iterable[str], otherwise: str = ": see --help"
) -> UserError:
    many, known = (3 if what == "class" else 1), set(known)
    if name in known:
        return UserError(
            f"{what} {name!r} does not belong there: --print_config shows where it stands"
        )
    near = nearest(name.rpartition(".")[2], known, many, otherwise=otherwise)
    return UserError(f"unknown {what} {name!r}{near}")


def _causes(fault: BaseException | None) -> Iterator[BaseException]:
    while fault is not None:
        yield fault
        fault = fault.__cause__ or fault.__context__
