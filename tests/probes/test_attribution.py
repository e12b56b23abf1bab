"""Maps of what matters lie where it does, and a map that is right is told from one by chance."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from fovea.agents import DQN, FineTuned, Frozen, ReadOut
from fovea.atari.frames import Frames
from fovea.pretrain.encoders.build import untrained
from fovea.pretrain.encoders.vit import Shape, ViT, build
from fovea.probes import attribution
from fovea.probes.features import NotMeasured, Splits, draw, encode
from fovea.probes.of_agents import OfAgent
from fovea.probes.places import cells, share_and_area
from fovea.probes.references import Pixels


def test_shares_beside_the_area_by_hand() -> None:
    pixels = torch.zeros(2, 84, 84, dtype=torch.bool)
    pixels[0, 10, 50] = True  # in the upper right of 2 x 2 cells; the second screen has none
    there = cells(pixels, 2, 2)
    assert there.tolist() == [[False, True, False, False], [False] * 4]
    looks = torch.tensor([[0.1, 0.7, 0.1, 0.1], [0.25] * 4])
    share, area = share_and_area(looks, there)
    assert (share.tolist(), area.tolist()) == ([pytest.approx(0.7)], [0.25])


def test_areas_under_curves_by_hand() -> None:
    assert attribution.area_under([0, 1, 1]) == 0.75
    assert attribution.area_under([1, 1, 1, 1]) == 1


def test_a_true_map_is_told_from_a_false_one() -> None:
    """What is answered is one pixel's brightness: the map that names it deletes it first."""
    encoder = build(Shape(patch=42))
    screens = torch.zeros(3, 4, 84, 84, dtype=torch.uint8)
    screens[:, :, 50, 10] = 255
    base = torch.zeros(4, 84, 84, dtype=torch.uint8)

    def answer(pixels: torch.Tensor) -> torch.Tensor:
        return pixels[:, :, 50, 10]

    true, false = torch.zeros(3, 12, 12), torch.ones(3, 12, 12)
    true[:, 7, 1], false[:, 7, 1] = 1, 0
    # Gone after the first of 8 steps and there after it; or gone and there with the last.
    assert attribution.faithful(encoder, answer, screens, base, true) == [15 / 16, 15 / 16]
    assert attribution.faithful(encoder, answer, screens, base, false) == [1 / 16, 1 / 16]
    still = screens.clone().zero_()
    assert all(map(math.isnan, attribution.faithful(encoder, answer, still, base, true)))


def test_every_method_that_applies_is_told(encoder: ViT, seen: dict[str, Splits]) -> None:
    pytest.importorskip("captum")
    found = attribution.probe(encoder, {"pong": seen["pong"]}, pictures=2, explained=3)
    rows = found.tables[0].records()
    methods = ["relevance", "occlusion", "integrated_gradients", "random"]
    assert [row["method"] for row in rows] == methods
    assert found.arrays["maps"].shape == (4, 1, 2, 12, 12)
    assert found.arrays["labels"][2] == "integrated gradients"
    assert all(0 <= row["deletion"] <= 1.5 for row in rows)
    assert all(np.isfinite(row["on_motion"]) for row in rows)
    with pytest.raises(NotMeasured, match="reference without places"):
        attribution.probe(Pixels(2, (84, 84)), seen)


def test_of_an_agent_each_action_has_its_map_and_the_best_ones_is_that_of_the_method(
    encoder: ViT, seen: dict[str, Splits]
) -> None:
    agent = DQN(Frozen(encoder), 3, hidden=8, features=ReadOut("tokens", norm="none")).eval()
    eyes = OfAgent(agent, ["NOOP", "UP", "DOWN"])
    found = attribution.probe(eyes, {"pong": seen["pong"]}, pictures=3, explained=3)
    maps = dict(zip(found.arrays["labels"], found.arrays["maps"][:, 0], strict=True))
    of_action = np.stack([maps[f"relevance of {name}"] for name in eyes.action_names])
    assert list(maps)[-3:] == ["relevance of NOOP", "relevance of UP", "relevance of DOWN"]
    assert not np.allclose(of_action[0], of_action[1])
    same = [[np.allclose(one, own) for one, own in zip(each, maps["relevance"], strict=True)]
            for each in of_action]  # fmt: skip
    assert np.any(same, axis=0).all()


@pytest.mark.evidence
@pytest.mark.slow
@pytest.mark.parametrize("name", ["nature_cnn", "convnext_atto", "agent"])
def test_a_cnn_a_timm_model_and_an_agent_are_explained(name: str, recordings: Path) -> None:
    pytest.importorskip("captum")
    if name == "agent":
        tuned = FineTuned("random:nature_cnn")
        encoder = OfAgent(DQN(tuned, 4, hidden=8, features=ReadOut("tokens")).eval())
    else:
        encoder = untrained(name).eval()
    frames = Frames.load([recordings], ["pong"])
    seen = encode(encoder, draw(frames, 4, samples=60))
    rows = attribution.probe(encoder, seen, pictures=2, explained=4).tables[0].records()
    assert [row["method"] for row in rows] == [
        "grad_cam", "occlusion", "integrated_gradients", "random",
    ]  # fmt: skip
    assert all(math.isfinite(row["deletion"]) for row in rows)
