"""Augmentations are drawn for each sample, alike for all screens of a stack, and by hand right."""

from __future__ import annotations

import math
from itertools import combinations

import pytest
import torch
import torchvision.transforms.functional as vision
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from fovea.command import UserError
from fovea.pretrain.augment import AUGMENTATIONS, augment, check
from fovea.seeding import Draws, Stream


def noise(batch: int = 6, stack: int = 3, side: int = 12) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randint(0, 256, (batch, stack, side, side), generator=generator).to(torch.uint8)


def draws(batch: int = 6, step: int = 0, **more) -> Draws:
    """Draws for samples that are each of an episode of its own."""
    return Draws(Stream.VIEWS, 0, step, batch, "cpu", **{"episode": torch.arange(batch)} | more)


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_each_keeps_shape_and_type_and_leaves_its_input(name: str) -> None:
    screens = noise()
    before = screens.clone()
    changed = AUGMENTATIONS[name](screens, draws())
    assert changed.shape == screens.shape
    assert changed.dtype == torch.uint8
    assert torch.equal(screens, before)


@pytest.mark.parametrize("name", sorted(set(AUGMENTATIONS) - {"grayscale"}))
def test_equal_screens_of_a_stack_stay_equal(name: str) -> None:
    screens = noise(stack=1).expand(-1, 3, -1, -1)
    changed = AUGMENTATIONS[name](screens, draws())
    assert torch.equal(changed[:, :1].expand_as(changed), changed)


@pytest.mark.parametrize(
    ("name", "settings"),
    [("shift", {}), ("intensity", {"scale": 0.5}), ("colour_jitter", {}), ("resized_crop", {}),
     ("blur", {}), ("cut_out", {}), ("render", {})],
)  # fmt: skip
def test_samples_meet_different_draws(name: str, settings: dict) -> None:
    screens = noise(1).expand(6, -1, -1, -1)
    changed = AUGMENTATIONS[name](screens, draws(), **settings)
    assert len({bytes(sample.flatten()) for sample in changed}) > 3


def test_shift_moves_whole_pixels_and_repeats_the_border() -> None:
    screens = torch.arange(16, dtype=torch.uint8).reshape(1, 1, 4, 4)
    allowed = set()
    rows = columns = torch.arange(4)
    for down in (-1, 0, 1):
        for right in (-1, 0, 1):
            moved = screens[0, 0][(rows + down).clamp(0, 3)][:, (columns + right).clamp(0, 3)]
            allowed.add(bytes(moved.flatten()))
    seen = set()
    for step in range(200):
        seen.add(bytes(AUGMENTATIONS["shift"](screens, draws(1, step), pixels=1).flatten()))
    assert seen == allowed


def test_intensity_scales_a_sample_by_one_number() -> None:
    screens = torch.full((400, 2, 3, 3), 100, dtype=torch.uint8)
    scaled = AUGMENTATIONS["intensity"](screens, draws(400), scale=0.1).float()
    assert torch.equal(scaled.amin((1, 2, 3)), scaled.amax((1, 2, 3)))
    assert scaled.min() >= 80
    assert scaled.max() <= 120
    assert abs(scaled.mean() - 100) < 1.5


def test_intensity_does_not_wrap_around() -> None:
    screens = torch.full((100, 1, 2, 2), 250, dtype=torch.uint8)
    assert AUGMENTATIONS["intensity"](screens, draws(100), scale=0.4).min() >= 50


def test_a_crop_of_everything_is_the_screen() -> None:
    screens = noise()
    whole = AUGMENTATIONS["resized_crop"](screens, draws(), scale=(1, 1), ratio=(1, 1))
    assert torch.equal(whole, screens)


def test_a_crop_shows_a_part_of_the_screen() -> None:
    ramp = torch.arange(84, dtype=torch.uint8)[:, None].expand(200, 1, 84, 84)
    crops = AUGMENTATIONS["resized_crop"](ramp, draws(200), scale=(0.25, 0.25), ratio=(1, 1))
    rows = crops[:, 0, :, 0].float()
    height = rows[:, -1] - rows[:, 0]
    assert (height - 41.5).abs().max() <= 1
    assert rows[:, 0].min() <= 2
    assert rows[:, -1].max() >= 81


def test_a_crop_may_come_out_smaller() -> None:
    screens = noise(side=12)
    crops = AUGMENTATIONS["resized_crop"](screens, draws(), scale=(1, 1), ratio=(1, 1), side=6)
    means = screens.float().unflatten(2, (6, 2)).unflatten(4, (6, 2)).mean((3, 5))
    assert (crops - means).abs().max() <= 0.51  # rounded


