"""Similarity of blocks, and of encoders in the report."""

from __future__ import annotations

import numpy as np
import pytest

from fovea.analysis import similarity as shown
from fovea.analysis.figures import Looks
from fovea.analysis.page import Page
from fovea.figures import Similarity
from fovea.pretrain.encoders.vit import ViT
from fovea.probes import similarity
from fovea.probes.features import Drawn, NotMeasured, Splits, encode
from fovea.probes.references import Blind, Pixels


def test_blocks_are_compared_and_their_features_kept(
    encoder: ViT, seen: dict[str, Splits], drawn: dict[str, list[Drawn]]
) -> None:
    found = similarity.probe(encoder, seen, screens_compared=40)
    rows = {tuple(row[:4]): row[4] for row in found.tables[0].rows}
    # Block 0, 1 and 2, each with itself and those before it.
    assert len(rows) == 2 * 2 * 6
    assert rows["pong", "mean token", 1, 1] == pytest.approx(1)
    assert 0 < rows["pong", "mean token", 2, 0] < 1
    # Before the first block all CLS tokens are alike.
    assert np.isnan(rows["pong", "summary", 0, 0])
    assert found.arrays["summary/pong"].shape == (3, 40, 12)

    pixels = Pixels(2, (84, 84), 16)
    of_pixels = similarity.probe(pixels, encode(pixels, drawn), screens_compared=40)
    assert set(of_pixels.arrays) == {"summary/breakout", "summary/pong"}
    assert of_pixels.arrays["summary/pong"].shape == (1, 40, 16)
    assert of_pixels.arrays["summary/pong"].any()

    arrays = {f"mine/{k}": v for k, v in found.arrays.items()}
    arrays |= {f"pixels/{k}": v for k, v in of_pixels.arrays.items()}
    page = Page("A page", Looks(["mine", "pixels"]))
    how = Similarity(places=list(similarity.PLACES))
    text = shown.view(page, "s", arrays, ["mine", "pixels"], how)
    table = page.files["data/s-encoders.csv"].decode().splitlines()
    assert table[0] == "encoder,other,game,place,cka"
    assert table[1].startswith("mine,pixels,Breakout,summary,")
    assert "most alike are mine and pixels (CKA" in text
    assert "Pong, summary" in page.charts["s"]


def test_what_sees_nothing_is_like_nothing(seen: dict[str, Splits]) -> None:
    with pytest.raises(NotMeasured):
        similarity.probe(Blind(2, (84, 84)), seen)
