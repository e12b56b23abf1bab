"""Files that are either complete or absent, and folders that one process at a time may write."""

from __future__ import annotations

import ctypes
import fcntl
import glob
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from fovea.command import FULL, UserError

AT_FDCWD, RENAME_EXCHANGE = -100, 2  # of Linux's renameat2


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success it is synced and takes `path`'s place.

    The temporary file lies in the same folder because a rename is atomic only within a file
    system. On an exception it is removed and `path` is left as it was.
    """
    path = Path(path)
    _check_held(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        with open(temporary, "rb") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
        sync_folder(path.parent)
    except OSError as fault:
        fault.filename = fault.filename or str(path)
        raise
    finally:
        with suppress(FileNotFoundError):
            temporary.unlink()


@contextmanager
def replacing_folder(folder: str | Path) -> Iterator[Path]:
    """Yield an empty folder beside `folder`; on success it takes `folder`'s place, whole.

    On an exception it is removed and `folder` is left as it was. What a process that was killed has
    left of this is removed too.
    """
    folder = Path(folder)
    _check_held(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    for left in folder.parent.glob(f".{glob.escape(folder.name)}.*.tmp"):
        if left.is_dir() and not _is_running(left.name.split(".")[-2]):
            shutil.rmtree(left, ignore_errors=True)
    building = folder.with_name(f".{folder.name}.{os.getpid()}.tmp")
    building.mkdir()
    try:
        yield building
        if folder.exists():
            _exchange(building, folder)
        else:
            os.replace(building, folder)
        sync_folder(folder.parent)
    except OSError as fault:
        if fault.errno in FULL:  # which a copy says of the file that it reads
            fault.filename = str(folder)
        raise
    finally:
        shutil.rmtree(building, ignore_errors=True)


def _is_running(pid: str) -> bool:
    """Whether a process of this machine has this number, other than this one."""
    return pid != str(os.getpid()) and Path("/proc", pid).exists()


def _exchange(one: Path, other: Path) -> None:
    """Let two folders of a file system take each other's place, in one step where it can do so."""
    rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if rename and not rename(AT_FDCWD, bytes(one), AT_FDCWD, bytes(other), RENAME_EXCHANGE):
        return
    beside = one.with_suffix(".old")
    os.replace(other, beside)
    os.replace(one, other)
    os.replace(beside, one)


def sync_folder(folder: Path) -> None:
    """Make renames inside `folder` survive a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_bytes(path: str | Path, content: bytes) -> None:
    """Write `content` to `path`, atomically."""
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def write_text(path: str | Path, text: str) -> None:
    """Write `text` to `path`, atomically."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: str | Path, value: object) -> None:
    """Write `value` to `path` as indented JSON, atomically."""
    write_text(path, json.dumps(value, indent=1, ensure_ascii=False) + "\n")


def sha256(path: str | Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def exclusive(folder: str | Path, wait: bool = False) -> Iterator[int]:
    """Lock `folder` for this process; the kernel releases the lock when the process ends.

    Where another process holds the lock, raises UserError, or waits until it is free. Yields the
    lock's file descriptor: a process that is started with it holds the lock too. What is written
    into the folder meanwhile (by `replacing`, say) is refused where the folder was taken away.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / ".lock", "a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            file.seek(0)
            raise UserError(
                f"{folder} is in use by process {file.read().strip() or '?'}: "
                "wait until it ends, or give another folder"
            ) from None
        try:
            file.truncate(0)
            os.write(file.fileno(), str(os.getpid()).encode())  # at once: nothing is left to close
        except OSError as fault:
            fault.filename = str(folder)
            raise
        at, handle = os.path.abspath(folder), os.open(folder, os.O_RDONLY)
        _held[at] = handle
        try:
            yield file.fileno()
        finally:
            del _held[at]
            os.close(handle)


_held: dict[str, int] = {}
"""Folders that this process has locked, by their paths, and open, so that none is taken for one."""


def _check_held(path: Path) -> None:
    """Raises UserError where a folder that this process has locked is gone, and `path` is in it.

    To make it anew would be to go on as if what it held were there.
    """
    inside = Path(os.path.abspath(path))
    for folder, handle in _held.items():
        if inside.is_relative_to(folder) and not _is_at(folder, handle):
            raise UserError(
                f"{folder} was taken away while this command wrote to it: "
                "put it back, or run the same command again to begin anew"
            )


def _is_at(folder: str, handle: int) -> bool:
    """Whether an open folder still lies at a path."""
    try:
        return os.path.samestat(os.stat(folder), os.fstat(handle))
    except OSError:
        return False


def in_use(folder: str | Path) -> bool:
    """Whether a process holds the lock of `folder`."""
    try:
        with open(Path(folder) / ".lock") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except FileNotFoundError:
        pass
    return False


def walk(place: str | Path) -> Iterator[tuple[Path, list[str], list[str]]]:
    """`os.walk` that follows links, each folder once, in the order of names, without hidden ones.

    A link to a folder above it, which would go round for ever, leads to one that was seen.
    """
    seen: set[tuple[int, int]] = set()
    for parent, below, files in os.walk(place, followlinks=True):
        try:
            status = os.stat(parent)
        except OSError:  # it has just been taken away
            continue
        if (status.st_dev, status.st_ino) in seen:
            below.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        below[:] = sorted(name for name in below if not name.startswith("."))
        yield Path(parent), below, files
