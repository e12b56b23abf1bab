"""Files of arrays by others: what is read is what was written, or they are refused."""

from __future__ import annotations

import io
import os
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fovea.memory import free_memory
from fovea.npz import npz_names, read_npz

ARRAYS = {
    "screen": np.random.default_rng(0).integers(0, 256, (3, 12, 12), dtype=np.uint8),
    "action": np.arange(3),
    "reward": np.zeros(3, np.float32),
    "by_column": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    "none": np.zeros((0, 4)),
    "game": np.array("pong"),
}


def content(save: Callable = np.savez) -> bytes:
    file = io.BytesIO()
    save(file, **ARRAYS)
    return file.getvalue()


PLAIN, PACKED = content(), content(np.savez_compressed)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("npz") / "mine.npz"


def as_written(path: Path) -> bool:
    """Whether a file holds ARRAYS; False where it is refused."""
    said, found = "", {}
    try:
        found = read_npz(path)
    except ValueError as refused:
        said = str(refused) or "nothing"
    assert "\n" not in said
    if said:
        return False
    assert found.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        assert found[name].dtype == array.dtype
        np.testing.assert_array_equal(found[name], array)
    return True


@pytest.mark.parametrize("whole", [PLAIN, PACKED])
def test_what_was_saved_comes_back(whole: bytes, path: Path) -> None:
    path.write_bytes(whole)
    assert as_written(path)
    assert read_npz(path, ["action", "missing"]).keys() == {"action"}
    assert npz_names(path) == set(ARRAYS)


@pytest.mark.slow
@given(st.sampled_from([PLAIN, PACKED]), st.data())
def test_after_a_flipped_bit_it_is_refused_or_as_it_was(
    path: Path, whole: bytes, data: st.DataObject
) -> None:
    """Half of the places are in its end, where the list of arrays is."""
    ends = data.draw(st.booleans())
    place = data.draw(st.integers(len(whole) - 600 if ends else 0, len(whole) - 1))
    flipped = bytearray(whole)
    flipped[place] ^= 1 << data.draw(st.integers(0, 7))
    path.write_bytes(flipped)
    as_written(path)


@given(st.sampled_from([PLAIN, PACKED]), st.floats(0, 1, exclude_max=True))
@example(PLAIN, 0.0)
def test_a_file_that_ends_early_is_refused(path: Path, whole: bytes, share: float) -> None:
    path.write_bytes(whole[: int(share * len(whole))])
    assert not as_written(path)


@given(st.binary(max_size=200))
def test_any_bytes_are_refused(path: Path, said: bytes) -> None:
    path.write_bytes(said)
    assert not as_written(path)


def packed(path: Path, *members: bytes, method: int = zipfile.ZIP_STORED) -> None:
    with zipfile.ZipFile(path, "w", method) as archive:
        for number, member in enumerate(members):
            archive.writestr(f"{number}.npy", member)


def header(text: str) -> bytes:
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode()


SHAPES = {
    "larger than memory": "(1152921504606846976,)",
    "more than there is": "(9,)",
    "less than there is": "(7,)",
    "negative": "(-8,)",
    "product of negatives": "(-2, -4)",
    "not numbers": "('8',)",
    "no shape": "8",
}


@pytest.mark.parametrize("shape", SHAPES)
def test_a_shape_that_is_not_that_of_its_bytes_is_refused(shape: str, path: Path) -> None:
    text = f"{{'descr': '|u1', 'fortran_order': False, 'shape': {SHAPES[shape]}}}"
    packed(path, header(text) + bytes(8))
    assert not as_written(path)


@pytest.mark.parametrize(
    "array", [np.array([None]), np.zeros(2, "i4,f4"), np.zeros(2, "M8[s]"), np.zeros(2, complex)]
)
def test_what_is_neither_numbers_nor_words_is_refused(array: np.ndarray, path: Path) -> None:
    np.savez(path, array)
    with pytest.raises(ValueError, match="neither numbers nor words"):
        read_npz(path)


def test_words_of_what_is_no_letter_are_refused(path: Path) -> None:
    for code in (0xD800, 0x110000):
        np.savez(path, np.array([code], np.uint32).view("U1"))
        assert not as_written(path)


def test_bombs_are_refused_before_they_grow(path: Path) -> None:
    """A megabyte of zeros in forty bytes, one content under many names, and sizes that are lies."""
    array = io.BytesIO()
    np.save(array, np.zeros(2**20, np.uint8))
    packed(path, array.getvalue(), method=zipfile.ZIP_BZIP2)
    with pytest.raises(ValueError, match="packed in a way that NumPy does not write"):
        read_npz(path)

    packed(path, array.getvalue(), method=zipfile.ZIP_DEFLATED)
    once = path.read_bytes()
    list_begins = once.rindex(b"PK\x01\x02")
    entry, end = once[list_begins:-22], bytearray(once[-22:])
    entries = b"".join(entry.replace(b"0.npy", b"%d.npy" % number) for number in range(9))
    end[8:10] = end[10:12] = (9).to_bytes(2, "little")
    end[12:16] = len(entries).to_bytes(4, "little")
    path.write_bytes(once[:list_begins] + entries + end)
    with pytest.raises(ValueError, match="claim more bytes than the file has"):
        read_npz(path)

    larger = bytearray(once)
    larger[list_begins + 24 : list_begins + 28] = (2**31).to_bytes(4, "little")
    path.write_bytes(larger)
    with pytest.raises(ValueError, match="claims more bytes than its own can become"):
        read_npz(path)


def test_what_memory_does_not_hold_is_refused(path: Path) -> None:
    """Of a file with holes: there is nothing on the disk."""
    size = free_memory() + 2**30
    with zipfile.ZipFile(path, "w", allowZip64=True) as archive:
        archive.writestr("0.npy", b"")
    with open(path, "r+b") as file:
        whole = file.read()
        at = whole.rindex(b"PK\x01\x02")
        entry = bytearray(whole[at:-22])
        entry[20:28] = b"\xff" * 8
        entry[30:32] = (20).to_bytes(2, "little")
        entry += b"\x01\x00\x10\x00" + size.to_bytes(8, "little") * 2
        end = bytearray(whole[-22:])
        end[12:16] = len(entry).to_bytes(4, "little")
        end[16:20] = b"\xff" * 4
        begins = at + size
        file.seek(begins)
        wide = b"PK\x06\x06" + (44).to_bytes(8, "little") + bytes(4) + bytes(8)
        wide += b"".join(n.to_bytes(8, "little") for n in (1, 1, len(entry), begins))
        link = b"PK\x06\x07" + bytes(4) + (begins + len(entry)).to_bytes(8, "little")
        file.write(entry + wide + link + (1).to_bytes(4, "little") + end)
    with pytest.raises(ValueError, match="more than memory does"):
        read_npz(path)
    path.unlink()


def test_a_pipe_is_refused_and_a_missing_file_is_missing(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.npz")
    with pytest.raises(ValueError, match="is a pipe"):
        read_npz(tmp_path / "pipe.npz")
    with pytest.raises(FileNotFoundError):
        read_npz(tmp_path / "missing.npz")
