"""Lightning checkpoints that are whole or absent, each with its SHA-256 beside it.

Lightning stages its own in the system's temporary folder; where that is another file system a
kill in the middle leaves a torn file under the final name.
"""

from __future__ import annotations

import logging
import pickle
import re
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins.io import TorchCheckpointIO
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import ModelCheckpoint

from fovea.command import UserError
from fovea.files import replacing, sha256, write_text

log = logging.getLogger("fovea")

NAME = "step-{step:09d}"
KEPT = 2  # newest checkpoints of a run


class VerifiedCheckpointIO(TorchCheckpointIO):
    """Write beside the target, sync, rename, then write the hash; load only what plain data is."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path, storage_options=None) -> None:
        checkpoint = plain_numbers(checkpoint)
        with replacing(path) as temporary:
            with open(temporary, "wb") as file:
                try:
                    torch.save(checkpoint, file)
                except RuntimeError as fault:
                    # torch covers what a full disk says with a complaint of its own.
                    raise fault.__context__ or fault from None
            _check_plain(temporary)
            digest = sha256(temporary)
        write_text(_sums(path), f"{digest}  {Path(path).name}\n")

    def load_checkpoint(self, path, map_location=None, weights_only=None) -> dict[str, Any]:
        return read(path)

    def remove_checkpoint(self, path) -> None:
        # The hash goes first: what is left half-removed does not verify.
        _sums(path).unlink(missing_ok=True)
        Path(path).unlink(missing_ok=True)


def read(path: str | Path) -> dict[str, Any]:
    """What a checkpoint holds, on the CPU.

    Mapped, not read: a replay lies beside the weights and may be larger than memory.
    """
    return torch.load(path, map_location="cpu", weights_only=True, mmap=True)


def plain_numbers(value: Any) -> Any:
    """A checkpoint in place, with Python's own numbers where there are subclasses of them.

    A rate whose range a config checks is such a one, and is in the optimiser's state.
    """
    if isinstance(value, dict):
        for key, inner in value.items():
            if (plain := plain_numbers(inner)) is not inner:
                value[key] = plain
    elif type(value) is list:
        value[:] = map(plain_numbers, value)
    elif type(value) is tuple:
        return tuple(map(plain_numbers, value))
    elif isinstance(value, int | float) and type(value) not in (bool, int, float):
        return int(value) if isinstance(value, int) else float(value)
    return value


def _check_plain(path: Path) -> None:
    """Raise UserError for a checkpoint that could not be gone on from."""
    try:
        read(path)
    except pickle.UnpicklingError as fault:
        kind = re.search(r"GLOBAL (\S+)", str(fault))
        raise UserError(
            f"a checkpoint would hold a {kind[1] if kind else 'thing'} that is no plain data, and "
            "could not be read again: let the callback whose it is keep numbers, texts and tensors"
        ) from None


def newest(folder: str | Path) -> Path | None:
    """The newest checkpoint in `folder` that matches its hash, or None where there is none.

    One that does not is left alone and named in a warning.
    """
    for path in sorted(Path(folder).glob("step-*.ckpt"), reverse=True):
        if _sums(path).exists() and _matches(path):
            return path
        log.warning("%s does not match its SHA-256 and is passed over for an older one", path)
    return None


class AfterValidation(ModelCheckpoint):
    """Saves a step that ends with a validation after that, and others as Lightning does.

    Lightning saves before it validates. A run that was killed between both went on without that
    step's held-out numbers: going on from a checkpoint, Lightning takes them for done.
    """

    waits = False

    def on_train_batch_end(self, trainer, pl_module, *args) -> None:
        self.waits = is_validated(trainer)
        if not self.waits:
            super().on_train_batch_end(trainer, pl_module, *args)

    def on_validation_end(self, trainer, pl_module) -> None:
        if self.waits:
            self.waits = False
            super().on_train_batch_end(trainer, pl_module, None, None, 0)


def is_validated(trainer: Trainer) -> bool:
    """Whether the step that is ending ends with a validation, which Lightning has yet to begin."""
    loop = trainer.fit_loop
    return loop.epoch_loop._should_check_val_fx(loop._data_fetcher)


def keep_newest(folder: str | Path, every: int) -> ModelCheckpoint:
    """A callback that saves every `every` steps into `folder` and keeps the newest."""
    return AfterValidation(
        dirpath=folder,
        filename=NAME,
        auto_insert_metric_name=False,
        every_n_train_steps=every,
        monitor="step",
        mode="max",
        save_top_k=KEPT,
        enable_version_counter=False,
    )


def verified(path: str | Path, asked: str = "ckpt_path") -> Path:
    """The checkpoint that was asked for by its path, with a setting of this name.

    Raises UserError where it is missing, or does not match the hash beside it.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{asked} {path}: there is no such file")
    if _sums(path).exists() and not _matches(path):
        raise UserError(
            f"{asked} {path} does not match {_sums(path).name}: take another checkpoint"
        )
    return path


def digest(path: str | Path) -> str:
    """The SHA-256 that lies beside a checkpoint; where none does, it is computed."""
    return _said(path) or sha256(path)


def _sums(path: str | Path) -> Path:
    return Path(f"{path}.sha256")


def _said(path: str | Path) -> str:
    """The hash that lies beside a checkpoint; empty where none does, or one of nothing."""
    try:
        words = _sums(path).read_text(encoding="ascii", errors="replace").split()
    except FileNotFoundError:
        return ""
    return words[0] if words else ""


def _matches(path: Path) -> bool:
    return _said(path) == sha256(path)


def remove_older(folder: str | Path, keep: int = KEPT) -> None:
    """Remove all checkpoints of a run but the newest `keep`."""
    for path in sorted(Path(folder).glob("step-*.ckpt"))[:-keep]:
        VerifiedCheckpointIO().remove_checkpoint(path)
