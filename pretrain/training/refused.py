"""Settings of the Trainer that a run cannot be made with, refused before anything is built."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pydoc import locate as imported
from typing import cast

from jsonargparse import Namespace
from lightning import Callback
from lightning.pytorch.callbacks import (
    BatchSizeFinder,
    GradientAccumulationScheduler,
    LearningRateFinder,
    StochasticWeightAveraging,
)

from fovea.command import UserError

FIXED: Mapping[str, tuple] = {
    # value: what else means the same
    "fast_dev_run": (False, 0),
    "overfit_batches": (0, 0.0),
    "barebones": (False,),
    "reload_dataloaders_every_n_epochs": (0,),
    "min_steps": (None,),
    "min_epochs": (None,),
}
"""Of every run: settings of the Trainer that would make it end elsewhere than its record says."""

SAMPLED: Mapping[str, tuple] = {
    "accumulate_grad_batches": (1,),
    "max_epochs": (-1, None),
    "limit_train_batches": (None, 1.0),
}
"""Of runs that count their own batches: each is one update, and all of them are one epoch."""

CALLBACKS: Mapping[type[Callback], str] = {
    GradientAccumulationScheduler: "it changes how many batches a step takes",
    BatchSizeFinder: "it takes steps of its own and changes the batch size",
    LearningRateFinder: "it takes steps of its own and changes the learning rate",
    StochasticWeightAveraging: "it changes the number of epochs, and a run is one",
}
"""Callbacks of Lightning's that would make a run end elsewhere than its record says, and why."""


def check_trainer(trainer: Namespace, fixed: Mapping[str, tuple]) -> None:
    """Raise UserError for a setting that is not as FIXED and `fixed` have it, or of CALLBACKS."""
    for name, allowed in {**FIXED, **fixed}.items():
        asked = trainer.get(name)
        if not any(asked is one or (type(asked) is type(one) and asked == one) for one in allowed):
            raise UserError(
                f"trainer.{name} {asked}: a run counts its steps, and this would break the count; "
                f"leave it out ({str(allowed[0]).lower()})"
            )
    for callback in listed(trainer.get("callbacks")):
        path = callback.get("class_path", "") if isinstance(callback, Mapping | Namespace) else ""
        kind = imported(path) if path else type(callback)
        for refused, why in CALLBACKS.items():
            if isinstance(kind, type) and issubclass(kind, refused):
                raise UserError(
                    f"trainer.callbacks {kind.__name__}: a run counts its steps, and {why}: leave "
                    "it out"
                )
    if str(trainer.precision) in ("bf16-true", "16-true", "transformer-engine-float16"):
        raise UserError(
            f"trainer.precision {trainer.precision}: weights are kept in single precision; give "
            "bf16-mixed, whose steps are as fast, or leave it out"
        )


def listed(asked: object) -> list:
    """What a setting of the Trainer holds, which may be one thing, several or none."""
    if not asked:
        return []
    several = isinstance(asked, Iterable) and not isinstance(asked, Mapping | Namespace)
    return list(cast(Iterable, asked)) if several else [asked]


def check_seed(seed: object) -> None:
    """Raise UserError for a seed that no stream of random numbers can be keyed by."""
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < 2**63:
        raise UserError(f"seed_everything {seed}: give a whole number from 0 to 2^63 - 1")
