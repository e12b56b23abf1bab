"""Probes while an encoder is pretrained: logged, and the run is the same bit for bit."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from fovea import probes
from fovea.command import UserError
from fovea.metrics import read_metrics
from fovea.pretrain.training.fit import fit
from fovea.probes import DuringTraining
from fovea.probes.features import Drawn, draw
from fovea.tables import Table

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


Read = Callable[[Table], tuple[object, object, bytes]]
"""What a logger holds of a table, what it is to hold, and its picture as PNG."""


def tensorboard(folder: Path) -> tuple[list[str], Read]:
    def read(table: Table) -> tuple[object, object, bytes]:
        (events,) = folder.rglob("events.*")
        found = EventAccumulator(str(events)).Reload()
        (text,) = found.Tensors(f"probe/attention/{table.name}/text_summary")
        (picture,) = found.Images("probe/attention/attention")
        assert (text.step, picture.step) == (1, 1)
        shown = text.tensor_proto.string_val[0].decode()
        return shown, table.markdown(), picture.encoded_image_string

    return ["TensorBoardLogger", f"save_dir={folder}"], read


def wandb(folder: Path) -> tuple[list[str], Read]:
    package = pytest.importorskip("wandb")

    def read(table: Table) -> tuple[object, object, bytes]:
        package.finish()
        (text,) = folder.rglob(f"probe/attention/{table.name}_*.table.json")
        (picture,) = folder.rglob("probe/attention/attention_*.png")
        shown = json.loads(text.read_text())
        expected = {"columns": table.columns, "data": table.rows}
        return {name: shown[name] for name in expected}, expected, picture.read_bytes()

    return ["WandbLogger", "offline=true", f"save_dir={folder}"], read


def mlflow(folder: Path) -> tuple[list[str], Read]:
    for name in ("mlflow", "sqlalchemy", "alembic"):
        pytest.importorskip(name)

    def read(table: Table) -> tuple[object, object, bytes]:
        (text,) = folder.rglob(f"probe/attention/{table.name}/step-1.csv")
        (picture,) = folder.rglob("probe/attention/attention/step-1.png")
        return text.read_text(), table.csv(), picture.read_bytes()

    # MLflow's folders hold no metric `loss` beside `loss/invariance`; its databases do.
    where = [f"tracking_uri=sqlite:///{folder}/runs.db", f"artifact_location={folder.as_uri()}"]
    return ["MLFlowLogger", *where], read


@pytest.mark.slow
@pytest.mark.parametrize(
    "kind", [tensorboard, *(pytest.param(k, marks=pytest.mark.evidence) for k in (wandb, mlflow))]
)
def test_a_logger_of_the_users_shows_the_tables_and_the_picture_of_the_encoder(
    kind: Callable[[Path], tuple[list[str], Read]], recordings: Path, tmp_path: Path
) -> None:
    logs, pong = tmp_path / "logs", recordings / "pong"
    logs.mkdir()
    (logger, *settings), read = kind(logs)
    fit(["-c", "vicreg", f"--data.recordings=[{pong}]", *TINY, "--trainer.max_steps", "2",
         "--run", str(tmp_path / "run"),
         "--trainer.callbacks+=fovea.probes.DuringTraining",
         f"--trainer.callbacks.recordings=[{pong}]",
         "--trainer.callbacks.every=2", "--trainer.callbacks.samples=60",
         "--trainer.callbacks.probes=[attention]", "--trainer.callbacks.memory=false",
         f"--trainer.logger+={logger}",
         *(f"--trainer.logger.{setting}" for setting in settings)])  # fmt: skip
    table = probes.measure(
        tmp_path / "run", pong, probe="attention", samples=60, accelerator="cpu"
    )["heads"]
    shown, expected, png = read(table)
    assert table.rows
    assert shown == expected
    picture = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR)
    assert picture.shape[0] == 84
    assert picture.shape[1] % 84 == 0
    assert (picture[..., 0] != picture[..., 2]).any()  # screens are grey, what lies over them not


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
