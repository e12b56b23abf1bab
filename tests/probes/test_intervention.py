"""Edits that show are followed by what sees them, and by nothing that does not."""

from __future__ import annotations

import math

import pytest
import torch

from fovea.agents import DQN, Frozen, ReadOut
from fovea.atari.frames import Frames
from fovea.pretrain.encoders.encoder import Encoder, Features
from fovea.probes import intervention
from fovea.probes.features import Drawn, NotMeasured, Splits, draw, encode
from fovea.probes.of_agents import OfAgent
from fovea.probes.references import Blind


def test_a_slope_by_hand() -> None:
    asked, moved = torch.tensor([10.0, -20.0]), torch.tensor([5.0, -10.0])
    assert intervention.slope(asked, moved) == 0.5
    assert math.isnan(intervention.slope(0 * asked, moved))


class Paddle(Encoder):
    """Sees where Breakout's paddle is, and nothing else: the bright columns of its rows."""

    grid, dim, stack, screen = None, 1, 2, (84, 84)
    margin, input_size = (0, 0), (84, 84)

    def __init__(self):
        super().__init__()
        self.nothing = torch.nn.Parameter(torch.zeros(1))

    def encode(self, pixels: torch.Tensor) -> Features:
        rows = pixels[:, -1, 76:77, 4:80].mean(1)
        columns = torch.arange(rows.shape[1]).float()
        place = (rows * columns).sum(1) / rows.sum(1).clamp(min=1e-6)
        return Features(place[:, None], place.new_empty(len(place), 0, 1))


def test_an_eye_for_the_paddle_follows_the_paddle_alone(drawn: dict[str, list[Drawn]]) -> None:
    seen = encode(Paddle(), {"breakout": drawn["breakout"]})
    rows = intervention.probe(Paddle(), seen, edits=8).tables[0].records()
    found = {row["edit"]: row for row in rows}
    assert found["player_x"]["shown"] > 0.8
    assert 0.7 < found["player_x"]["follows"] < 1.4
    assert found["player removed"]["change"] > 0.2
    assert found["ball removed"]["change"] < 0.1
    assert math.isnan(found["player_x"]["scores"])
    assert [row["by"] for row in rows[-2:]] == ["pasted", "pasted"]


@pytest.mark.evidence
@pytest.mark.slow
def test_an_agents_scores_are_told(frames: Frames) -> None:
    agent = DQN(Frozen("random:nature_cnn"), 6, hidden=8, features=ReadOut("tokens")).eval()
    eyes = OfAgent(agent)
    splits = {"pong": draw(frames, 4, samples=60)["pong"]}
    rows = intervention.probe(eyes, encode(eyes, splits), edits=4).tables[0].records()
    ball = next(row for row in rows if row["edit"] == "ball removed")
    assert ball["scores"] > 0
    assert 0 <= ball["other_action"] <= 1


def test_references_are_left_out(seen: dict[str, Splits]) -> None:
    with pytest.raises(NotMeasured, match="it is a reference"):
        intervention.probe(Blind(2, (84, 84)), seen)
