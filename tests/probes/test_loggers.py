"""Loggers of Lightning show the tables and pictures of probes: each the real one, read back."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from lightning.pytorch.loggers import (
    CSVLogger,
    Logger,
    MLFlowLogger,
    TensorBoardLogger,
    WandbLogger,
)

from fovea.probes.loggers import show, strip
from fovea.results import Measured
from fovea.tables import Table

TABLE = Table("heads", "Heads", ["game", "entropy"], [["pong", 0.123456], ["breakout", None]])
RNG = np.random.default_rng(0)
MEASURED = Measured(
    [TABLE],
    {
        "screens": RNG.integers(0, 256, (3, 84, 84), dtype=np.uint8),
        "rollout": RNG.random((3, 6, 6), dtype=np.float32),
    },
)


def tensorboard(folder: Path) -> tuple[Logger, Callable[[], tuple[str, np.ndarray]]]:
    logger = TensorBoardLogger(folder, name="", version="")

    def read() -> tuple[str, np.ndarray]:
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

        logger.experiment.flush()
        found = EventAccumulator(str(folder))
        found.Reload()
        (picture,) = found.Images("probe/attention/attention")
        (table,) = found.Tensors("probe/attention/heads/text_summary")
        assert (picture.step, table.step) == (7, 7)
        return table.tensor_proto.string_val[0].decode(), decoded(picture.encoded_image_string)

    return logger, read


def wandb(folder: Path) -> tuple[Logger, Callable[[], tuple[str, np.ndarray]]]:
    pytest.importorskip("wandb")
    logger = WandbLogger(save_dir=folder, offline=True)

    def read() -> tuple[str, np.ndarray]:
        logger.experiment.finish()
        (table,) = folder.rglob("heads_*.table.json")
        (picture,) = folder.rglob("attention_*.png")
        return table.read_text(), decoded(picture.read_bytes())

    return logger, read


def mlflow(folder: Path) -> tuple[Logger, Callable[[], tuple[str, np.ndarray]]]:
    pytest.importorskip("mlflow")
    logger = MLFlowLogger(tracking_uri=folder.as_uri())

    def read() -> tuple[str, np.ndarray]:
        (table,) = folder.rglob("probe/attention/heads/step-7.csv")
        (picture,) = folder.rglob("probe/attention/attention/step-7.png")
        return table.read_text(), decoded(picture.read_bytes())

    return logger, read


def decoded(png: bytes) -> np.ndarray:
    """(H, W, 3) uint8, RGB."""
    return cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR)[..., ::-1]


@pytest.mark.parametrize(
    "kind", [tensorboard, *(pytest.param(k, marks=pytest.mark.evidence) for k in (wandb, mlflow))]
)
def test_tables_and_pictures_are_shown(
    kind: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")  # which MLflow 3 wants to be asked for
    logger, read = kind(tmp_path)
    show(logger, "probe/attention", MEASURED, 7)
    text, picture = read()
    assert "pong" in text
    assert "0.1235" in text or "0.123456" in text
    np.testing.assert_array_equal(picture, strip(MEASURED.arrays))


def test_other_loggers_are_left_alone(tmp_path: Path) -> None:
    show(CSVLogger(tmp_path), "probe/attention", MEASURED, 7)
    assert not list(tmp_path.iterdir())


def test_a_strip_has_the_screens_side_by_side_brightest_where_most_is_attended_to() -> None:
    screens, maps = np.zeros((2, 84, 84), np.uint8), np.zeros((2, 2, 2), np.float32)
    maps[0, 0, 0], maps[1, 1, 1] = 0.02, 0.5  # each is scaled by its own strongest
    shown = strip({"screens": screens, "rollout": maps}).sum(-1).astype(int)
    assert shown.shape == (84, 168)
    assert np.unravel_index(shown[:, :84].argmax(), (84, 84)) < (42, 42)
    assert shown[0, 0] == shown[-1, -1] == shown.max()
    assert shown[-1, 0] == shown[0, -1] == shown.min()
