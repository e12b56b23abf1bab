"""The return to come, by hand, and what can be read of it."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from fovea.atari.frames import Frames
from fovea.pretrain.encoders.vit import ViT
from fovea.probes import value
from fovea.probes.features import NotMeasured, Splits


def played(frames: Frames, reward: list[float], terminal: list[bool], episode: list[int]) -> Frames:
    count = len(reward)
    labels = {"reward": torch.tensor(reward), "terminal": torch.tensor(terminal)}
    return replace(
        frames,
        screens=frames.screens[:count],
        episode=torch.tensor(episode),
        game=frames.game[:count],
        anchor=frames.anchor[:count],
        labels=labels,
    )


def test_the_return_by_hand(frames: Frames) -> None:
    of = played(
        frames,
        [0.0, 4.0, -2.0, 0.0, 1.0],
        [False, False, True, False, False],
        [0, 0, 0, 1, 1],
    )
    returns, left = value.to_go(of, 0.5)
    # Rewards count by their sign: 0 + 0.5 (1 + 0.5 (-1)) = 0.25, 0.5, -1; then 0.5 and 1.
    assert returns.tolist() == [0.25, 0.5, -1, 0.5, 1]
    assert left[3:].tolist() == [2, 1]  # the recording ends, the episode does not
    assert (left[:3] > 1000).all()


def test_a_return_in_the_features_is_read_and_an_open_end_is_left_out(
    encoder: ViT, seen: dict[str, Splits]
) -> None:
    splits = []
    for split in seen["pong"]:
        returns, _ = value.to_go(split.frames, 0.9)
        told = returns[split.at, None].float()
        splits.append(split._replace(summary=told, mean_token=told[:, :0]))
    found = value.probe(encoder, {"pong": Splits(*splits)})
    near, far = found.tables[0].records()
    assert (near["discount"], far["discount"]) == ("0.9", "0.99")
    assert near["r2"] == pytest.approx(1, abs=1e-4)
    assert far["r2"] < 0.95
    assert found.arrays["returns/errors"].shape[0] == 2

    opened = [
        split._replace(
            frames=replace(
                split.frames,
                labels=split.frames.labels
                | {"terminal": torch.zeros_like(split.frames.labels["terminal"])},
            )
        )
        for split in seen["breakout"]
    ]
    _, known = value.of_stacks(opened[2], 0.9)
    last = opened[2].frames.last(opened[2].at)
    # 0.9 ** 29 = 0.047: with 29 steps or more before the end, what is unknown weighs little.
    assert torch.equal(known, last - opened[2].at + 1 >= 29)
    short = {"breakout": Splits(*opened)}
    with pytest.raises(NotMeasured, match=r"breakout: its .* end before their returns are known"):
        value.probe(encoder, short)
