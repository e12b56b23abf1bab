"""Supervised: targets are standardised; random labels are always the same."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from fovea.atari.frames import Frames
from fovea.atari.ram import varied
from fovea.command import UserError
from fovea.pretrain.encoders.vit import Shape
from fovea.pretrain.objectives.supervised import (
    Supervised,
    classification_loss,
    expected_byte,
    r2,
    regression_loss,
)
from fovea.pretrain.training.fit import fit
from fovea.runs import read_run
from fovea.seeding import Draws, Stream

DRAWS = Draws(Stream.VIEWS, 0, 0, 4, "cpu")


@pytest.fixture(scope="module")
def frames(recordings: Path) -> Frames:
    return Frames.load([recordings])


def prepared(frames: Frames, **settings) -> Supervised:
    objective = Supervised(encoder=Shape(patch=42), **settings)
    objective.prepare(frames)
    return objective


def shown(objective: Supervised, frames: Frames, at: torch.Tensor, place: torch.Tensor) -> tuple:
    labels = {"ram": frames.labels["ram"][at[:, None]], "game": frames.game[at[:, None]]}
    known = labels | ({"place": place[:, None]} if objective.random else {})
    return objective.views(frames.windows(at, 4), DRAWS, **known)


def test_losses_and_variance_explained_by_hand() -> None:
    target, mask = torch.tensor([[1.0, 9.0], [-1.0, 3.0]]), torch.tensor([[1.0, 0.0], [1.0, 1.0]])
    prediction = torch.tensor([[0.0, 0.0], [-1.0, 1.0]])
    assert regression_loss(prediction, target, mask) == pytest.approx((1 + 0 + 4) / 3)
    assert r2(prediction, target, mask) == pytest.approx(1 - 5 / 11)
    assert r2(target, target, mask) == 1
    logits = torch.zeros(1, 2, 256)
    logits[0, 0, 7] = 1e3
    sure = torch.tensor([[1.0, 0.0]])
    state = torch.tensor([[7, 3]])
    assert classification_loss(logits, state, sure) == 0
    assert classification_loss(logits, state, 1 - sure) == pytest.approx(math.log(256))
    assert expected_byte(logits).tolist() == [[7.0, 127.5]]


def test_every_varying_byte_is_standardised_in_its_game(frames: Frames) -> None:
    objective = prepared(frames)
    for index, game in enumerate(frames.games):
        mine = objective.game == index
        ram = frames.of(game).labels["ram"]
        assert objective.byte[mine].tolist() == [v.byte for v in varied(game, ram)]
        columns = ram[:, objective.byte[mine]].float()
        z = (columns - objective.mean[mine]) / objective.std[mine]
        torch.testing.assert_close(z.mean(0), torch.zeros(z.shape[1]), rtol=0, atol=1e-3)
        torch.testing.assert_close(z.std(0), torch.ones(z.shape[1]), rtol=0, atol=1e-3)


@pytest.mark.parametrize("loss", ["regression", "classification"])
def test_what_a_game_does_not_have_is_not_asked_for(frames: Frames, loss: str) -> None:
    objective = prepared(frames, loss=loss)
    at = (frames.game == 0).nonzero()[3:40:12, 0]
    screens, state, game = shown(objective, frames, at, at)
    before = objective.losses(screens, state, game)["state"]
    state[:, objective.game == 1] ^= 1
    assert objective.losses(screens, state, game)["state"] == before
    state[:, objective.game == 0] ^= 1
    assert objective.losses(screens, state, game)["state"] != before


@pytest.mark.slow
@pytest.mark.parametrize("loss", ["regression", "classification"])
def test_its_own_memory_is_learned(frames: Frames, loss: str) -> None:
    objective = prepared(frames, loss=loss)
    views = shown(objective, frames, at := torch.arange(10, len(frames), 150), at)
    optimiser = torch.optim.AdamW(objective.parameters(), lr=1e-3)
    for _ in range(30):
        optimiser.zero_grad()
        objective.losses(*views)["state"].backward()
        optimiser.step()
    assert objective.notes["state_r2"] > 0.5


def test_random_labels_are_those_of_another_screen_of_the_game_and_stay(frames: Frames) -> None:
    objective, other = (prepared(frames, random=True, seed=seed) for seed in (0, 1))
    at = torch.arange(3, len(frames))
    others = objective.random_places(at, frames.game[at])
    assert torch.equal(frames.game[others], frames.game[at])
    assert (others == at).float().mean() < 0.01
    assert others.unique().numel() / len(at) == pytest.approx(1 - 1 / math.e, abs=0.03)
    assert torch.equal(others, prepared(frames, random=True).random_places(at, frames.game[at]))
    assert not torch.equal(others, other.random_places(at, frames.game[at]))
    some = at[::500]
    _, state, _ = shown(objective, frames, some, some)
    assert torch.equal(state, frames.labels["ram"][others[::500]][:, objective.byte].long())


def test_random_labels_hold_for_screens_beyond_the_training_frames(frames: Frames) -> None:
    training, validation, _ = frames.split()
    objective = prepared(training, random=True)
    place = torch.arange(10 * len(frames), 10 * len(frames) + len(validation))
    others = objective.random_places(place, validation.game)
    assert torch.equal(training.game[others], validation.game)


def test_a_game_without_a_table_is_refused(frames: Frames) -> None:
    unknown = replace(frames.of("pong"), games=("gopher",), data={"gopher": ""})
    with pytest.raises(UserError, match="no table names the memory of gopher"):
        prepared(unknown)


@pytest.mark.slow
def test_the_control_may_collapse(recordings: Path, tmp_path: Path) -> None:
    """Labels that mean nothing hold no features apart: that is what they are to show."""
    fit(["-c", "random_labels", "--data.recordings", f"[{recordings}]", "--data.batch_size", "8",
         "--run", str(tmp_path), "--model.encoder.patch", "42", "--trainer.max_steps", "100",
         "--model.optimisation.lr", "0.01", "--model.optimisation.weight_decay", "30"])  # fmt: skip
    record = read_run(tmp_path)
    assert record.state == "done"
    assert [said.partition(" at step ")[0] for said in record.remarks] == [
        "the features have collapsed"
    ]
