"""Probes from a notebook: no run folder, tables that become data frames, pictures of attention."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from fovea import probes
from fovea.atari.frames import Frames
from fovea.command import UserError
from fovea.pretrain.encoders.cnn import build_cnn
from fovea.pretrain.encoders.folder import export_encoder
from fovea.pretrain.encoders.vit import Shape, ViT, build
from fovea.probes import collapse
from fovea.probes.features import draw, encode


@pytest.mark.slow
def test_the_tables_of_an_encoder_are_those_of_the_probe(
    encoder: ViT, recordings: Path, frames: Frames, tmp_path: Path
) -> None:
    tables = probes.measure(encoder, recordings, probe="collapse", samples=200, accelerator="cpu")
    seen = encode(encoder, draw(frames, 2, samples=200))
    assert list(tables.values()) == collapse.probe(encoder, seen).tables
    (first, *_) = tables["features"].records()
    assert (first["game"], first["place"]) == ("breakout", "summary")
    assert first["rankme"] > 1
    folder = export_encoder(encoder, tmp_path / "encoder", {"method": "none", "games": []})
    again = probes.measure(
        str(folder), [recordings], probe="collapse", samples=200, accelerator="cpu"
    )
    assert again == tables


def test_a_table_shows_its_text_as_text_and_its_numbers_short(
    encoder: ViT, recordings: Path
) -> None:
    tables = probes.measure(encoder, recordings, probe="sparsity", samples=200, stacks_measured=8)
    columns = tables["blocks"].to_dict()
    assert columns["block"] == [block for _ in range(2) for block in (0, 0, 0, 1, 1, 1)]
    shown = tables["blocks"]._repr_html_()
    assert f"<td>{columns['hoyer'][0]:.4g}</td>" in shown
    tables["blocks"].title = "<b>"
    assert "&lt;b&gt;" in tables["blocks"]._repr_html_()


@pytest.mark.parametrize(("asked", "message"), [
    ({"probe": "sight"}, "unknown probe 'sight'"),
    ({"probe": "sparsity", "most": 3}, "sparsity has no setting 'most': known are stacks_measured"),
    ({"probe": "state", "norm": "l2"}, "unknown norm 'l2': take none, standard, whiten"),
    ({"probe": "collapse", "encoder": "random:vit_huge"}, "unknown encoder size 'vit_huge'"),
    ({"probe": "attention", "encoder": "random:nature_cnn"}, "probe attention does not apply to"),
])  # fmt: skip
def test_a_mistake_is_named(asked: dict, message: str, recordings: Path) -> None:
    asked = {"encoder": "random:vit_micro", "samples": 40} | asked
    with pytest.raises(UserError, match=message):
        probes.measure(asked.pop("encoder"), recordings, **asked)


def test_an_attention_map_is_the_cls_row_of_the_last_block(encoder: ViT, frames: Frames) -> None:
    screens = frames.windows(frames.starts(2)[:5], 2)[:, 0]
    maps = probes.attention_map(encoder, screens.numpy())
    assert (maps.shape, maps.dtype) == ((5, 3, 3), np.float32)
    with torch.no_grad():
        rows = encoder.attention(screens)[-1].mean(1)[:, 0]
    np.testing.assert_allclose(maps.reshape(5, 9), rows[:, 1:], atol=1e-6)
    np.testing.assert_allclose(maps.sum((1, 2)), 1 - rows[:, 0], atol=1e-5)


def test_a_map_lies_over_what_the_encoder_sees_of_the_newest_screen(frames: Frames) -> None:
    encoder = build(Shape(patch=20, stack=2, crop=80))
    screens = frames.windows(frames.starts(2)[:2], 2)[:, 0].numpy()
    maps = np.zeros((2, 4, 4), np.float32)
    maps[:, 1, 2] = 0.3
    drawn = probes.overlay(encoder, screens, maps)
    assert (drawn.shape, drawn.dtype) == ((2, 84, 84, 3), np.uint8)
    plain = np.repeat(screens[:, -1, :, :, None], 3, axis=-1)
    np.testing.assert_array_equal(drawn[:, :2], plain[:, :2])  # the margin that is not seen
    np.testing.assert_array_equal(drawn[:, 60:], plain[:, 60:])
    middle = drawn[0, 2 + 30, 2 + 50].astype(int)
    assert middle[0] > middle[2] + 50  # the strongest is bright yellow, not blue
    assert not (drawn[0] == plain[0]).all()


def test_an_encoder_without_attention_is_refused(frames: Frames) -> None:
    cnn = build_cnn("nature_cnn")
    screens = frames.windows(frames.starts(4)[:1], 4)[:, 0]
    with pytest.raises(UserError, match="has no attention maps"):
        probes.attention_map(cnn, screens)
