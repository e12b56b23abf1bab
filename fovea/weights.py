"""Whether weights belong to a model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from fovea.command import UserError


def check_shapes(
    expected: Mapping[str, Any],
    given: Mapping[str, Any],
    mistake: Callable[[str, object, object], str],
) -> None:
    """Raise UserError unless two state dicts have the same names and shapes.

    Args:
        expected: {name: tensor or array} of the model.
        given: the same of the weights.
        mistake: the error's sentence for a name, its given and its expected shape; a shape is
            None on the side that lacks the name.
    """
    wanted = {name: tuple(value.shape) for name, value in expected.items()}
    found = {name: tuple(value.shape) for name, value in given.items()}
    for name in sorted(wanted.keys() | found.keys()):
        if wanted.get(name) != found.get(name):
            raise UserError(mistake(name, found.get(name), wanted.get(name)))
