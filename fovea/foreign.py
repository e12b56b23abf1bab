"""Text that others wrote: read as data, within bounds, and shown without what steers a terminal."""

from __future__ import annotations

import io
import json
import os
import re
import stat
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, cast

from fovea.command import UserError

if TYPE_CHECKING:
    from collections.abc import Iterator

LARGEST = 2**26
"""Bytes of a record, a config or a list of files that are read; ours have some thousands."""
ALIASES, DEEPEST = 1000, 64
"""Of a YAML file: references to what stands elsewhere in it, and levels inside each other."""
ODD_VALUES = ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RecursionError
"""What PyYAML raises for a value that is not what its tag says, such as `!!bool x`."""


def open_file(path: str | Path) -> IO[bytes]:
    """A file, to be read. Raises UserError for a pipe or a device, which may have no end."""
    mode = os.stat(path).st_mode
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise UserError(f"{path} is a pipe or a device, which may have no end: give a file")
    return open(path, "rb")


def read_text(path: str | Path, most: int = LARGEST) -> str:
    """The text of a file.

    Raises UserError for one that is larger than `most`, is no UTF-8, or is a pipe or a device.
    """
    with open_file(path) as file:
        content = file.read(most + 1)
    if len(content) > most:
        raise UserError(f"{path} has more than {most:,} bytes: it is none of ours, do not use it")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as fault:
        raise UserError(
            f"{path} is no UTF-8 ({fault}): get it again from where it was made"
        ) from None


HALF = re.compile(r"\\u[dD][89a-fA-F]")  # of a surrogate pair, in JSON


def load_json(text: str) -> Any:
    """What a JSON text holds: plain data, of which files and pages can be made.

    Half a surrogate pair, which is no letter, becomes `printable`.

    Raises ValueError for what is no JSON, is too deep, or has a whole number of more than 64 bits.
    """
    try:
        found = json.loads(text, parse_int=_whole)
        return _printable(found) if HALF.search(text) else found
    except RecursionError:
        raise ValueError("its values lie too deep inside each other") from None


def _whole(digits: str) -> int:
    if len(digits) > 20 or not -(2**63) <= (value := int(digits)) < 2**63:
        raise ValueError(f"a number of {len(digits)} digits, {digits[:9]}..., is none of ours")
    return value


def _printable(value: Any) -> Any:
    if isinstance(value, dict):
        return {printable(key): _printable(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_printable(inner) for inner in value]
    return printable(value) if isinstance(value, str) else value


def printable(text: str) -> str:
    """A text that UTF-8 can hold: half a surrogate pair, as of a name's odd byte, as \\udcff."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def load_yaml(text: str, source: str | Path) -> Any:
    """What a YAML text holds: plain data, and no more of it than stands there.

    Aliases of aliases would grow to any size when they are written out.

    Raises UserError for what is no YAML, has tags that make objects, or is built to grow.
    """
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    aliases = depth = 0
    try:
        for event in yaml.parse(text, loader):
            aliases += isinstance(event, yaml.AliasEvent)
            depth += isinstance(event, yaml.CollectionStartEvent)
            depth -= isinstance(event, yaml.CollectionEndEvent)
            if aliases > ALIASES or depth > DEEPEST:
                raise UserError(
                    f"{source} has more than {ALIASES} references or {DEEPEST} levels: it is built "
                    "to grow when it is read, do not use it"
                )
        found = yaml.load(text, loader)
        if aliases and _size(found) > 100 * len(text) + 10_000:
            raise UserError(
                f"{source} grows when it is read, by references to references: do not use it"
            )
        return found
    except (yaml.YAMLError, *ODD_VALUES) as fault:
        if isinstance(fault, UserError):
            raise
        said = " ".join(str(fault).split()) or type(fault).__name__
        raise UserError(f"{source} is no YAML of plain values ({said}): mend it there") from None


def _size(value: object, known: dict[int, int] | None = None) -> int:
    """How many values there are where each reference is written out; infinite for a circle."""
    known = {} if known is None else known
    if not isinstance(value, dict | list):
        return 1
    if id(value) not in known:
        known[id(value)] = 2**63  # of what holds itself
        parts = value.values() if isinstance(value, dict) else value
        known[id(value)] = 1 + sum(_size(part, known) for part in parts)
    return known[id(value)]


CONTROL = re.compile(r"[\x00-\x08\x0b-\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]|\r(?!\n)")
"""What steers a terminal or turns the direction of writing. Progress bars, which need some of it,
pass by `Shown` (`fovea.progress.Moves`)."""


def shown(text: str) -> str:
    """A text with control characters as \\x1b, so that a name cannot steer a terminal."""
    return CONTROL.sub(lambda found: f"\\x{ord(found[0]):02x}", text)


class Shown(io.TextIOBase):
    """A stream that writes `shown` text to another."""

    def __init__(self, stream: IO[str]):
        self.stream = stream

    def write(self, text: str) -> int:
        return self.stream.write(shown(text))

    def flush(self) -> None:
        self.stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)

    def fileno(self) -> int:
        return self.stream.fileno()

    def isatty(self) -> bool:
        return self.stream.isatty()


@contextmanager
def shown_streams() -> Iterator[None]:
    """What is printed inside goes through `Shown`."""
    import sys

    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = (cast(Any, Shown(stream)) for stream in before)
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before
