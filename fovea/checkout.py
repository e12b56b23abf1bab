"""Which commit the code that runs is of, where it runs from a git checkout."""

from __future__ import annotations

import subprocess
from pathlib import Path

PACKAGE = Path(__file__).parent


def commit() -> str | None:
    """The commit of the checkout, 12 digits, with "+" where code in it is not committed.

    Code is the package and the rooms that it links to; documents and results do not count. None
    without git, and where the package is no part of a checkout, as one that was installed into a
    virtual environment inside somebody's own repository.
    """
    rooms = [path.resolve() for path in PACKAGE.iterdir() if path.is_symlink()]
    try:
        _git("ls-files", "--error-unmatch", "__init__.py")
        changed = _git("status", "--porcelain", "--", ".", *map(str, rooms))
        return _git("rev-parse", "--short=12", "HEAD").strip() + ("+" if changed else "")
    except (OSError, subprocess.SubprocessError):
        return None


def _git(*words: str) -> str:
    return subprocess.run(
        ["git", "--no-optional-locks", *words],
        cwd=PACKAGE, capture_output=True, text=True, check=True, timeout=20,
    ).stdout  # fmt: skip
