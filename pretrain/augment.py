"""Augmentations on the device, drawn for each sample and applied to the whole batch at once.

Each takes screens (B, stack, H, W) uint8 and the step's draws, and returns screens alike. All
screens of a stack share one draw: they are moments in time, not colour channels. `p` in a chain,
the share of samples an augmentation is applied to, is handled by `augment`.
"""

from __future__ import annotations

import inspect

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

from fovea.command import UserError, nearest
from fovea.seeding import Draws

Chain = list[dict]


def augment(screens: Tensor, draws: Draws, chain: Chain) -> Tensor:
    """Apply a chain such as `[{"name": "shift", "pixels": 4}, {"name": "blur", "p": 0.1}]`."""
    for link in chain:
        settings = {key: value for key, value in link.items() if key not in ("name", "p")}
        changed = AUGMENTATIONS[link["name"]](screens, draws, **settings)
        p = link.get("p", 1.0)
        if p < 1:
            # Selecting whole samples is faster than a choice for every pixel.
            picked = torch.arange(len(screens), device=screens.device)
            picked = picked + len(screens) * draws.chance(p)
            changed = torch.cat([screens, changed]).index_select(0, picked)
        screens = changed
    return screens


def check(chain: Chain) -> Chain:
    """The chain itself.

    Raises UserError for an unknown augmentation or an unknown setting of one.
    """
    for link in chain:
        name = link.get("name")
        if name not in AUGMENTATIONS:
            raise UserError(f"unknown augmentation {name!r}{nearest(name, AUGMENTATIONS, 1)}")
        known = {"name", "p", *inspect.signature(AUGMENTATIONS[name]).parameters}
        known -= {"screens", "draws"}
        for key in link:
            if key not in known:
                raise UserError(f"augmentation {name} has no {key!r}{nearest(key, known, 1)}")
    return chain


def shift(screens: Tensor, draws: Draws, pixels: int = 4) -> Tensor:
    """Move by up to `pixels` each way; the border is repeated (Yarats et al. 2021, DrQ)."""
    height, width = screens.shape[-2:]
    down, right = (draws.integers(2 * pixels + 1, 1) - pixels for _ in range(2))
    rows = (torch.arange(height, device=screens.device) + down).clamp_(0, height - 1)
    columns = (torch.arange(width, device=screens.device) + right).clamp_(0, width - 1)
    at = (rows[:, :, None] * width + columns[:, None, :]).flatten(1)
    flat = screens.flatten(2)
    return flat.gather(2, at[:, None].expand_as(flat)).view_as(screens)


def intensity(screens: Tensor, draws: Draws, scale: float = 0.05) -> Tensor:
    """Multiply by 1 + scale * n, n normal and clipped to +-2 (Schwarzer et al. 2021, SPR)."""
    return _rounded(screens.float().mul_(1 + scale * _column(draws.normal().clamp(-2, 2))))


def colour_jitter(
    screens: Tensor,
    draws: Draws,
    brightness: float = 0.4,
    contrast: float = 0.4,
    saturation: float = 0.0,
    hue: float = 0.0,
) -> Tensor:
    """Brightness, contrast, saturation, hue, in this order; each drawn uniformly about no change.

    Saturation and hue take a stack of three as red, green and blue, as TOV-VICReg's code does.
    """
    factors = (draws.uniform(1 - s, 1 + s) for s in (brightness, contrast, saturation))
    bright, contrasted, saturated = map(_column, factors)
    screens = screens.float().mul_(bright).clamp_(0, 255)
    mean = screens.mean(dim=(1, 2, 3), keepdim=True)
    screens = screens.sub_(mean).mul_(contrasted).add_(mean).clamp_(0, 255)
    if saturation:
        grey = _luma(screens)
        screens = screens.sub_(grey).mul_(saturated).add_(grey).clamp_(0, 255)
    if hue:
        screens = _turn_hue(screens, draws.uniform(-hue, hue))
    return _rounded(screens)


