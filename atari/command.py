"""How every command of every room ends: with one clear line and an exit code."""

from __future__ import annotations

import errno
import sys
from collections.abc import Callable
from typing import NoReturn

ACCELERATORS = ("auto", "cpu", "cuda")
"""What a command's --accelerator may say; `pretrain.device.device` makes a device of it."""


class UserError(ValueError):
    """A mistake of the user's. Its text is one line that names the bad value and the fix."""


def positive(text: str) -> int:
    """An integer above 0, as the type of a command's argument."""
    value = int(text)
    if value < 1:
        raise ValueError
    return value


def main(command: Callable[[], int | None]) -> NoReturn:
    """Run `command` and exit: 0 done, 2 a mistake of the user's, 1 a full disk, 130 interrupted.

    Anything else is a fault of ours and keeps its traceback.
    """
    try:
        sys.exit(command() or 0)
    except UserError as mistake:
        print(f"error: {mistake}", file=sys.stderr)
        sys.exit(2)
    except OSError as fault:
        if fault.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise
        where = fault.filename or "the run folder"
        print(
            f"error: the disk is full ({where}): free some space and run the same command again; "
            "what was finished is kept and nothing is half-written",
            file=sys.stderr,
        )
        sys.exit(1)
    except KeyboardInterrupt:
        print("interrupted: run the same command again to go on", file=sys.stderr)
        sys.exit(130)
