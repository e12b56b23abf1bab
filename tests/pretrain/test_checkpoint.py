"""A checkpoint is whole or passed over, and loading one runs no code."""

from __future__ import annotations

import logging
import os
import pickle
from pathlib import Path

import pytest
import torch

from fovea.pretrain.training.checkpoint import VerifiedCheckpointIO, newest


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for step in (100, 200, 300):
        path = tmp_path / f"step-{step:09d}.ckpt"
        VerifiedCheckpointIO().save_checkpoint({"step": step, "w": torch.ones(99)}, path)
    return tmp_path


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


HARMS = {
    "truncated": lambda path: os.truncate(path, 100),
    "emptied": lambda path: os.truncate(path, 0),
    "a flipped bit": flip,
    "no hash": lambda path: Path(f"{path}.sha256").unlink(),
    "an empty hash": lambda path: os.truncate(f"{path}.sha256", 0),
}


def test_the_newest_is_taken(folder: Path) -> None:
    assert VerifiedCheckpointIO().load_checkpoint(newest(folder))["step"] == 300


@pytest.mark.parametrize("harm", HARMS)
def test_a_damaged_one_is_passed_over_and_named(
    harm: str, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    HARMS[harm](folder / "step-000000300.ckpt")
    with caplog.at_level(logging.WARNING):
        assert newest(folder).name == "step-000000200.ckpt"
    assert "step-000000300.ckpt does not match its SHA-256" in caplog.text


def test_none_is_none(tmp_path: Path) -> None:
    assert newest(tmp_path / "nowhere") is None


def test_no_temporary_file_is_left(folder: Path) -> None:
    assert len(list(folder.iterdir())) == 6
    VerifiedCheckpointIO().remove_checkpoint(folder / "step-000000100.ckpt")
    assert len(list(folder.iterdir())) == 4


def test_a_pickled_gadget_is_refused(folder: Path, tmp_path: Path) -> None:
    canary = tmp_path / "canary"

    class Bomb:
        def __reduce__(self):
            return Path.touch, (canary,)

    path = folder / "step-000000400.ckpt"
    torch.save({"state_dict": Bomb()}, path)
    with pytest.raises(pickle.UnpicklingError):
        VerifiedCheckpointIO().load_checkpoint(path)
    assert not canary.exists()
