"""Components: white for the game they are of, the same numbers at every place that asks."""

from __future__ import annotations

import pytest
import torch

from fovea.atari.frames import Frames
from fovea.pretrain.encoders.vit import Shape
from fovea.pretrain.objectives.components import Components
from fovea.pretrain.objectives.recipe import Recipe
from fovea.pretrain.objectives.spr import SPR
from fovea.pretrain.terms.components import unexplained
from fovea.pretrain.terms.principal import halved, whitening
from fovea.seeding import Draws, Stream

SHAPE = Shape(patch=42)


def frames(count: int = 300, games: int = 2) -> Frames:
    """Games in which a square moves up and down, each in a column of its own."""
    screens = torch.zeros(games, count, 84, 84, dtype=torch.uint8)
    for game in range(games):
        for step in range(count):
            top, left = (7 * step + step * step // 5) % 70, 40 * game
            screens[game, step, top : top + 14, left : left + 14] = 200
    number = torch.arange(games * count) // count
    names = ("pong", "breakout")[:games]
    return Frames(
        screens=screens.flatten(0, 1),
        episode=number,
        game=number,
        labels={},
        games=names,
        anchor=torch.ones(games * count, dtype=torch.bool),
        data=dict.fromkeys(names, ""),
    )


def test_whitened_pixels_are_white_and_centred() -> None:
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randn(500, 30, generator=generator) * 0.7 ** torch.arange(30)
    directions, offset = whitening(pixels + 3, 10)
    white = (pixels + 3) @ directions - offset
    assert torch.allclose(white.mean(0), torch.zeros(10), atol=1e-4)
    assert torch.allclose(white.T.cov(), torch.eye(10), atol=1e-2)


def test_components_that_are_not_there_are_zero() -> None:
    pixels = torch.zeros(50, 6)
    pixels[:, 2] = torch.arange(50.0)
    directions, offset = whitening(pixels, 4)
    white = pixels @ directions - offset
    assert torch.allclose(white[:, 0].std(), torch.tensor(1.0), atol=1e-4)
    assert torch.count_nonzero(white[:, 1:].abs() > 1e-3) == 0


def test_untold_by_hand() -> None:
    assert unexplained(torch.zeros(2, 2), torch.tensor([[1.0, 1.0], [1.0, 3.0]])) == 3.0


def test_each_screen_has_the_components_of_its_own_game() -> None:
    objective, data = Components(count=8, width=16, encoder=SHAPE), frames()
    objective.prepare(data)
    at = torch.tensor([10, 350, 50, 599])
    windows, game = data.windows(at, 4), data.game[at]
    screens, target, _ = objective.views(
        windows, Draws(Stream.VIEWS, 0, 0, 4, "cpu"), game=game[:, None]
    )
    task = objective.task
    for row, (screen, of) in enumerate(zip(screens, game, strict=True)):
        alone = halved(screen[None]) @ task.directions[:, of] - task.offset[of]
        assert torch.allclose(target[row], alone[0], atol=1e-4)


@pytest.mark.slow
def test_what_moves_is_told_after_few_steps() -> None:
    objective, data = Components(count=8, width=32, encoder=SHAPE), frames()
    objective.prepare(data)
    optimiser = torch.optim.AdamW(objective.parameters(), lr=1e-3)
    starts, generator = data.starts(4), torch.Generator().manual_seed(0)
    losses: list[float] = []
    for step in range(25):
        at = starts[torch.randint(len(starts), (32,), generator=generator)]
        views = objective.views(
            data.windows(at, 4),
            Draws(Stream.VIEWS, 0, step, 32, "cpu"),
            game=data.game[at][:, None],
        )
        loss = objective.losses(*views)["components"]
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert sum(losses[-5:]) < 0.8 * sum(losses[:5])


def test_the_recipe_is_spr_inverse_dynamics_and_the_components_of_the_screens_now() -> None:
    settings = {"steps": (1, 2), "projector": 8, "out": 4, "encoder": SHAPE}
    weights = {"prediction": 3.0, "components": 2.0, "inverse_weight": 0.5}
    recipe, plain = Recipe(count=8, **weights, **settings), SPR(**settings)
    data = frames()
    recipe.prepare(data)
    at, draws = torch.tensor([20, 330, 60, 400]), Draws(Stream.VIEWS, 0, 0, 4, "cpu")
    places = recipe.places(at, data, draws)
    windows = data.windows(places.flatten(), 4).view(*places.shape, 4, 84, 84)
    labels = {"action": places % 6, "game": data.game[places]}
    ours = recipe.losses(*recipe.views(windows, Draws(Stream.VIEWS, 0, 0, 4, "cpu"), **labels))
    theirs = plain.losses(*plain.views(windows, Draws(Stream.VIEWS, 0, 0, 4, "cpu"), **labels))
    assert torch.allclose(ours["prediction"], 3 * theirs["prediction"])
    game = labels["game"][:, 0]
    task, features = recipe.components_task, recipe.encode(windows[:, 0])[0]
    target = task.target(windows[:, 0], game)
    assert torch.allclose(ours["components"], 2 * task(recipe.state(features), target, game))
    states = [recipe.state(one) for one in recipe.encode(windows[:, 0], windows[:, 1])]
    inverse, _ = recipe.inverse_task(*states, labels["action"][:, :1], game)
    assert torch.allclose(ours["inverse"], 0.5 * inverse)
