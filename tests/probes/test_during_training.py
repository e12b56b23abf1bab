"""Probes while an encoder is pretrained: logged, and the run is the same bit for bit."""

from __future__ import annotations

import hashlib
import math
from pathlib import Path

import pytest
import torch

from fovea.command import UserError
from fovea.metrics import read_metrics
from fovea.pretrain.training.fit import fit
from fovea.probes import DuringTraining
from fovea.probes.features import Drawn, draw

TINY = ("--data.batch_size", "4", "--trainer.max_steps", "3", "--trainer.accelerator", "cpu",
        "--model.encoder.patch", "42", "--trainer.log_every_n_steps", "1")  # fmt: skip


def weights(folder: Path) -> str:
    return hashlib.sha256((folder / "encoder" / "model.safetensors").read_bytes()).hexdigest()


@pytest.mark.slow
def test_a_run_is_the_same_with_and_without(recordings: Path, tmp_path: Path) -> None:
    plain, watched = tmp_path / "plain", tmp_path / "watched"
    shared = ["-c", "vicreg", "--data.recordings", f"[{recordings}]", *TINY]
    fit([*shared, "--run", str(plain)])
    fit([*shared, "--run", str(watched),
         "--trainer.callbacks+=fovea.probes.DuringTraining",
         f"--trainer.callbacks.recordings=[{recordings}]",
         "--trainer.callbacks.every=2", "--trainer.callbacks.samples=60",
         "--trainer.callbacks.probes=[collapse, sparsity, value]"])  # fmt: skip
    assert weights(plain) == weights(watched)
    before, after = (read_metrics(folder / "metrics.csv") for folder in (plain, watched))
    timed = {name for name in before if "per_second" in name}
    for name in before.keys() - timed:
        assert before[name].steps.tolist() == after[name].steps.tolist()
        assert before[name].values.tolist() == after[name].values.tolist(), name
    new = set(after) - set(before)
    looked = {"probe/collapse/rankme", "probe/sparsity/hoyer", "probe/value/r2", "probe/state/r2"}
    assert new == looked
    for name in new:  # after steps 2 and 3, numbered from 0
        assert after[name].steps.tolist() == [1, 2]
        assert all(map(math.isfinite, after[name].values))
    assert after["probe/collapse/rankme"].values[0] > 1


def test_looking_leaves_an_encoder_and_the_random_numbers_as_they_are(
    encoder, drawn: dict[str, list[Drawn]], frames
) -> None:
    callback = DuringTraining([], probes=["collapse"])
    callback.chosen = {}
    callback.drawn = draw(frames, 2, samples=60, seed=0)
    encoder.train()
    before = {name: of.clone() for name, of in encoder.state_dict().items()}
    state = torch.random.get_rng_state()
    values, found = callback.measure(encoder)
    assert set(values) == {"probe/state/r2"}
    assert not found
    assert torch.equal(torch.random.get_rng_state(), state)
    assert all(torch.equal(of, before[name]) for name, of in encoder.state_dict().items())
    assert all(module.training for module in encoder.modules())
    assert all(p.grad is None for p in encoder.parameters())


def test_mistakes_are_named() -> None:
    with pytest.raises(UserError, match="every 0"):
        DuringTraining([], every=0)
