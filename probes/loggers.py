"""What probes measured, as tables and pictures of those of Lightning's loggers that show such."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from lightning.pytorch.loggers import Logger, MLFlowLogger, TensorBoardLogger, WandbLogger

from fovea.heat import overlay
from fovea.results import Measured
from fovea.tables import Table

PICTURED = {"screens", "rollout"}
"""The arrays of a probe that are shown as a picture: screens with what is attended to over them."""


def show(logger: Logger, name: str, measured: Measured, step: int) -> None:
    """Send a probe's tables and pictures as NAME/..., to a logger that shows such."""
    for kind, send in SENDERS.items():
        if isinstance(logger, kind):
            pictures = {}
            if measured.arrays.keys() >= PICTURED:
                pictures["attention"] = strip(measured.arrays)
            send(logger, name, measured.tables, pictures, step)


def strip(arrays: Mapping[str, np.ndarray]) -> np.ndarray:
    """All screens (M, H, W) with their rollout (M, gh, gw) over them: (H, M * W, 3) uint8."""
    strongest = arrays["rollout"].max(axis=(1, 2), keepdims=True)
    heat = arrays["rollout"] / np.where(strongest > 0, strongest, 1)
    return np.concatenate(list(map(overlay, arrays["screens"], heat)), axis=1)


Pictures = Mapping[str, np.ndarray]


def _tensorboard(
    logger: TensorBoardLogger, name: str, tables: list[Table], pictures: Pictures, step: int
) -> None:
    for table in tables:
        logger.experiment.add_text(f"{name}/{table.name}", table.markdown(), step)
    for what, picture in pictures.items():
        logger.experiment.add_image(f"{name}/{what}", picture, step, dataformats="HWC")


def _wandb(
    logger: WandbLogger, name: str, tables: list[Table], pictures: Pictures, step: int
) -> None:
    for table in tables:
        logger.log_table(f"{name}/{table.name}", table.columns, table.rows, step=step)
    for what, picture in pictures.items():
        logger.log_image(f"{name}/{what}", [picture], step=step)


def _mlflow(
    logger: MLFlowLogger, name: str, tables: list[Table], pictures: Pictures, step: int
) -> None:
    for table in tables:
        file = f"{name}/{table.name}/step-{step}.csv"
        logger.experiment.log_text(logger.run_id, table.csv(), file)
    for what, picture in pictures.items():
        file = f"{name}/{what}/step-{step}.png"
        logger.experiment.log_image(logger.run_id, picture, file)


SENDERS = {TensorBoardLogger: _tensorboard, WandbLogger: _wandb, MLFlowLogger: _mlflow}
