"""The film that says why: what spoke for the action taken, beside the scores of all actions."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch import nn

from fovea.agents import DQN, L2M, PPO, FineTuned, Frozen, LoRA, ReadOut
from fovea.agents.algorithms.base import Agent
from fovea.agents.evaluation import explained
from fovea.agents.video import Moment, film
from fovea.agents.why import reasons
from fovea.pretrain.encoders.vit import Shape, build

NAMES = ["NOOP", "FIRE", "RIGHT", "LEFT"]


def screens(count: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, 4, 84, 84)).astype(np.uint8)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "adapted", "ref", "method"),
    [
        (DQN, Frozen, "vit_micro", "relevance"),
        (PPO, Frozen, "nature_cnn", "grad_cam"),
        pytest.param(PPO, LoRA, "vit_micro", "relevance", marks=pytest.mark.evidence),
        pytest.param(DQN, L2M, "vit_micro", "relevance", marks=pytest.mark.evidence),
        pytest.param(DQN, FineTuned, "convnext_atto", "grad_cam", marks=pytest.mark.evidence),
    ],
)
def test_reasons_are_of_the_action_taken(kind: type, adapted: type, ref: str, method: str) -> None:
    if method == "grad_cam":
        pytest.importorskip("captum")
    agent = kind(adapted(f"random:{ref}"), 4, hidden=8, features=ReadOut("tokens")).eval()
    agent.on_collect_start()
    seen = screens(4)
    why = reasons(agent, seen, [0, 1, 2, 2], NAMES)
    assert why.method == method
    assert why.maps.shape[0] == len(why.scores) == 4
    assert why.maps.min() >= 0
    stacks = torch.from_numpy(seen)
    expected = agent.q_values(stacks) if kind is DQN else agent.action_probabilities(stacks)
    np.testing.assert_allclose(why.scores, expected, rtol=1e-5)
    other = reasons(agent, seen, [1, 1, 2, 3], NAMES).maps
    np.testing.assert_allclose(why.maps[1:3], other[1:3], atol=1e-6)
    assert not np.allclose(why.maps[0], other[0])
    assert not np.allclose(why.maps[3], other[3])


def test_a_value_that_one_patch_decides_lies_on_that_patch() -> None:
    """Of two by two patches, each action is worth the first number of the token at its place."""
    encoder = build(Shape(patch=42), seed=1)
    with torch.no_grad():
        for block in encoder.vit.blocks:  # each token stays what its patch shows
            block.attn.proj.weight.zero_()
            block.mlp.fc2.weight.zero_()
    agent = DQN(Frozen(encoder), 4, features=ReadOut("tokens"), dueling=False).eval()
    agent.head = head = nn.Linear(agent.extractor.width, 4, bias=False)
    with torch.no_grad():
        head.weight.zero_()
        for place in range(4):
            head.weight[place, 96 * place] = 1
    seen = np.zeros((5, 4, 84, 84), np.uint8)
    seen[4, :, :42, 42:] = 255  # the patch on the upper right
    why = reasons(agent, seen, [1] * 5, NAMES)
    assert not why.maps[:4].any()  # they are the background
    assert why.maps[4].argmax() == 1
    assert why.maps[4].flatten()[[0, 2, 3]].max() == 0


def test_an_agent_that_cannot_be_asked_is_filmed_without(capsys: pytest.CaptureFixture) -> None:
    class Plain(Agent):
        def act(self, obs, generator, step=None):
            return torch.zeros(len(obs), dtype=torch.int64)

        def losses(self, batch):
            return {}

        def make_experience(self, task):
            raise NotImplementedError

    moments = [Moment(some, 0.0, 1) for some in screens(2)]
    assert explained(Plain(Frozen("random:vit_micro"), 4), moments, NAMES) is None
    assert "not show why: a Plain has no number for each action" in capsys.readouterr().out
    pytest.importorskip("captum")
    assert explained(DQN(Frozen("random:patches42"), 4).eval(), moments, NAMES) is None
    assert "not show why: grad_cam needs a last feature map" in capsys.readouterr().out


def test_the_film_has_a_bar_for_each_action(tmp_path: Path) -> None:
    agent = PPO(Frozen(build(Shape(patch=42))), 4, hidden=8).eval()
    seen = screens(3)
    moments = [Moment(some, 0.0, 2) for some in seen]
    film(tmp_path / "why.webm", moments, agent.acting_encoder, explained(agent, moments, NAMES))
    picture = cv2.VideoCapture(str(tmp_path / "why.webm")).read()[1]
    assert picture.shape == (336 + 32, 3 * 336 + 2 * 8, 3)
    names = picture[32:, 2 * (336 + 8) : 2 * (336 + 8) + 124].max(axis=2)
    assert [bool((names[36 * row : 36 * (row + 1)] > 100).any()) for row in range(5)] == [
        *[True] * 4,
        False,
    ]
