"""MAE: nothing leaks from hidden patches, and the target is what the setting says."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from fovea.atari.frames import Frames
from fovea.command import UserError
from fovea.pretrain.encoders.vit import Shape
from fovea.pretrain.objectives.mae import MAE, mean_screens, reconstruction
from fovea.seeding import Draws, Stream


def screens(batch: int) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (batch, 4, 84, 84), generator=generator).to(torch.uint8)


def small(**settings) -> MAE:
    settings = {"encoder": Shape(patch=28), "width": 16, "depth": 1, "heads": 1} | settings
    return MAE(**settings)


def test_errors_by_hand() -> None:
    target = torch.tensor([[[1.0, 2.0]], [[0.0, 4.0]]])
    prediction = torch.tensor([[[1.0, 0.0]], [[3.0, 3.0]]])
    assert reconstruction(prediction, target).tolist() == [2.0, 5.0]


def test_each_sample_hides_patches_of_its_own() -> None:
    objective = small(hidden=0.6)
    assert (objective.patches, objective.visible) == (9, 4)
    windows, game = screens(500)[:, None], torch.zeros(500, 1, dtype=torch.long)
    seen, order, _ = objective.views(windows, Draws(Stream.VIEWS, 0, 0, 500, "cpu"), game=game)
    assert torch.equal(seen, windows[:, 0])
    assert torch.equal(order.sort(1).values, torch.arange(9).expand(500, -1))
    share = (order[:, :4, None] == torch.arange(9)).float().mean((0, 1)) * 4
    assert (share - 4 / 9).abs().max() < 0.1


def test_hidden_patches_do_not_leak() -> None:
    objective = small(hidden=0.5, mean_screen=False).eval()
    order = torch.tensor([[4, 0, 8, 2, 6, 1, 3, 5, 7]]).expand(2, -1)
    shown, hidden = order[:, :5], order[:, 5:]
    predictions = []
    for place in (None, 1, 4):  # of 28 x 28 px: one that is hidden, one that is shown
        screen = screens(2)
        if place is not None:
            row, column = 28 * (place // 3), 28 * (place % 3)
            screen[..., row : row + 28, column : column + 28] ^= 255
        seen = objective.encode_visible(objective.encoder.scale(screen), shown)
        predictions.append(objective.decoder(seen, shown, hidden))
    assert torch.equal(predictions[0], predictions[1])
    assert not torch.equal(predictions[0], predictions[2])


def test_only_hidden_patches_are_told() -> None:
    objective = small(hidden=0.5, mean_screen=False)
    torch.nn.init.zeros_(objective.decoder.leave[-1].weight)  # it says 0 of every pixel
    torch.nn.init.zeros_(objective.decoder.leave[-1].bias)
    seen, order = screens(2), torch.tensor([[8, 1, 2, 3, 4, 5, 6, 7, 0]]).expand(2, -1)
    loss = objective.losses(seen, order, torch.zeros(2).long())["reconstruction"]
    squares = (seen.double() / 255).pow(2)
    hidden = squares[..., 28:56, 56:], squares[..., 56:, :56], squares[..., :28, :28]
    assert loss.item() == pytest.approx(
        float(torch.cat([some.flatten() for some in hidden]).mean())
    )


def test_a_token_is_put_in_its_place_whatever_the_order() -> None:
    objective = small(hidden=0.5).eval()
    pixels = objective.encoder.scale(screens(2))
    order = torch.arange(9).expand(2, -1)
    shown, hidden = order[:, :5], order[:, 5:]
    prediction = objective.decoder(objective.encode_visible(pixels, shown), shown, hidden)
    shown, hidden = shown.flip(1), hidden.flip(1)
    back = objective.decoder(objective.encode_visible(pixels, shown), shown, hidden)
    torch.testing.assert_close(back.flip(1), prediction)


@pytest.mark.slow
def test_patches_are_told_against_the_mean_screen_of_their_game(recordings: Path) -> None:
    frames = Frames.load([recordings])
    means, stds = mean_screens(frames)
    for index, game in enumerate(frames.games):
        screens = frames.of(game).screens.double()
        torch.testing.assert_close(means[index], screens.mean(0).float())
        assert stds[index] == pytest.approx((screens - screens.mean(0)).pow(2).mean().sqrt())
    objective = small()
    objective.prepare(frames)
    at = torch.tensor([100, len(frames) - 100])
    pixels = objective.encoder.scale(frames.windows(at, 4)[:, 0])
    target = objective.target(pixels, frames.game[at])
    for sample, (mean, std) in enumerate(zip(means / 255, stds / 255, strict=True)):
        left = ((pixels[sample] - mean) / std)[:, 28:56, :28].flatten()
        torch.testing.assert_close(target[sample, 3], left)


def test_patches_can_be_normalised() -> None:
    objective = small(mean_screen=False, normalise=True)
    target = objective.target(objective.encoder.scale(screens(2)), torch.zeros(2))
    torch.testing.assert_close(target.mean(-1), torch.zeros(2, 9), rtol=0, atol=1e-5)
    torch.testing.assert_close(target.var(-1), torch.ones(2, 9), rtol=0, atol=1e-2)


@pytest.mark.slow
def test_one_batch_is_learned() -> None:
    objective = small(mean_screen=False)
    grey = screens(4)[:, :1, :1, :1].expand(-1, 4, 84, 84)  # what is shown tells what is hidden
    views = grey, torch.arange(9).expand(4, -1), torch.zeros(4).long()
    optimiser = torch.optim.AdamW(objective.parameters(), lr=3e-3)
    errors = []
    for _ in range(60):
        optimiser.zero_grad()
        error = objective.losses(*views)["reconstruction"]
        error.backward()
        optimiser.step()
        errors.append(float(error.detach()))
    assert errors[-1] < errors[0] / 10


@pytest.mark.parametrize("hidden", [0.0, 0.05, 1.0])
def test_nothing_to_see_or_to_tell_is_refused(hidden: float) -> None:
    with pytest.raises(UserError, match=r"of 9 patches to see"):
        small(hidden=hidden)
