"""Flipped bits and truncations, as `python -m benchmarks.faults` counts them, some of each."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

import report_samples as samples
from benchmarks.faults import storage
from fovea.pretrain.training.checkpoint import VerifiedCheckpointIO


def make(what: str, folder: Path, short: Path, small_encoder: Path) -> None:
    """Something that is kept, small."""
    if what == "shards":
        shutil.copytree(short / "breakout", folder)
    elif what == "encoder folder":
        shutil.copytree(small_encoder, folder)
    elif what == "checkpoints":
        for step in (1, 2):
            state = {"state_dict": {"weight": torch.arange(500.0) * step}, "global_step": step}
            VerifiedCheckpointIO().save_checkpoint(state, folder / f"step-{step:09d}.ckpt")
    elif what.endswith("of probes"):
        samples.run(folder, "probes")
        samples.attention(folder)
        samples.collapse(folder)
    else:
        samples.pretraining(folder, "run")


@pytest.mark.slow
@pytest.mark.parametrize("how", storage.HARMS)
@pytest.mark.parametrize("what", storage.KEPT)
def test_damage_is_named_or_changes_nothing(
    what: str, how: str, short: Path, small_encoder: Path, tmp_path: Path
) -> None:
    _, read, patterns = storage.KEPT[what]
    make(what, tmp_path / "kept", short, small_encoder)
    generator = np.random.default_rng(0)
    times = 4 if what in ("shards", "encoder folder") else 25
    assert not storage.unnamed(
        tmp_path / "kept", read, patterns, storage.HARMS[how], generator, times
    )
