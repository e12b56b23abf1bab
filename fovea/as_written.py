"""Whether a file is as it was written, by hashes that records keep, of themselves and of others."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fovea.foreign import open_file

PIECE = 2**20  # bytes that are read at once
CHANGED = "is not as it was written: by hand, or by a disk that fails"
CHECK = "check"
"""Key of the SHA-256 of all others in a record; older ones have none."""


def checked(found: dict[str, Any]) -> tuple[dict[str, Any], bool]:
    """A record's JSON object without its check, and whether it is as `with_check` made it.

    One without a check is, whatever it holds.
    """
    checks = {key for key, value in found.items() if _is_digest(value)} | {CHECK}
    written = {key: value for key, value in found.items() if key not in checks}
    return written, not checks & found.keys() or found.get(CHECK) == _digest(written)


def with_check(plain: dict[str, Any]) -> dict[str, Any]:
    """A record's JSON object with its check."""
    return plain | {CHECK: _digest(json.loads(json.dumps(plain)))}


def _is_digest(value: object) -> bool:
    return isinstance(value, str) and len(value) == 64 and set(value) <= set("0123456789abcdef")


def _digest(plain: Mapping[str, Any]) -> str:
    text = json.dumps(plain, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


class Written:
    """How many bytes of a file were written, and their SHA-256."""

    def __init__(self) -> None:
        self.bytes, self.hash = 0, hashlib.sha256()

    @staticmethod
    def of(path: Path, most: int = sys.maxsize) -> Written:
        """What a file holds now, or its first `most` bytes.

        Raises UserError for a pipe or a device.
        """
        written = Written()
        try:
            with open_file(path) as file:
                while piece := file.read(min(PIECE, max(most - written.bytes, 0))):
                    written.add(piece)
        except FileNotFoundError:
            pass
        return written

    def add(self, content: bytes) -> None:
        """More that was written."""
        self.bytes += len(content)
        self.hash.update(content)

    def record(self) -> dict[str, Any]:
        """As run.json has it."""
        return {"bytes": self.bytes, "sha256": self.hash.hexdigest()}