def resized_crop(
    screens: Tensor,
    draws: Draws,
    scale: tuple[float, float] = (0.08, 1.0),
    ratio: tuple[float, float] = (3 / 4, 4 / 3),
    side: int | None = None,
) -> Tensor:
    """A box of a share `scale` of the area and of a side ratio in `ratio`, resized to the whole.

    Bilinear; to `side` x `side` where that is given. A box that would not fit is cut to the
    screen's side.
    """
    area = draws.uniform(*scale)
    low, high = torch.tensor(ratio).log().tolist()
    sides = draws.uniform(low, high).exp()
    width, height = (area * sides).sqrt().clamp(max=1), (area / sides).sqrt().clamp(max=1)
    x, y = ((1 - length) * draws.uniform(-1, 1) for length in (width, height))
    high, wide = (side or whole for whole in screens.shape[-2:])
    # The box is upright: rows and columns are sampled independently.
    down = y[:, None] + height[:, None] * _middles(high, screens.device)
    along = x[:, None] + width[:, None] * _middles(wide, screens.device)
    shape = (len(screens), high, wide)
    grid = torch.stack([along[:, None].expand(shape), down[:, :, None].expand(shape)], dim=3)
    cut = F.grid_sample(screens.float(), grid, padding_mode="border", align_corners=False)
    return _rounded(cut)


def grayscale(screens: Tensor, draws: Draws) -> Tensor:
    """Every screen becomes the weighted mean of the three, as if they were red, green and blue.

    It mixes moments in time; it exists because TOV-VICReg's published chain has it.
    """
    return _rounded(_luma(screens.float())).expand_as(screens)


