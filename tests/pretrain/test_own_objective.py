"""Mistakes in an objective of one's own are told in a line that names its class and the fix."""

from __future__ import annotations

from pathlib import Path

import lightning
import numpy as np
import pytest

from fovea.atari.import_numpy import import_numpy
from fovea.command import UserError
from fovea.pretrain import Objective, Windows
from fovea.pretrain.encoders.vit import Shape


class Right(Objective):
    offsets = (0, 4)

    def views(self, windows, draws, **labels):
        return windows.unbind(1)

    def losses(self, now, later):
        first, second = (features.summary for features in self.encode(now, later))
        return {"slowness": (first - second).square().mean()}


class NoTuple(Right):
    def views(self, windows, draws):
        return windows[:, 0]


class NoName(Right):
    def losses(self, now, later):
        return super().losses(now, later)["slowness"]


class NoMean(Right):
    def losses(self, now, later):
        first, second = (features.summary for features in self.encode(now, later))
        return {"slowness": (first - second).square()}


class NoLosses(Right):
    def losses(self, now, later):
        return {}


class Detached(Right):
    def losses(self, now, later):
        return {name: loss.detach() for name, loss in super().losses(now, later).items()}


class Unknown(Right):
    labels = ("rewards",)


class NoKeyword(NoTuple):
    labels = ("action",)


class NeedsMemory(Right):
    labels = ("ram",)


def train(kind: type[Objective], recordings: Path, folder: Path) -> None:
    trainer = lightning.Trainer(
        max_steps=1, accelerator="cpu", logger=False, default_root_dir=folder,
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
        limit_val_batches=0,
    )  # fmt: skip
    data = Windows([str(recordings)], batch_size=4)
    trainer.fit(kind(encoder=Shape(size="vit_micro", patch=42)), data)


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (NoTuple, "NoTuple.views gave Tensor: return a tuple of what losses takes"),
        (NoName, r"NoName.losses gave Tensor \(\): return tensors of one number by name"),
        (NoMean, r"NoMean.losses gave \{'slowness': 'Tensor \(4, \d+\)'\}: return tensors of one"),
        (NoLosses, "NoLosses.losses gave dict: return tensors"),
        (Detached, "Detached.losses gave nothing that depends on the weights: take out"),
        (NoKeyword, "NoKeyword.views takes no action, which NoKeyword.labels names: add it"),
        (Unknown, "Unknown.labels: 'rewards': did you mean 'reward'"),
    ],
)
def test_a_mistake_is_named_with_its_class(
    kind: type[Objective], message: str, recordings: Path, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=message):
        train(kind, recordings, tmp_path)


def test_a_label_that_was_imported_without_is_refused_and_no_zeros_are_learned_from(
    recordings: Path, tmp_path: Path
) -> None:
    rng = np.random.default_rng(0)
    (tmp_path / "mine").mkdir()
    for number in range(4):
        screen = rng.integers(0, 256, (30, 84, 84), dtype=np.uint8)
        action, reward = rng.integers(0, 6, 30), np.zeros(30)
        np.savez(tmp_path / "mine" / f"{number}.npz", screen=screen, action=action, reward=reward)
    import_numpy(tmp_path / "mine", tmp_path / "imported", game="pong")
    train(Right, tmp_path / "imported", tmp_path)
    needs = "NeedsMemory needs the label ram, and recordings of pong among .*imported were imported"
    with pytest.raises(UserError, match=needs):
        train(NeedsMemory, tmp_path / "imported", tmp_path)
    train(NeedsMemory, recordings, tmp_path)
