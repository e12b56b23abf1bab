"""Where what an encoder tells, or what an agent does, comes from; and whether that is so."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from fovea.agents.why import advantage
from fovea.command import UserError
from fovea.figures import AttentionMaps, Comparison
from fovea.pretrain.encoders.attribution import Method, attribute
from fovea.pretrain.encoders.encoder import Encoder, inference
from fovea.pretrain.encoders.relevance import Outputs
from fovea.probes.features import (
    NotMeasured,
    Split,
    Splits,
    evenly_spaced,
    stacks,
    with_progress,
)
from fovea.probes.of_agents import agent_of, eyes_of
from fovea.probes.places import cells, mean, moving_pixels, object_pixels, share_and_area
from fovea.probes.references import Blind, Pixels
from fovea.results import Measured
from fovea.seeding import Stream, keyed
from fovea.tables import Table

TITLE = "Where the numbers come from"
ABOUT = (
    "Places of the screen that matter, by several methods: of an agent, for the score of its best "
    "action less the mean of all; of an encoder, for what sets its summary apart from that of a "
    "screen without objects (the median of the screens). On objects, on motion: the share of a map "
    "that lies there, over the share of the area, which chance would have. Deletion: the most "
    "important pixels are replaced by the median first; the area under the curve of how far the "
    "numbers move, 1 as far as on the median screen. Insertion: they are put into it first; the "
    "area under how near the numbers come. Higher is better for both; the method random is chance."
)
ORDER = 4
MEASURES = {
    "on_objects / object_area": "On objects, over chance",
    "on_motion / motion_area": "On what moves, over chance",
    "deletion": "Deletion, area under the curve",
    "insertion": "Insertion, area under the curve",
}
FIGURES = [
    Comparison(
        table="methods",
        along="method",
        choice="game",
        title="Do the maps tell what matters?",
        about="A method whose deletion and insertion are those of random does not explain this "
        "encoder, wherever its maps lie.",
        measures=MEASURES,
    ),
    AttentionMaps(
        title="Where the numbers come from",
        about="Maps of every method over the newest screen, each scaled from nothing to its own "
        "strongest place; of an agent also what speaks for each of its actions.",
    ),
]
RANDOM = "random"
METHODS = (*get_args(Method), RANDOM)
QUICK: tuple[Method, ...] = ("relevance", "grad_cam")
SHARES = 8  # steps from no pixel to all
PICTURED = 12  # cells along each side of the maps that are kept


def probe(
    encoder: Encoder,
    games: dict[str, Splits],
    *,
    pictures: int = 6,
    explained: int = 16,
    seed: int = 0,
) -> Measured:
    """Maps of `explained` test stacks a game by each method that applies, and how true they are.

    Arrays: screens (M, H, W) uint8, what the encoder sees of the newest of each stack; maps (L, 1,
    M, 12, 12) float32; labels (L,) str, of the methods and, of an agent, its actions; game (M,)
    str; of `pictures` stacks a game.

    Raises NotMeasured for references, and where no method applies.
    """
    if isinstance(encoder, Pixels | Blind):
        raise NotMeasured("it is a reference without places that could matter")
    rows: list[list] = []
    kept = []
    with inference(encoder):
        for game in with_progress(games, "explaining"):
            found = of_game(encoder, game, games[game].test, explained, seed)
            rows += [[game, method, *numbers] for method, numbers in found.numbers.items()]
            every = list(found.maps.values())
            kept.append((game, *pictured(encoder, games[game].test, explained, pictures, every)))
    names, screens, maps = zip(*kept, strict=True)
    table = Table(
        name="methods",
        title="Methods",
        columns=["game", "method", "on_objects", "object_area", "on_motion", "motion_area",
                 "deletion", "insertion"],
        rows=rows,
        note="Stacks without an object that is known, or without motion, are left out of these "
        "shares.",
    )  # fmt: skip
    arrays = {
        "screens": torch.cat(screens).numpy(),
        "maps": torch.cat(maps, dim=1)[:, None].numpy(),
        "labels": list(found.maps),
        "game": [name for name, of in zip(names, screens, strict=True) for _ in of],
    }
    return Measured([table], arrays)


class Explained(NamedTuple):
    """What the screens of a game gave."""

    numbers: dict[str, list[float]]
    """By method, those of a row of the table."""
    maps: dict[str, Tensor]
    """(n, h, w) by method; then, of an agent, what speaks for each action, by what is quickest."""


def of_game(encoder: Encoder, game: str, split: Split, count: int, seed: int) -> Explained:
    """The methods that apply, on `count` stacks. Raises NotMeasured where none does."""
    at = evenly_spaced(split.at, count)
    seen = stacks(encoder, split.frames, at)
    background = median(encoder, split)
    outputs, answer = asked(encoder, background, seen)
    with torch.no_grad():
        scores = outputs(seen.float() / 255)
    target = scores.argmax(1).cpu()
    motion = moving_pixels(encoder, seen).cpu()
    there = object_pixels(encoder, game, split, at)
    found, reasons = Explained({}, {}), []
    for method in METHODS:
        try:
            if method == RANDOM:
                generator = keyed("cpu", Stream.PROBE_MAPS, seed)
                maps = torch.rand(len(at), PICTURED, PICTURED, generator=generator)
            else:
                with torch.enable_grad():
                    maps = attribute(encoder, outputs, seen, target, method, background)
        except UserError as reason:
            reasons.append(str(reason))
            continue
        shares = maps.flatten(1) / maps.flatten(1).sum(1, keepdim=True).clamp(min=1e-30)
        numbers = []
        for pixels in (there, motion):
            share, area = share_and_area(shares, cells(pixels, *maps.shape[1:]))
            numbers += [mean(share), mean(area)]
        numbers += faithful(encoder, answer, seen, background, maps)
        found.numbers[method], found.maps[method.replace("_", " ")] = numbers, maps
    if set(found.numbers) == {RANDOM}:
        raise NotMeasured("; ".join(dict.fromkeys(reasons)))
    quick = next((method for method in QUICK if method in found.numbers), None)
    if quick and (eyes := eyes_of(encoder)):
        for number, name in enumerate(eyes.action_names):
            chosen = torch.full_like(target, number)
            with torch.enable_grad():
                maps = attribute(encoder, outputs, seen, chosen, quick, background)
            found.maps[f"{quick.replace('_', ' ')} of {name}"] = maps
    return found


def asked(
    encoder: Encoder, background: Tensor, screens: Tensor
) -> tuple[Outputs, Callable[[Tensor], Tensor]]:
    """What is explained: K numbers of pixels; and the vector whose movement says how they answer.

    Of an agent both are its scores less their mean. Of an encoder the number is the squared
    distance of the summary from the background's, over the mean of that for all the screens (how
    much relevance keeps of a token and how much it mixes depends on the number's scale), and the
    vector is the summary.
    """
    if agent := agent_of(encoder):
        scores = advantage(agent)
        return scores, scores

    def summary(pixels: Tensor) -> Tensor:
        return encoder.encode_pixels(pixels).summary.float()

    with torch.no_grad():
        base = summary(background[None].float() / 255)
        scale = (summary(screens.float() / 255) - base).square().sum(1).mean().clamp(min=1e-12)

    def distance(pixels: Tensor) -> Tensor:
        return (summary(pixels) - base).square().sum(1, keepdim=True) / scale

    return distance, summary


def median(encoder: Encoder, split: Split, most: int = 256) -> Tensor:
    """(stack, H, W) uint8: the median of the split's screens, at most `most`, as a still stack.

    What moves is not on it.
    """
    screens = split.frames.screens[evenly_spaced(split.at, most)].median(0).values
    device = next(encoder.parameters()).device
    return screens.expand(encoder.stack, -1, -1).contiguous().to(device)


def faithful(
    encoder: Encoder,
    answer: Callable[[Tensor], Tensor],
    screens: Tensor,
    background: Tensor,
    maps: Tensor,
) -> list[float]:
    """The areas under the curves of deletion and insertion (Petsiuk et al. 2018, arXiv 1806.07421).

    Theirs is the probability of a class. Numbers of any scale are compared here: by the distance of
    the answer from that on the whole screen, over its distance on the background, means of stacks.
    """
    order = ranked(encoder, maps).to(screens.device)
    base = background[None].float() / 255
    pixels = screens.float() / 255
    deleted: list[float] = []
    inserted: list[float] = []
    with torch.no_grad():
        whole = answer(pixels)
        most = float((answer(base) - whole).norm(dim=1).mean())
        for step in range(SHARES + 1):
            first = (order < step / SHARES)[:, None]
            for curve, gone in ((deleted, first), (inserted, ~first)):
                there = answer(torch.where(gone, base, pixels))
                curve.append(float((there - whole).norm(dim=1).mean()))
    if not most:
        return [math.nan, math.nan]
    return [area_under(deleted) / most, 1 - area_under(inserted) / most]


def ranked(encoder: Encoder, maps: Tensor) -> Tensor:
    """(n, H, W) in [0, 1]: the share of pixels that matter more, by maps (n, h, w).

    Pixels that the encoder does not see come last.
    """
    (top, left), (height, width) = encoder.margin, encoder.input_size
    levels = torch.full((len(maps), *encoder.screen), -1.0)
    stretched = F.interpolate(maps[:, None].float(), (height, width))[:, 0]
    levels[:, top : top + height, left : left + width] = stretched
    order = levels.flatten(1).argsort(dim=1, descending=True, stable=True).argsort(dim=1)
    return (order / order.shape[1]).view(levels.shape)


def area_under(curve: list[float]) -> float:
    """Of values at even steps from 0 to 1, by the trapezoid rule."""
    return (sum(curve) - (curve[0] + curve[-1]) / 2) / (len(curve) - 1)


def pictured(
    encoder: Encoder,
    split: Split,
    explained: int,
    count: int,
    found: list[Tensor],
) -> tuple[Tensor, Tensor]:
    """Screens (M, H, W) as seen, and maps (L, M, 12, 12) of maps (n, h, w)."""
    at = evenly_spaced(split.at, explained)
    some = evenly_spaced(torch.arange(len(at)), count)
    (top, left), (height, width) = encoder.margin, encoder.input_size
    newest = split.frames.screens[at[some], top : top + height, left : left + width]
    sides = (PICTURED, PICTURED)
    maps = [F.interpolate(of[some][:, None], sides)[:, 0] for of in found]
    return newest, torch.stack(maps)