def blur(
    screens: Tensor, draws: Draws, size: int = 7, sigma: tuple[float, float] = (0.1, 2.0)
) -> Tensor:
    """A Gaussian of `size` taps and a width uniform in `sigma` pixels; the border is mirrored.

    Taps below a thousandth of the middle one, at the largest width, are left out.
    """
    widths = draws.uniform(*sigma)[:, None]
    reach = min(size // 2, int(3.7 * max(sigma)))
    if not reach:
        return screens
    taps = torch.arange(-reach, reach + 1, device=screens.device)
    kernel = (-(taps**2) / (2 * widths**2)).softmax(dim=1)
    batch, stack = screens.shape[:2]
    padded = F.pad(screens.float(), [reach] * 4, mode="reflect")
    # One group for each screen: every sample has its own kernel.
    padded = rearrange(padded, "b s h w -> 1 (b s) h w")
    kernel = kernel.repeat_interleave(stack, dim=0)[:, None]
    padded = F.conv2d(padded, kernel[:, :, :, None], groups=batch * stack)
    blurred = F.conv2d(padded, kernel[:, :, None, :], groups=batch * stack)
    return _rounded(rearrange(blurred, "1 (b s) h w -> b s h w", s=stack))


def solarise(screens: Tensor, draws: Draws, threshold: int = 120) -> Tensor:
    """Invert every pixel that is not below `threshold`."""
    return torch.where(screens >= threshold, 255 - screens, screens)


def cut_out(
    screens: Tensor,
    draws: Draws,
    sides: tuple[float, float] = (0.1, 0.4),
    grey: int | None = None,
) -> Tensor:
    """Cover a rectangle with the sample's mean, or with `grey` (DeVries & Taylor 2017, Cutout).

    Its sides are uniform in `sides`, shares of the screen's, and it lies inside the screen.
    """
    inside = []
    for length in screens.shape[-2:]:
        side = (draws.uniform(*sides, 1) * length).round()
        begin = (draws.uniform(0, 1, 1) * (length - side + 1)).floor()
        at = torch.arange(length, device=screens.device)
        inside.append((at >= begin) & (at < begin + side))
    covered = inside[0][:, None, :, None] & inside[1][:, None, None, :]
    mean = _rounded(screens.float().mean(dim=(1, 2, 3), keepdim=True))
    return torch.where(covered, mean if grey is None else grey, screens)


def render(
    screens: Tensor,
    draws: Draws,
    palette: int = 8,
    gamma: float = 0.4,
    contrast: float = 0.4,
    variant: int = 0,
) -> Tensor:
    """Map the grey levels of each episode by a table of its own, the same at every step.

    After Sadeghi & Levine 2017 (CAD2RL, arXiv 1611.04201), who randomise the renderer; of a
    recording, only the grey levels can be changed. A table maps the 256 levels: `palette` bands of
    neighbouring levels are permuted (1: none, 256: any level becomes any other), then
    255 * (level / 255)^g with log g uniform in +-gamma, then the contrast about mid-grey is
    multiplied by 1 +- contrast. Two views that are to agree need a different `variant` each, or the
    table reveals the episode.
    """
    drawn = draws.by_episode(0, 1, palette + 2, key=variant)
    level = torch.arange(256, device=screens.device)
    # Sorted by the random place of their band: a permutation that keeps the order within bands.
    places = drawn[:, level * palette // 256].argsort(dim=1, stable=True).argsort(dim=1)
    power, factor = ((2 * drawn[:, [i]] - 1) for i in (-2, -1))
    bent = 255 * (places / 255) ** (gamma * power).exp()
    table = _rounded(127.5 + (bent - 127.5) * (1 + contrast * factor))
    return table.gather(1, screens.flatten(1).long()).view_as(screens)


def flip(screens: Tensor, draws: Draws) -> Tensor:
    """Mirror left and right. Games are not symmetric, so no default chain has it."""
    return screens.flip(-1)


AUGMENTATIONS = {
    function.__name__: function
    for function in (
        shift,
        intensity,
        colour_jitter,
        resized_crop,
        grayscale,
        blur,
        solarise,
        cut_out,
        render,
        flip,
    )
}


def _luma(screens: Tensor) -> Tensor:
    """(B, 1, H, W) luma of (B, 3, H, W) taken as red, green, blue."""
    if screens.shape[1] != 3:
        raise UserError(
            f"grayscale, saturation and hue need stacks of 3 screens, not {screens.shape[1]}: "
            "leave them out of the chain"
        )
    red, green, blue = screens.split(1, dim=1)
    return (0.299 * red).add_(green, alpha=0.587).add_(blue, alpha=0.114)


def _turn_hue(screens: Tensor, turns: Tensor) -> Tensor:
    """Turn the hue of (B, 3, H, W) by turns (B,) of the circle; value and saturation stay."""
    red, green, blue = screens.split(1, dim=1)
    value = torch.maximum(torch.maximum(red, green), blue)
    least = torch.minimum(torch.minimum(red, green), blue)
    spread = value - least
    chroma = spread.clamp(min=1e-6)
    # One of the three channels has the maximum; where two have it, both give the same hue. `lerp`
    # with weights of 0 and 1 is faster than `where`.
    is_red, is_green = ((value == one).float() for one in (red, green))
    sixth = torch.lerp((red - green) / chroma + 4, (blue - red) / chroma + 2, is_green)
    sixth = torch.lerp(sixth, (green - blue) / chroma, is_red)
    # Each channel rises from the minimum to the maximum as the hue moves towards it.
    offsets = torch.tensor([5.0, 3.0, 1.0], device=screens.device)[None, :, None, None]
    away = sixth / 6 + _column(turns + 1) + offsets / 6  # in turns, and never below 0
    share = away.frac_().mul_(6).sub_(2).abs_().sub_(1).clamp_(0, 1)
    return torch.addcmul(least, share, spread)


def _middles(count: int, device: torch.device) -> Tensor:
    """(count,) the centres of equal intervals from -1 to 1."""
    return (2 * torch.arange(count, device=device) + 1) / count - 1


def _column(values: Tensor) -> Tensor:
    return values[:, None, None, None]


def _rounded(screens: Tensor) -> Tensor:
    """Uint8 of float screens, which are overwritten: allocating costs more than the arithmetic."""
    # Two conversions, since CPUs have no fast one from float to uint8.
    return screens.round_().clamp_(0, 255).to(torch.int16).to(torch.uint8)
