"""What the state probe reports, against plain computations and on memory that is known."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fovea.atari.ram import Variable, variables
from fovea.pretrain.encoders.vit import ViT
from fovea.probes import state
from fovea.probes.features import NotMeasured, Splits

PONG = variables("pong")


def test_r2_by_hand() -> None:
    # Mean 2, SST 2; squared errors 0, 0.25, 0.
    truth = torch.tensor([1, 2, 3])
    assert state.r2(truth, torch.tensor([1.0, 2.5, 3.0])) == pytest.approx(1 - 0.25 / 2)
    assert state.r2(truth, torch.tensor([2.0, 2.0, 2.0])) == pytest.approx(0)
    assert state.r2(truth, torch.tensor([3.0, 2.0, 1.0])) == pytest.approx(-3)  # not clipped


def test_r2_of_a_constant_is_left_open() -> None:
    assert math.isnan(state.r2(torch.tensor([5, 5]), torch.tensor([5.0, 5.0])))


def test_weighted_f1_by_hand() -> None:
    # Byte 7: precision 2/3, recall 2/2, F1 4/5; byte 9: precision 1/1, recall 1/2, F1 2/3;
    # byte 200 is said nowhere and true once, F1 0. Weights 2, 2, 1 of 5.
    truth, said = torch.tensor([7, 7, 9, 9, 200]), torch.tensor([7, 7, 7, 9, 11])
    assert state.weighted_f1(truth, said) == pytest.approx((2 * 0.8 + 2 * 2 / 3 + 0) / 5)


byte_pairs = st.lists(st.tuples(st.integers(0, 255), st.integers(0, 4)), min_size=1, max_size=40)


@pytest.mark.slow
@given(byte_pairs)
def test_weighted_f1_is_the_plain_definition(pairs: list[tuple[int, int]]) -> None:
    truth = np.array([a % 5 * 60 for a, _ in pairs])
    said = np.array([b * 60 for _, b in pairs])
    total = 0.0
    for byte in set(truth.tolist()):
        hits = np.sum((truth == byte) & (said == byte))
        precision = hits / max(np.sum(said == byte), 1)
        recall = hits / np.sum(truth == byte)
        f1 = 2 * precision * recall / (precision + recall) if hits else 0.0
        total += f1 * np.sum(truth == byte)
    assert state.weighted_f1(torch.tensor(truth), torch.tensor(said)) == pytest.approx(
        total / len(pairs)
    )


def test_what_is_in_the_features_is_read_and_what_is_not_is_not(seen: dict[str, Splits]) -> None:
    told, hidden = PONG[:2]
    generator = torch.Generator().manual_seed(0)
    splits = []
    for split in seen["pong"]:
        memory = torch.randint(0, 4, (len(split.frames), 128), generator=generator).to(torch.uint8)
        values = memory[split.at].float()
        bits = torch.stack([(values[:, told.byte] == v).float() for v in range(4)], dim=1)
        labels = split.frames.labels | {"ram": memory}
        frames = replace(split.frames, labels=labels)
        splits.append(split._replace(frames=frames, summary=bits, mean_token=bits[:, :0]))
    (r2, f1, accuracy), (no_r2, no_f1, _) = state.measure(Splits(*splits), [told, hidden])
    assert (r2, f1, accuracy) == (pytest.approx(1, abs=1e-3), 1, 1)
    assert no_r2 < 0.1
    assert no_f1 < 0.5


def test_a_score_is_the_mean_of_categories_of_means() -> None:
    asked = [
        Variable("player_x", 0, "agent_localization"),
        Variable("player_y", 1, "agent_localization"),
        Variable("score", 2, "score_clock_lives_display"),
    ]
    scores = [(0.0, 0.2, 0.0), (1.0, 0.4, 0.0), (math.nan, 0.9, 0.0)]
    *rows, mean = state.by_category(asked, scores)
    assert rows[0] == ["agent_localization", 2, 0.5, pytest.approx(0.3)]
    assert rows[1][:2] == ["score_clock_lives_display", 1]
    assert math.isnan(rows[1][2])
    assert mean == ["mean", 3, 0.5, pytest.approx(0.6)]


@pytest.mark.slow
def test_tables_have_a_row_for_all_that_varies(encoder: ViT, seen: dict[str, Splits]) -> None:
    categories, overall, each, *_ = state.probe(encoder, seen, patience=1, draws=1).tables
    for game, splits in seen.items():
        names = [row[1] for row in each.rows if row[0] == game]
        assert names == [variable.name for variable in state.scored_variables(game, splits)]
        (mean,) = (row for row in categories.rows if row[:2] == [game, "mean"])
        assert mean[2] == len(names)
    of_games = [row[4] for row in categories.rows if row[1] == "mean"]
    assert overall.rows[-1][:2] == ["mean", 2]
    assert overall.rows[-1][3] == pytest.approx(sum(of_games) / 2)


def test_a_game_without_a_table_is_left_out(encoder: ViT, seen: dict[str, Splits]) -> None:
    with pytest.raises(NotMeasured, match="no table names the memory of tutankham"):
        state.probe(encoder, {"tutankham": seen["pong"]})
