"""Features on disk: the same as encoded, of just this encoder and data, and checked."""

from __future__ import annotations

import os
import resource
from pathlib import Path

import pytest
import torch

from fovea.pretrain.encoders.vit import ViT
from fovea.probes import feature_cache
from fovea.probes.feature_cache import cached
from fovea.probes.features import Drawn, Splits, draw
from fovea.probes.references import Pixels, untrained


def same(a: dict[str, Splits], b: dict[str, Splits]) -> bool:
    return list(a) == list(b) and all(
        torch.equal(x.summary, y.summary) and torch.equal(x.mean_token, y.mean_token)
        for game in a
        for x, y in zip(a[game], b[game], strict=True)
    )


def test_what_is_read_is_what_was_encoded(
    encoder: ViT,
    drawn: dict[str, list[Drawn]],
    seen: dict[str, Splits],
    tmp_path: Path,
    capsys: pytest.CaptureFixture,
) -> None:
    assert same(cached(encoder, drawn, tmp_path), seen)
    (path,) = tmp_path.iterdir()
    before = path.read_bytes()
    again = cached(encoder, drawn, tmp_path)
    assert same(again, seen)
    assert again["pong"].test.frames is drawn["pong"][2][0]
    assert "encoding" not in capsys.readouterr().err.split("encoding: pong")[-1]

    path.write_bytes(before[:-8] + bytes(8))  # another number, in a whole file
    assert same(cached(encoder, drawn, tmp_path), seen)
    assert "is damaged (its contents have another hash): encoding again" in capsys.readouterr().err
    path.write_bytes(before[:100])
    assert same(cached(encoder, drawn, tmp_path), seen)
    assert path.read_bytes() == before
    assert same(cached(encoder, drawn, None), seen)


def test_a_disk_that_is_full_is_said_as_the_system_says_it(
    encoder: ViT, drawn: dict[str, list[Drawn]], tmp_path: Path
) -> None:
    """A command makes one line of that; of what safetensors says it would make a traceback."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(OSError, match=r"File too large: '.*safetensors'"):
            cached(encoder, drawn, tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert list(tmp_path.iterdir()) == []


def test_another_encoder_or_another_draw_has_another_key(
    encoder: ViT, drawn: dict[str, list[Drawn]], frames
) -> None:
    keys = {
        feature_cache.key(encoder, drawn),
        feature_cache.key(untrained(encoder, 7), drawn),
        feature_cache.key(encoder, draw(frames, 2, samples=400, seed=1)),
        feature_cache.key(encoder, {"pong": drawn["pong"]}),
        feature_cache.key(Pixels(2, (84, 84), 24), drawn),
        feature_cache.key(Pixels(2, (84, 84), 24, pooled=True), drawn),
    }
    assert len(keys) == 6


def test_a_folder_that_is_too_large_loses_what_was_used_longest_ago(tmp_path: Path) -> None:
    for age, name in enumerate("cab"):
        path = tmp_path / f"{name}.safetensors"
        path.write_bytes(bytes(10))
        os.utime(path, (1000 - age, 1000 - age))
    feature_cache.trim(tmp_path, 25)
    assert {path.stem for path in tmp_path.iterdir()} == {"a", "c"}
    feature_cache.trim(tmp_path, 1)
    assert {path.stem for path in tmp_path.iterdir()} == {"c"}
