"""Maps over screens: their values are a file and a table too."""

from __future__ import annotations

import csv
import io

import numpy as np

from fovea.analysis import attention
from fovea.analysis.figures import Looks
from fovea.analysis.page import Page
from fovea.figures import AttentionMaps


def test_every_value_of_every_map_is_in_a_file_and_the_strongest_patch_in_a_table() -> None:
    screens = np.zeros((2, 84, 84), np.uint8)
    of_vit = np.arange(2 * 3 * 2 * 6, dtype=np.float32).reshape(2, 3, 2, 2, 3)
    of_vit[0, 0, 0] = [[np.nan, 8, 2], [0, 0, 0]]
    arrays = {
        "vit/screens": screens, "vit/maps": of_vit, "vit/game": np.array(["pong", "breakout"]),
        "vit/rollout": np.ones((2, 2, 3), np.float32),
        "cnn/screens": screens, "cnn/maps": np.full((1, 1, 2, 2, 2), 0.25, np.float32),
        "cnn/game": np.array(["pong", "breakout"]), "cnn/labels": np.array(["occlusion"]),
    }  # fmt: skip
    page = Page("title", Looks(["vit", "cnn"]))
    html = attention.view(page, "attention", arrays, ["vit", "cnn"], AttentionMaps())
    kept = page.files["data/attention-maps.csv"]
    assert isinstance(kept, bytes)
    lines = list(csv.reader(io.StringIO(kept.decode())))
    assert lines[0] == ["encoder", "game", "screen", "map", *(f"value {k}" for k in range(1, 7))]
    assert len(lines) == 1 + 2 * (1 + 6) + 2
    maps = {tuple(line[:4]): line[4:] for line in lines[1:]}
    assert maps["vit", "Pong", "1", "block 0, head 0"] == ["nan", "8", "2", "0", "0", "0"]
    assert maps["vit", "Breakout", "2", "block 1, head 2"] == ["66", "67", "68", "69", "70", "71"]
    assert maps["cnn", "Breakout", "2", "occlusion"] == ["0.25"] * 4 + [""] * 2
    assert 'href="data/attention-maps.csv"' in html
    kept = page.files["data/attention-strongest.csv"]
    assert isinstance(kept, bytes)
    assert 'vit,Pong,1,"block 0, head 0",1,2,0.8' in kept.decode()
