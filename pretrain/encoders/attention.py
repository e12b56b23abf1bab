"""Where an encoder looks: attention maps, and pictures of them."""

from __future__ import annotations

import math

import cv2
import numpy as np
import torch
from torch import Tensor

from fovea import heat
from fovea.pretrain.encoders.encoder import Encoder, inference

BATCH = 64


def attention_map(encoder: Encoder, screens: np.ndarray | Tensor) -> np.ndarray:
    """Attention of the CLS token over the patches in the last block, mean over heads.

    Args:
        encoder: a ViT.
        screens: (N, stack, H, W) uint8, oldest first.

    Returns (N, gh, gw) float32. A map sums to what the CLS token leaves of 1.

    Raises UserError where the encoder has no attention, or takes other screens.
    """
    device, places = next(encoder.parameters()).device, math.prod(encoder.grid or ())
    with inference(encoder):
        rows = [
            encoder.attention(some.to(device))[-1, :, :, 0, -places:].mean(dim=1).float().cpu()
            for some in torch.as_tensor(screens).split(BATCH)
        ]
    return torch.cat(rows).unflatten(1, encoder.grid).numpy()


def on_screen(encoder: Encoder, maps: np.ndarray) -> np.ndarray:
    """Maps (N, gh, gw) stretched over what the encoder sees of a screen, (N, H, W) float32.

    0 where it does not look.
    """
    (top, left), (height, width) = encoder.margin, encoder.input_size
    whole = np.zeros((len(maps), *encoder.screen), np.float32)
    for place, small in zip(whole, maps, strict=True):
        place[top : top + height, left : left + width] = cv2.resize(
            small, (width, height), interpolation=cv2.INTER_LINEAR
        )
    return whole


def overlay(encoder: Encoder, screens: np.ndarray | Tensor, maps: np.ndarray) -> np.ndarray:
    """Pictures of maps (N, gh, gw) over the newest of (N, stack, H, W) uint8 screens.

    Returns (N, H, W, 3) uint8, RGB. Each map is scaled from nothing to its own strongest patch.
    """
    newest = np.asarray(screens)[:, -1]
    strongest = np.maximum(maps.max(axis=(1, 2), keepdims=True), 1e-12)
    whole = on_screen(encoder, maps / strongest)
    return np.stack([heat.overlay(*pair) for pair in zip(newest, whole, strict=True)])
