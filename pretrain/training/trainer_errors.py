"""One line for what Lightning's Trainer says of its settings, when it is made and while it runs."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from traceback import walk_tb

from lightning.pytorch.utilities.exceptions import MisconfigurationException

from fovea.command import UserError

FAULTS = (ValueError, TypeError, RuntimeError, ImportError, MisconfigurationException)
"""What Lightning's Trainer raises for settings that it does not take."""


def _named(fault: Exception, asked: Mapping[str, object]) -> UserError | None:
    """What Lightning says of a setting of its Trainer, as one line; None where it names none.

    Args:
        fault: one of FAULTS.
        asked: the settings.
    """
    said = " ".join(str(fault).split()).rstrip(".")
    texts = {name: value for name, value in asked.items() if isinstance(value, str)}
    found = [(at.start(), name) for name in asked if (at := re.search(rf"\b{name}\b", said))]
    found += [(len(said), name) for name, value in texts.items() if value in said]
    if not found:
        return None
    _, name = min(found)
    value = " ".join(str(asked[name]).split())
    return UserError(f"trainer.{name} {value}: {said}: change it, or leave it out")


@contextmanager
def trainer_settings(asked: Mapping[str, object]) -> Iterator[None]:
    """Make one line of what the Trainer says of its settings while it is made.

    Args:
        asked: the settings.

    Raises UserError for what is raised within.
    """
    try:
        yield
    except UserError:
        raise
    except FAULTS as fault:
        said = " ".join(str(fault).split()).rstrip(".")
        raise _named(fault, asked) or UserError(
            f"settings of the trainer: {said}: change that one, or leave it out"
        ) from None


def said_by_trainer(fault: BaseException, asked: Mapping[str, object]) -> BaseException:
    """A UserError for what Lightning itself raised of its settings; else `fault` as it is.

    Args:
        fault: what ended a fit.
        asked: the settings.
    """
    if isinstance(fault, FAULTS) and _is_of_lightning(fault):
        return _named(fault, asked) or fault
    return fault


def _is_of_lightning(fault: BaseException) -> bool:
    """Whether Lightning itself raised it, such as for settings that it compares with the data."""
    *_, (frame, _) = walk_tb(fault.__traceback__)
    return str(frame.f_globals.get("__name__")).startswith("lightning.")
