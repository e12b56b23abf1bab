"""NumPy's .npz files of others: read as numbers and words, and within what a file can hold."""

from __future__ import annotations

import errno
import math
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING

from fovea.foreign import open_file
from fovea.memory import free_memory

if TYPE_CHECKING:
    import numpy as np

METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
"""How NumPy writes them; others of a zip's can grow without bounds when they are read."""
GROWTH = 1032
"""Bytes that one byte of deflate can become, at most."""
RECORD = 46
"""Bytes of what a zip's list says of a member, at least, beside its name."""
KINDS = "biufUS"
"""Kinds of arrays, in NumPy's letters: numbers and words."""


def read_npz(path: str | Path, names: Iterable[str] | None = None) -> dict[str, np.ndarray]:
    """The arrays of these names that a file holds, or all of them; they cannot be written to.

    What the file says of their sizes is compared with its own before memory is taken, and the
    checksum of each array with its bytes.

    Raises ValueError, with what is wrong, for a file that is damaged, claims more than it can hold
    or than memory does, or holds what is neither numbers nor words, and for a pipe or a device;
    OSError where it cannot be read.
    """
    wanted = None if names is None else set(names)
    with _members(path) as members:
        return {
            name: _array(content, size)
            for name, (content, size) in members.items()
            if wanted is None or name in wanted
        }


def npz_names(path: str | Path) -> set[str]:
    """The names of the arrays that a file holds. Raises as `read_npz` does."""
    with _members(path) as members:
        return set(members)


@contextmanager
def _members(path: str | Path) -> Iterator[dict[str, tuple[IO[bytes], int]]]:
    """The arrays of a file, as opened files, and how many bytes each is; what fails is damage."""
    with open_file(path) as file, ExitStack() as opened:
        try:
            archive = opened.enter_context(zipfile.ZipFile(file))
            members = archive.infolist()
            _check_sizes(members, file.seek(0, 2))
            yield {  # all are opened: a flipped bit may have given one a name that nobody wants
                member.filename.removesuffix(".npy"): (
                    opened.enter_context(archive.open(member)),
                    member.file_size,
                )
                for member in members
            }
        except Exception as fault:  # zipfile, zlib and NumPy's parser raise a dozen kinds
            if isinstance(fault, OSError) and fault.errno != errno.EINVAL:
                raise  # of the disk; EINVAL is a place before the file's beginning
            said = " ".join(str(fault).split())
            raise ValueError(said or type(fault).__name__) from None


def _check_sizes(members: list[zipfile.ZipInfo], held: int) -> None:
    """Raise ValueError for what a file of `held` bytes cannot hold, or memory."""
    for member in members:
        if member.compress_type not in METHODS:
            raise ValueError(f"{member.filename} is packed in a way that NumPy does not write")
        if member.file_size > GROWTH * (member.compress_size + 1):
            raise ValueError(f"{member.filename} claims more bytes than its own can become")
        if len(member.extra) + len(member.comment) >= RECORD:
            raise ValueError(f"what is said of {member.filename} may hide other arrays")
    if sum(member.compress_size for member in members) > held:
        raise ValueError("its arrays claim more bytes than the file has")
    if len({member.filename for member in members}) < len(members):
        raise ValueError("two of its arrays have one name")
    if (claimed := sum(member.file_size for member in members)) > free_memory():
        raise ValueError(f"it claims to hold {claimed:,} bytes, more than memory does")


def _array(content: IO[bytes], size: int) -> np.ndarray:
    """An array of a member of `size` bytes. Raises ValueError, and what NumPy's parser does."""
    import numpy as np

    version = np.lib.format.read_magic(content)
    read = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }[version]
    shape, by_column, dtype = read(content)
    if dtype.kind not in KINDS:
        raise ValueError(f"an array is of {dtype}, neither numbers nor words")
    if min(shape, default=0) < 0 or math.prod(shape) * dtype.itemsize != size - content.tell():
        raise ValueError(f"an array claims to be {shape} of {dtype}, and has other bytes")
    found = np.frombuffer(content.read(), dtype) if math.prod(shape) else np.empty(0, dtype)
    if dtype.kind == "U":
        "".join(found.tolist()).encode()  # raises for what is no letter
    return found.reshape(shape, order="F" if by_column else "C")
