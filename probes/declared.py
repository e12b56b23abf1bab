"""What a probe's file declares, held to what it returns: a slip of the pen is told, not dropped."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable
from difflib import get_close_matches
from types import ModuleType

from fovea.command import UserError, nearest
from fovea.figures import KINDS, Comparison, Gains
from fovea.results import Measured


def check_file(module: ModuleType) -> None:
    """Raise UserError where the file of a probe lacks its title or what it is about."""
    for name in ("TITLE", "ABOUT"):
        if not isinstance(getattr(module, name, None), str):
            raise UserError(
                f"the probe {module.__name__} has no {name}: give it one, a text for the report"
            )
    takes = inspect.signature(module.probe).parameters.values()
    if sum(one.kind in (one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD) for one in takes) < 2:
        raise UserError(
            f"the probe {module.__name__} takes {', '.join(map(str, takes))}: write "
            "probe(encoder, games), and settings behind them"
        )


def check_found(module: ModuleType, found: object) -> Measured:
    """What a probe returned. Raises UserError where its figures or its sentence do not fit it.

    A table may be missing, as that of blocks for a CNN, but not where one is called nearly so.
    """
    name = module.__name__
    if not isinstance(found, Measured):
        raise UserError(
            f"the probe {name} gave {type(found).__name__}: return Measured([Table(...), ...])"
        )
    for table in found.tables:
        try:
            table.check()
        except ValueError as odd:
            raise UserError(
                f"the probe {name}: {odd}; give a number, a text or None for each column"
            ) from None
    tables = {table.name: table for table in found.tables}
    figures, verdict = getattr(module, "FIGURES", []), getattr(module, "VERDICT", None)
    for figure in figures:
        _known(f"{name}.FIGURES names the kind", figure.kind, KINDS)
    takes = [("FIGURES", one) for one in figures if isinstance(one, Comparison | Gains)]
    takes += [("VERDICT", verdict)] if verdict else []
    for where, declared in takes:
        if of := tables.get(declared.table):
            for column in sorted(declared.columns):
                _known(f"{name}.{where} names the column", column, of.columns)
            for column, value in getattr(declared, "where", {}).items():
                there = {str(cell) for cell in of.to_dict()[column]}
                if get_close_matches(value, there, cutoff=0.8):
                    _known(f"{name}.{where} names the {column}", value, there)
        elif get_close_matches(declared.table, tables, cutoff=0.8):
            _known(f"{name}.{where} names the table", declared.table, tables)
    for said in re.findall(r"\{(.*?)\}", verdict.sentence if verdict else ""):
        _known(f"{name}.VERDICT has a sentence with the braces", said, ["games"])
    return found


def _known(what: str, name: str, known: Iterable[str]) -> None:
    if name not in (known := list(known)):
        raise UserError(f"{what} {name!r}{nearest(name, known)}")
