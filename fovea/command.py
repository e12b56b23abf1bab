"""What all commands share: a table of names, one line for a mistake, and exit codes."""

from __future__ import annotations

import argparse
import errno
import gc
import importlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from typing import NamedTuple, NoReturn

ACCELERATORS = ("auto", "cpu", "gpu", "cuda")
"""Choices of --accelerator, in Lightning's words; `fovea.device.device` makes a device of each."""


class UserError(ValueError):
    """A mistake of the user; the message is one line that names the bad value and the fix."""


class Terminated(BaseException):
    """SIGTERM arrived, as it does from schedulers and `kill`; see `terminable`."""


@contextmanager
def terminable() -> Iterator[None]:
    """Let SIGTERM raise Terminated inside, so that work stops as it does after Ctrl-C.

    Without effect outside the main thread, where Python allows no handlers.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(*_: object) -> NoReturn:
        raise Terminated

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


class Command(NamedTuple):
    """A command, named so that a table of them imports nothing."""

    run: str
    """ "module:function"; the function takes the arguments after the command's name."""
    about: str
    """What it does, in one line."""


def dispatch(
    prog: str, about: str, commands: Mapping[str, Command], arguments: Sequence[str]
) -> int | None:
    """Run the command that the first of `arguments` names, or print what there is.

    Args:
        prog: how people call it, such as "fovea atari".
        about: what the help says before the list of commands.
        commands: by name.
        arguments: as typed after `prog`.

    Returns the command's exit code. Raises UserError for an unknown name.
    """
    name, *rest = arguments or ["--help"]
    if name in ("-h", "--help"):
        width = max(map(len, commands))
        lines = [f"  {name:<{width}}  {command.about}" for name, command in commands.items()]
        print(f"usage: {prog} COMMAND ...\n\n{about.strip()}\n\ncommands:")
        print(*lines, f"\n{prog} COMMAND --help says more.", sep="\n")
        return None
    if name not in commands:
        hint = nearest(name, commands)
        raise UserError(f"unknown command {name!r} of {prog}{hint}")
    module, _, function = commands[name].run.partition(":")
    return getattr(importlib.import_module(module), function)(rest)


def nearest(name: object, known: Iterable[str], most: int = 3, otherwise: str = "") -> str:
    """The end of a message about an unknown name: the nearest known ones.

    Where none is near it is `otherwise`, or all of them.
    """
    known = sorted(known)
    if close := get_close_matches(str(name), known, n=most):
        return f": did you mean {' or '.join(map(repr, close))}?"
    return otherwise or (f": known are {', '.join(known)}" if known else ": there are none")


def parser(prog: str, description: str) -> argparse.ArgumentParser:
    """A parser of one command, whose description keeps its lines; it takes no shortened names."""
    return argparse.ArgumentParser(
        prog,
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )


def positive(text: str) -> int:
    """An integer above 0, as the type of a command's argument."""
    value = int(text)
    if value < 1:
        raise ValueError
    return value


def natural(text: str) -> int:
    """An integer of at least 0, as the type of a command's argument."""
    value = int(text)
    if value < 0:
        raise ValueError
    return value


def probability(text: str) -> float:
    """A number from 0 to 1, as the type of a command's argument."""
    value = float(text)
    if not 0 <= value <= 1:
        raise ValueError
    return value


def main(command: Callable[[], int | None]) -> NoReturn:
    """Run `command` and exit with the code that it returns, or 0.

    The code is 2 for a mistake of the user, 1 for a full disk, 130 after an interrupt, 143 after
    SIGTERM in what is `terminable`, and 141 where the reader of its output has gone. Any other
    exception is a bug and keeps its traceback.
    """
    # What torch and Lightning define when they are imported stays. To look for garbage in it every
    # 700 objects, as Python does, is a sixth of the time in which a command starts.
    gc.set_threshold(50_000)
    try:
        sys.exit(command() or 0)
    except UserError as mistake:
        print(f"error: {mistake}", file=sys.stderr)
        sys.exit(2)
    except BrokenPipeError:  # such as head, which reads a few lines and ends
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
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
    except Terminated:
        print("terminated: run the same command again to go on", file=sys.stderr)
        sys.exit(143)
