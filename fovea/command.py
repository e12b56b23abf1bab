"""What all commands share: a table of names, one line for a mistake, and exit codes."""

from __future__ import annotations

import argparse
import errno
import gc
import importlib
import io
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

SPINS = "10000"
"""How often a thread of torch looks for work before it sleeps, for GOMP_SPINCOUNT.

GNU OpenMP takes 300,000 by itself where there is a core for each thread. Beside another busy
program there is not: a thread then waits in vain on the core that the one it waits for needs, and
steps take several times as long (`python -m benchmarks.beside`). Without spinning agents lose a
third of their speed on an idle machine, and with this number nothing. It is read when torch is
imported, which is after `main` has begun.
"""

FULL = errno.ENOSPC, errno.EDQUOT, errno.EFBIG
"""What the system says of a disk that is full."""
REFUSED = {
    errno.EACCES: "you may not read or write it: give another path, or change its permissions",
    errno.EPERM: "you may not read or write it: give another path, or change its permissions",
    errno.EROFS: "it lies on a file system that is read-only: give a path on another one",
    errno.ENOTDIR: "it lies below something that is a file: give another path",
    errno.EISDIR: "it is a folder, and a file is meant: give another path",
    errno.EEXIST: "there is something else of this name: give another path",
    errno.ENOENT: "there is no such file or folder: look at its spelling",
    errno.ENAMETOOLONG: "its name is too long for the file system: give a shorter one",
    errno.ELOOP: "its links lead round in a circle: give the folder itself",
    errno.ENOTEMPTY: "it is not empty: give another path",
    errno.EXDEV: "it cannot be moved between file systems: give a path on one",
    errno.ESTALE: "its file system is gone (a stale handle): mount it, and run the command again",
    errno.EIO: "the disk fails to read or write it: see to the disk, and run the command again",
}
"""What the system says of a path, and the fix."""


class UserError(ValueError):
    """A mistake of the user; the message is one line that names the bad value and the fix."""


class Terminated(BaseException):
    """A signal of ENDING arrived, as from schedulers and `kill`; see `terminable`.

    Args:
        number: of the signal.
    """

    def __init__(self, number: int = signal.SIGTERM):
        super().__init__()
        self.number = number


ENDING = signal.SIGTERM, signal.SIGHUP
"""Signals by which others end a command: schedulers, and a terminal that is closed."""


@contextmanager
def terminable() -> Iterator[None]:
    """Let the signals of ENDING raise Terminated, so that work stops as it does after Ctrl-C.

    One that falls into a destructor, as Ctrl-C may, is sent again: Python drops what is raised
    there. One that is ignored stays ignored, as under nohup. Processes that are forked inside end
    by these signals as if there were no handler. Without effect outside the main thread, where
    Python allows no handlers.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    own = os.getpid()

    def stop(number: int, frame: object) -> None:
        if os.getpid() == own:
            raise Terminated(number)
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)

    def dropped(what: sys.UnraisableHookArgs) -> None:
        if isinstance(what.exc_value, KeyboardInterrupt | Terminated):
            number = getattr(what.exc_value, "number", signal.SIGINT)
            again = threading.Timer(0.05, os.kill, (os.getpid(), number))
            again.daemon = True
            again.start()
        else:
            told(what)

    told, sys.unraisablehook = sys.unraisablehook, dropped
    before = {number: signal.getsignal(number) for number in ENDING}
    handled = [number for number, how in before.items() if how is not signal.SIG_IGN]
    for number in handled:
        signal.signal(number, stop)
    try:
        yield
    finally:
        sys.unraisablehook = told
        for number in handled:
            signal.signal(number, before[number])


@contextmanager
def undisturbed() -> Iterator[None]:
    """Let Ctrl-C and the signals of ENDING wait until the end, as while processes are started.

    What is interrupted there leaves a process that knows half of what it is to do. Those that are
    started inside are not disturbed either, by the same signals to their whole group. Without
    effect outside the main thread.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []
    numbers = signal.SIGINT, *ENDING
    before = {number: signal.getsignal(number) for number in numbers}
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, numbers)  # which started processes inherit
    for number in numbers:  # which other threads of this process may still be given
        if before[number] is not signal.SIG_IGN:
            signal.signal(number, lambda number, _: came.append(number))
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        for number in numbers:
            signal.signal(number, before[number])
        if came:
            signal.raise_signal(came[0])


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
        raise ValueError(f"{text} is not above 0")
    return value


def natural(text: str) -> int:
    """An integer of at least 0, as the type of a command's argument."""
    value = int(text)
    if value < 0:
        raise ValueError(f"{text} is below 0")
    return value


def probability(text: str) -> float:
    """A number from 0 to 1, as the type of a command's argument."""
    value = float(text)
    if not 0 <= value <= 1:
        raise ValueError
    return value


def main(command: Callable[[], int | None]) -> NoReturn:
    """Run `command` and exit with the code that it returns, or 0.

    The code is 2 for a mistake of the user, and for what the system refuses of a path that was
    given; 1 for a full disk, 130 after an interrupt, 143 after SIGTERM and 129 after SIGHUP, and
    141 where the reader of its output has gone. Any other exception is a bug and keeps its
    traceback.
    """
    from fovea.foreign import shown, shown_streams  # which needs this module

    in_utf8()
    in_letters()
    os.environ.setdefault("GOMP_SPINCOUNT", SPINS)
    # What torch and Lightning define when they are imported stays. To look for garbage in it every
    # 700 objects, as Python does, is a sixth of the time in which a command starts.
    gc.set_threshold(50_000)
    try:
        with terminable(), shown_streams():
            code = command() or 0
            sys.stdout.flush()  # a reader that has gone is found here, and not while Python ends
        sys.exit(code)
    except UserError as mistake:
        print(shown(f"error: {mistake}"), file=sys.stderr)
        sys.exit(2)
    except BrokenPipeError:  # such as head, which reads a few lines and ends
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
    except OSError as fault:
        if fault.errno in REFUSED and fault.filename is not None:
            print(shown(f"error: {fault.filename}: {REFUSED[fault.errno]}"), file=sys.stderr)
            sys.exit(2)
        if fault.errno not in FULL:
            raise
        where = shown(str(fault.filename or "the run folder"))
        print(
            f"error: the disk is full ({where}): free some space and run the same command again; "
            "what was finished is kept and nothing is half-written",
            file=sys.stderr,
        )
        sys.exit(1)
    except KeyboardInterrupt:
        print("interrupted: run the same command again to go on", file=sys.stderr)
        sys.exit(130)
    except Terminated as ended:
        print("terminated: run the same command again to go on", file=sys.stderr)
        sys.exit(128 + ended.number)


def in_utf8() -> None:
    """Begin anew in Python's UTF-8 mode where the locale asks for another encoding.

    All that Fovea writes is UTF-8, and so are the names of folders that it was given; under
    LC_ALL=C with PYTHONUTF8=0 these would not even print.
    """
    if sys.getfilesystemencoding() != "utf-8" and not sys.flags.utf8_mode:
        sys.stdout.flush()
        os.environ["PYTHONUTF8"] = "1"
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


def in_letters() -> None:
    """Print what the terminal's encoding lacks as its code, as in m\\xfcll.

    That may be ASCII, where PYTHONIOENCODING says so, and names of files may be of any bytes.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
