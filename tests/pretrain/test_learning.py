"""Every shipped objective learns: its held-out loss falls on real recordings within seconds."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from jsonargparse import ArgumentParser
from lightning import Callback, LightningModule, Trainer

from fovea.metrics import LOSS, held_out
from fovea.pretrain.data import Windows
from fovea.pretrain.objectives.base import Objective

CONFIGS = sorted((Path(__file__).parents[2] / "pretrain" / "configs").glob("*.yaml"))
EXEMPT = {
    "random_labels": "a control: there is nothing to learn",
    "tov_vicreg_paper": "the published settings, which are not tuned",
    "vicreg_10_10_10": "the published coefficients, which are not tuned",
}
STEPS, BATCH = 60, 32


def small(config: Path) -> Objective:
    """The objective of a config with four patches a screen, narrow heads and a short warm-up."""
    model = yaml.safe_load(config.read_text())["model"]
    for name, value in model["init_args"].items():
        if isinstance(value, int) and value > 128:  # plain numbers of this size are widths
            model["init_args"][name] = 128
    model["init_args"]["encoder"]["patch"] = 42
    model["init_args"]["optimisation"] |= {"warmup": 5, "lr": 0.001}
    parser = ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(Objective, "model")
    return parser.instantiate_classes(parser.parse_object({"model": model})).model


class Kept(Callback):
    """Keeps the held-out loss of every validation."""

    def __init__(self):
        self.losses: list[float] = []

    def on_validation_end(self, trainer: Trainer, module: LightningModule) -> None:
        self.losses.append(float(trainer.callback_metrics[held_out(LOSS)]))


QUICK = ("vicreg",)
"""Whose learning every `make test` looks at; that of the others is left to `make evidence`."""


@pytest.mark.slow
@pytest.mark.parametrize(
    "config",
    [
        pytest.param(one, marks=() if one.stem in QUICK else pytest.mark.evidence, id=one.stem)
        for one in CONFIGS
        if one.stem not in EXEMPT
    ],
)
def test_the_held_out_loss_falls(config: Path, recordings: Path) -> None:
    """From the first quarter on, when batch norms have seen what features are like."""
    kept = Kept()
    trainer = Trainer(
        accelerator="cpu", max_steps=STEPS, callbacks=[kept], logger=False,
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
        val_check_interval=STEPS // 4, check_val_every_n_epoch=None, num_sanity_val_steps=0,
    )  # fmt: skip
    trainer.fit(small(config), Windows([str(recordings)], batch_size=BATCH, held_out=4))
    assert len(kept.losses) == 4
    assert kept.losses[-1] < 0.997 * kept.losses[0]  # temporal order takes longest to begin
