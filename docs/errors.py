"""Every mistake that a user can be told of, from the code: the message, its fix, and who says it.

A message is one line, the value and what is wrong with it, then ": " or "; " and the fix.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

ROOMS = ("fovea", "atari", "pretrain", "agents", "probes", "analysis")
ROOT = Path(__file__).parents[1]
CALLS = {
    "nearest": "take one of the names that it lists",
    "near": "take one of the names that it lists",
    "hint": "take one of the names that it lists",
    "_fault": "it says how to get the file again",
    "OLD": "end it with that version, or begin another --run",
}
"""Parts of a message that are a fix, by the name that the code has for them."""
HANDED_ON = {
    "fovea/weights.py": ("weights that are not those of the encoder", "of whoever compares them"),
    "pretrain/training/config_errors.py": ("a setting that the parser refuses", "what it expects"),
    "probes/run.py": ("what is wrong with the first game", "one of the others here"),
    "analysis/study_cells.py": ("the command that failed", "where its last line is"),
}
"""Files that pass on a message which is made elsewhere: in words, what it is of and its fix."""
NO_END = re.compile(r"(\bKEY|\.NAME|\w*_\w*|\bcrop|\bdisturb|\bheads|\[\w+ *)$")
"""What stands before a colon that does not end what is wrong: a key, or code."""
TRANSFORMS = {
    *("join", "strip", "with_suffix", "stem", "splitlines", "partition", "__name__", "__class__"),
    *("len", "list", "map", "max", "min", "repr", "sorted", "str", "tuple", "type"),
}
"""What code does to a value before it shows it, which is no name of the value."""


class Mistake(NamedTuple):
    """A message of a UserError."""

    file: str
    line: int
    what: str
    """With {names} in place of values."""
    fix: str
    """Empty where the message has none."""


@cache
def mistakes() -> list[Mistake]:
    """All UserErrors of the package, by file and line."""
    found = []
    for room in ROOMS:
        folder = ROOT / room
        files = folder.glob("*.py") if room == "fovea" else folder.rglob("*.py")
        for path in sorted(files):
            name = str(path.relative_to(ROOT))
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if _is_mistake(node):
                    found.append(_mistake(name, node.lineno, node.args[0]))
    return found


def _is_mistake(node: ast.AST) -> bool:
    return (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "UserError"
        and bool(node.args)
    )


def _mistake(name: str, line: int, message: ast.expr) -> Mistake:
    text = "".join(_pieces(message))
    if not isinstance(message, ast.Constant | ast.JoinedStr) and name in HANDED_ON:
        return Mistake(name, line, *HANDED_ON[name])
    ends = [sign.start() for sign in re.finditer("[:;] ", text)]
    ends = [at for at in ends if not NO_END.search(text[:at]) and text[at + 2 :].strip()]
    if ends:
        return Mistake(name, line, text[: ends[-1]], text[ends[-1] + 2 :])
    calls = {part.id for part in ast.walk(message) if isinstance(part, ast.Name)}
    fixes = [fix for call, fix in CALLS.items() if call in calls]
    return Mistake(name, line, text, fixes[0] if fixes else "")


def _pieces(message: ast.expr) -> Iterator[str]:
    """A message's text, with {names} where values stand."""
    if isinstance(message, ast.Constant):
        yield str(message.value)
    elif isinstance(message, ast.JoinedStr):
        for part in message.values:
            yield from _pieces(part)
    elif isinstance(message, ast.FormattedValue):
        names = {part.id for part in ast.walk(message.value) if isinstance(part, ast.Name)}
        yield "" if names & CALLS.keys() else f"{{{_value(message.value)}}}"
    else:
        yield ast.unparse(message)


def _value(value: ast.expr) -> str:
    """What a value in a message is, by the names that the code has for it."""
    if isinstance(value, ast.Call) and isinstance(value.func, ast.Name) and value.func.id == "len":
        return f"number of {_value(value.args[0])}"
    names = [part.id for part in ast.walk(value) if isinstance(part, ast.Name)]
    attributes = [part.attr for part in ast.walk(value) if isinstance(part, ast.Attribute)]
    telling = [name for name in (*attributes, *names) if name not in TRANSFORMS]
    return telling[0].strip("_") if telling else "..."


def page() -> str:
    """The table of all, for the site."""
    parts = [
        "# Mistakes and their fixes\n\nWhat a command says in one line, before anything is "
        "written, and ends with exit code 2. Words in braces stand for the value that was given.\n"
    ]
    every = mistakes()
    for room in ROOMS:
        own = [one for one in every if one.file.startswith(f"{room}/")]
        parts.append(f"## {room} ({len(own)})\n\n| what | fix | said in |\n| --- | --- | --- |")
        parts += [f"| {_cell(one.what)} | {_cell(one.fix)} | `{one.file}` |" for one in own]
        parts.append("")
    return "\n".join(parts)


def _cell(text: str) -> str:
    """Text as a cell of a Markdown table shows it."""
    for mark in ("\\", "|", "<", "*", "_", "`", "[", "]", "$"):
        text = text.replace(mark, f"\\{mark}")
    return " ".join(text.split())