def test_blur_keeps_what_is_flat_and_spreads_a_point() -> None:
    flat = torch.full((2, 1, 9, 9), 90, dtype=torch.uint8)
    assert torch.equal(AUGMENTATIONS["blur"](flat, draws(2)), flat)
    point = torch.zeros(1, 1, 9, 9, dtype=torch.uint8)
    point[..., 4, 4] = 255
    spread = AUGMENTATIONS["blur"](point, draws(1), sigma=(1, 1))
    expected = vision.gaussian_blur(point.float(), 7, 1.0).round().to(torch.uint8)
    assert torch.equal(spread, expected)


def test_solarise_inverts_from_the_threshold_up() -> None:
    screens = torch.tensor([0, 119, 120, 255], dtype=torch.uint8).reshape(1, 1, 2, 2)
    solarised = AUGMENTATIONS["solarise"](screens, draws(1), threshold=120)
    assert solarised.flatten().tolist() == [0, 119, 135, 0]


def test_cut_out_covers_one_rectangle_of_its_size() -> None:
    """Sides of a half of 8 rows and 12 columns; the mean of 200 screens of 10 and 20 is 15."""
    screens = torch.tensor([10, 20]).to(torch.uint8)[None, :, None, None].expand(200, 2, 8, 12)
    cut = AUGMENTATIONS["cut_out"](screens, draws(200), sides=(0.5, 0.5))
    covered = cut == 15
    assert torch.equal(torch.where(covered, screens, cut), screens)
    assert torch.equal(covered[:, 0], covered[:, 1])
    rows, columns = covered[:, 0].any(2), covered[:, 0].any(1)
    assert torch.equal(covered[:, 0], rows[:, :, None] & columns[:, None, :])
    for lines, side, last in ((rows, 4, 4), (columns, 6, 6)):
        assert (lines.sum(1) == side).all()
        begin = lines.int().argmax(1)
        assert torch.equal(begin.unique(), torch.arange(last + 1))  # everywhere inside, borders too
        assert all(bool(line[at : at + side].all()) for line, at in zip(lines, begin, strict=True))


def test_cut_out_with_a_grey_of_its_own() -> None:
    cut = AUGMENTATIONS["cut_out"](noise(), draws(), sides=(1, 1), grey=7)
    assert cut.unique().tolist() == [7]


def test_render_by_hand() -> None:
    """Four bands of 64 levels whose draws sort them as 1 3 0 2; g = 2; contrast times 1.5."""
    given = torch.tensor([[0.6, 0.1, 0.9, 0.3, 0.5 + math.log(2) / 2, 0.75]])
    screens = torch.tensor([0, 63, 64, 127, 128, 200, 255], dtype=torch.uint8).reshape(1, 1, 1, 7)
    shown = AUGMENTATIONS["render"](screens, _Given(given), palette=4, gamma=1.0, contrast=1.0)
    moved = (128, 191, 0, 63, 192, 64 + 200 - 192, 64 + 255 - 192)
    expected = [127.5 + 1.5 * (255 * (m / 255) ** 2 - 127.5) for m in moved]
    assert shown.flatten().tolist() == [min(max(round(w), 0), 255) for w in expected]


def test_the_palette_loses_no_level_and_orders_no_band_anew() -> None:
    ramp = torch.arange(256, dtype=torch.uint8).reshape(1, 1, 16, 16).expand(20, -1, -1, -1)
    for palette in (1, 5, 8, 256):
        shown = AUGMENTATIONS["render"](ramp, draws(20), palette=palette, gamma=0, contrast=0)
        tables = shown.flatten(1).int()
        assert torch.equal(tables.sort(1).values, torch.arange(256).expand(20, -1).int())
        assert ((tables.diff(dim=1) != 1).sum(1) <= palette - 1).all()
        drawn = len({bytes(table.byte()) for table in tables})
        assert drawn == 1 if palette == 1 else drawn > 15


