"""The probe of actions, on actions that are known."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from fovea.pretrain.encoders.vit import ViT
from fovea.probes import action
from fovea.probes.features import Drawn, Splits, encode
from fovea.probes.references import Blind


def test_macro_f1_by_hand() -> None:
    # Action 0: 2 hits, 3 claimed, 2 true, F1 4/5. Action 1: 1, 1, 2, F1 2/3. Action 4: never right.
    truth, predicted = torch.tensor([0, 0, 1, 1, 4]), torch.tensor([0, 0, 0, 1, 2])
    assert action.macro_f1(truth, predicted) == pytest.approx((0.8 + 2 / 3 + 0 + 0) / 4)


def test_an_action_is_that_of_its_screen(seen: dict[str, Splits]) -> None:
    split = seen["pong"].test
    numbered = split.frames.labels | {"action": torch.arange(len(split.frames))}
    split = split._replace(frames=replace(split.frames, labels=numbered))
    assert action.screens(4) == {"newest": 0, "oldest": 3}
    assert action.screens(1) == {"newest": 0}
    assert torch.equal(action.actions(split, 0), split.at)
    assert torch.equal(action.actions(split, 1), split.at - 1)
    assert torch.equal(split.frames.episode[split.at], split.frames.episode[split.at - 1])


def test_what_features_tell_is_read_at_its_screen_alone(seen: dict[str, Splits]) -> None:
    """Features that are the action on the older of two screens tell nothing of the newer."""
    splits = []
    for split in seen["pong"]:
        done = torch.nn.functional.one_hot(action.actions(split, 1), 6).float()
        splits.append(split._replace(summary=done, mean_token=done[:, :0]))
    assert action.measure(Splits(*splits), 1)[0] == (1, 1, 1)
    assert max(action.measure(Splits(*splits), 0)[0]) < 0.5


def test_a_random_policy_is_foretold_by_nothing_and_majority_is_the_commonest(
    encoder: ViT, seen: dict[str, Splits], drawn: dict[str, list[Drawn]]
) -> None:
    (table,) = action.probe(encoder, seen, patience=2).tables
    assert [row[:2] for row in table.rows] == [
        [game, screen] for game in seen for screen in ("newest", "oldest")
    ]
    chance = {"breakout": 1 / 4, "pong": 1 / 6}
    for row in table.records():
        if row["screen"] == "newest":
            assert row["accuracy"] < chance[row["game"]] + 0.15
    blind = Blind(2, (84, 84))
    of_blind = encode(blind, drawn)
    (majority,) = action.probe(blind, of_blind, patience=2).tables
    for row in majority.records():
        split = of_blind[row["game"]]
        back = action.screens(2)[row["screen"]]
        commonest = action.actions(split.training, back).bincount().argmax()
        truth = action.actions(split.test, back)
        share = float((truth == commonest).double().mean())
        f1 = 2 * share / (1 + share)  # precision is the share, recall 1
        assert row["accuracy"] == pytest.approx(share)
        assert row["weighted_f1"] == pytest.approx(share * f1)
        assert row["macro_f1"] == pytest.approx(f1 / len(truth.unique()))
