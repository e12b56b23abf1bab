"""What is where on the screens: pixels that move, and objects whose place the memory tells."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from fovea.atari.objects import on_objects
from fovea.pretrain.encoders.encoder import Encoder
from fovea.probes.features import Split

MOTION = 5 / 255  # change of a pixel within the stack that counts; the smallest sprites give 30


def moving_pixels(encoder: Encoder, screens: Tensor) -> Tensor:
    """(B, h, w) bool, of what the encoder sees: pixels that change within the stack."""
    pixels = encoder.scale(screens)
    return pixels.amax(1) - pixels.amin(1) > MOTION


def object_pixels(encoder: Encoder, game: str, split: Split, at: Tensor) -> Tensor:
    """(B, h, w) bool, of what the encoder sees: pixels on objects of the newest screens `at`.

    None where the game's objects are not known.
    """
    (top, left), (height, width) = encoder.margin, encoder.input_size
    whole = torch.from_numpy(on_objects(game, split.frames.labels["ram"][at].numpy()))
    return whole[:, top : top + height, left : left + width]


def cells(pixels: Tensor, rows: int, columns: int) -> Tensor:
    """(B, rows * columns) bool: which cells of a grid hold any of the pixels (B, h, w)."""
    return F.adaptive_max_pool2d(pixels.float()[:, None], (rows, columns)).flatten(1) > 0


def share_and_area(looks: Tensor, there: Tensor) -> tuple[Tensor, Tensor]:
    """Of what is looked at (..., B, N), the share on the cells `there` (B, N); and their area.

    Over the m stacks that have any such cells: (..., m) and (m,). The area is the share that an
    even spread, or chance, would have.
    """
    some = there.any(-1)
    return (looks * there).sum(-1)[..., some], there.double().mean(-1)[some]


def mean(numbers: Tensor) -> float:
    """The mean, NaN of none."""
    return float(numbers.double().mean()) if numbers.numel() else math.nan