def test_an_episode_is_rendered_alike_at_every_step_and_on_every_rank() -> None:
    screens, episode = noise(1).expand(8, -1, -1, -1), torch.tensor([3, 5, 3, 9, 5, 10**12, 3, 9])
    render = AUGMENTATIONS["render"]
    shown = render(screens, draws(8, step=1, episode=episode))
    for first, second in combinations(range(8), 2):
        alike = torch.equal(shown[first], shown[second])
        assert alike == (episode[first] == episode[second])
    assert torch.equal(shown, render(screens, draws(8, step=700, episode=episode)))
    for rank in (0, 1):
        mine = draws(4, step=2, rank=rank, world=2, episode=episode[rank::2])
        assert torch.equal(render(screens[:4], mine), shown[rank::2])
    assert not torch.equal(shown, render(screens, draws(8, episode=episode), variant=1))
    other_seed = Draws(Stream.VIEWS, 1, 1, 8, "cpu", episode=episode)
    assert not torch.equal(shown, render(screens, other_seed))


def test_numbers_of_episodes_are_uniform() -> None:
    numbers = Draws(Stream.VIEWS, 0, 0, 4000, "cpu", episode=torch.arange(4000)).by_episode(
        -1, 1, 3
    )
    assert numbers.shape == (4000, 3)
    counts = torch.histc(numbers, 20, -1, 1)
    assert (counts - 600).abs().max() < 5 * 600**0.5
    assert torch.corrcoef(numbers.T).fill_diagonal_(0).abs().max() < 0.06


def test_hue_turns_as_torchvision_turns_it() -> None:
    screens = noise(2)
    turned = AUGMENTATIONS["colour_jitter"](
        screens, _Fixed(0.07), brightness=0, contrast=0, saturation=0, hue=0.1
    )
    expected = vision.adjust_hue(screens, 0.07)
    assert (turned.int() - expected.int()).abs().max() <= 1


class _Fixed(Draws):
    """Draws whose hue is known; strengths of zero leave only one value to draw from."""

    def __init__(self, hue: float):
        super().__init__(Stream.VIEWS, 0, 0, 2, "cpu")
        self.hue = hue

    def uniform(self, low: float, high: float, *shape: int) -> Tensor:
        value = 1.0 if low == high else self.hue
        return torch.full((self.batch, *shape), value)


class _Given(Draws):
    """Draws whose numbers of the episodes are known."""

    def __init__(self, values: Tensor):
        super().__init__(Stream.VIEWS, 0, 0, len(values), "cpu")
        self.values = values

    def by_episode(self, low: float, high: float, *shape: int, key: int = 0) -> Tensor:
        assert self.values.shape == (self.batch, *shape)
        return low + (high - low) * self.values


def test_p_is_the_share_that_is_changed() -> None:
    screens = noise(1).expand(1000, -1, -1, -1)
    changed = augment(screens, draws(1000), [{"name": "flip", "p": 0.3}])
    share = (changed != screens).flatten(1).any(1).float().mean()
    assert 0.25 < share < 0.35


def test_links_of_a_chain_follow_one_another() -> None:
    screens = noise()
    chain = [{"name": "flip"}, {"name": "solarise", "threshold": 0}]
    assert torch.equal(augment(screens, draws(), chain), 255 - screens.flip(-1))


@pytest.mark.parametrize(("link", "message"), [
    ({"name": "shfit"}, "unknown augmentation 'shfit': did you mean 'shift'"),
    ({"name": "shift", "pixel": 2}, "shift has no 'pixel': did you mean 'pixels'"),
    ({"pixels": 2}, "unknown augmentation None"),
])  # fmt: skip
def test_a_wrong_chain_is_refused_with_the_nearest_name(link: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        check([link])


def test_colours_of_other_stacks_are_refused() -> None:
    with pytest.raises(UserError, match="stacks of 3 screens, not 4"):
        AUGMENTATIONS["grayscale"](noise(stack=4), draws())


@given(world=st.integers(1, 5), batch=st.integers(1, 4), step=st.integers(0, 10**6))
def test_ranks_meet_the_draws_of_one_process(world: int, batch: int, step: int) -> None:
    alone = draws(batch * world, step)
    whole = alone.uniform(-1, 1, 2), alone.integers(7), alone.normal(3), alone.chance(0.5)
    for rank in range(world):
        mine = draws(batch, step, rank=rank, world=world)
        part = mine.uniform(-1, 1, 2), mine.integers(7), mine.normal(3), mine.chance(0.5)
        for all_of_it, some in zip(whole, part, strict=True):
            assert torch.equal(all_of_it[rank::world], some)


def test_steps_and_seeds_meet_other_draws() -> None:
    rows = [
        Draws(Stream.VIEWS, seed, step, 4, "cpu").uniform(0, 1)
        for seed in (0, 1)
        for step in (0, 1)
    ]
    assert len({tuple(row.tolist()) for row in rows}) == 4
