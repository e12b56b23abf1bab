"""A tiny encoder, and what it sees of the recordings."""

from __future__ import annotations

from pathlib import Path

import pytest

from fovea.atari.frames import Frames
from fovea.pretrain.encoders.vit import ViT
from fovea.probes.features import Drawn, Splits, draw, encode
from fovea.probes.references import untrained

TINY = {
    "img_size": [84, 84],
    "patch_size": 28,
    "in_chans": 2,
    "embed_dim": 12,
    "depth": 2,
    "num_heads": 2,
    "global_pool": "token",
}


def tiny() -> ViT:
    return untrained(ViT("vit_tiny_patch16_224", TINY, (84, 84)), seed=1)


@pytest.fixture
def encoder() -> ViT:
    """A ViT of 9 patches, 12 wide, with 2 blocks of 2 heads and a stack of 2 screens."""
    return tiny()


@pytest.fixture(scope="session")
def frames(recordings: Path) -> Frames:
    return Frames.load([recordings])


@pytest.fixture(scope="session")
def drawn(frames: Frames) -> dict[str, list[Drawn]]:
    return draw(frames, 2, samples=400, seed=0)


@pytest.fixture(scope="session")
def seen(drawn: dict[str, list[Drawn]]) -> dict[str, Splits]:
    return encode(tiny(), drawn)
