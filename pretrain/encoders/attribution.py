"""Where on the screen a number comes from, by several methods behind one call."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fovea.command import UserError
from fovea.pretrain.encoders.encoder import Encoder, inference, innermost
from fovea.pretrain.encoders.relevance import Outputs, relevance
from fovea.pretrain.encoders.vit import ViT

Method = Literal["relevance", "grad_cam", "occlusion", "integrated_gradients"]

CELL = 7  # px; the side of the squares that contributions of pixels are summed over
COVERED = 14  # px; the side of the squares that occlusion covers, one after the other
STEPS = 16  # of the integral
BATCH = 64


def attribute(
    encoder: Encoder,
    outputs: Outputs,
    screens: Tensor,
    target: Tensor | None = None,
    method: Method | None = None,
    background: Tensor | None = None,
) -> Tensor:
    """(B, h, w) float32 maps over what the encoder sees, on the CPU, each at least 0.

        agent = load_agent("runs/dqn").agent
        maps = attribute(agent.acting_encoder, agent.action_scores, screens, actions)

    relevance is for ViTs (see `relevance.relevance`), its maps lie on the grid of patches.
    captum's methods: `grad_cam` (LayerGradCam of the last feature map of a CNN), and for every
    encoder `occlusion` (squares of COVERED px in place of which the background is shown) and
    `integrated_gradients` (from the background to the screen; the size of what pixels contribute,
    summed over squares of CELL px).

    Args:
        encoder: in whatever computes `outputs`, in eval mode.
        outputs: computes K numbers of each screen from float pixels in [0, 1], through `encoder`:
            `agent.action_scores`, or `lambda pixels: encoder.encode_pixels(pixels).summary`.
        screens: (B, stack, H, W) uint8.
        target: (B,) int64, which of the K numbers is asked about; by default the first.
        method: by default relevance for ViTs, grad_cam for the others.
        background: (stack, H, W) uint8, a screen without objects; black by default.

    Raises UserError where the method does not apply to the encoder, and without captum.
    """
    chosen = method or best(encoder)
    at = next(encoder.parameters()).device
    target = torch.zeros(len(screens), dtype=torch.int64) if target is None else target
    empty = torch.zeros_like(screens[0]) if background is None else background
    base = empty.to(at).float() / 255
    how = METHODS[chosen]
    return torch.cat(
        [
            how(encoder, outputs, some.to(at).float() / 255, which.to(at), base).float().cpu()
            for some, which in zip(screens.split(BATCH), target.split(BATCH), strict=True)
        ]
    )


def best(encoder: Encoder) -> Method:
    """The method that suits an encoder best: relevance for a ViT, grad_cam for any other."""
    return "relevance" if vit_in(encoder) else "grad_cam"


def vit_in(encoder: nn.Module) -> ViT | None:
    """The ViT that an encoder is or is built around, if there is one."""
    return next((part for part in encoder.modules() if isinstance(part, ViT)), None)


def named(encoder: Encoder) -> str:
    """What an encoder is inside of all that is built around it."""
    inner = innermost(encoder)
    return getattr(inner, "architecture", type(inner).__name__)


def _relevance(
    encoder: Encoder, outputs: Outputs, pixels: Tensor, target: Tensor, base: Tensor
) -> Tensor:
    vit = vit_in(encoder)
    if vit is None:
        raise UserError(f"relevance is for ViTs, not for a {named(encoder)}: take grad_cam")
    return relevance(vit, outputs, pixels, target, base)


def _grad_cam(
    encoder: Encoder, outputs: Outputs, pixels: Tensor, target: Tensor, base: Tensor
) -> Tensor:
    layer = last_map(encoder)
    if layer is None:
        raise UserError(
            f"grad_cam needs a last feature map, and a {named(encoder)} has none: take occlusion"
        )
    found = _captum().LayerGradCam(outputs, layer).attribute(
        pixels.requires_grad_(), target=target, relu_attributions=True
    )  # fmt: skip
    return found.detach()[:, 0]


def _occlusion(
    encoder: Encoder, outputs: Outputs, pixels: Tensor, target: Tensor, base: Tensor
) -> Tensor:
    shape = pixels.shape[1], COVERED, COVERED
    with torch.no_grad():
        found = _captum().Occlusion(outputs).attribute(
            pixels, sliding_window_shapes=shape, strides=shape, baselines=base[None], target=target
        )  # fmt: skip
    return _cells(encoder, found.clamp(min=0).mean(1), COVERED) / COVERED**2


def _integrated(
    encoder: Encoder, outputs: Outputs, pixels: Tensor, target: Tensor, base: Tensor
) -> Tensor:
    found = _captum().IntegratedGradients(outputs).attribute(
        pixels, baselines=base[None], target=target, n_steps=STEPS, internal_batch_size=BATCH
    )  # fmt: skip
    return _cells(encoder, found.detach().abs().sum(1), CELL)


METHODS: dict[Method, Callable[[Encoder, Outputs, Tensor, Tensor, Tensor], Tensor]] = {
    "relevance": _relevance,
    "grad_cam": _grad_cam,
    "occlusion": _occlusion,
    "integrated_gradients": _integrated,
}


def _captum() -> ModuleType:
    try:
        from captum import attr
    except ImportError:
        raise UserError("attributions need captum: pip install 'fovea-rl[captum]'") from None
    return attr


def _cells(encoder: Encoder, whole: Tensor, side: int) -> Tensor:
    """Pixels (B, H, W) summed over squares of `side` px of what the encoder sees."""
    (top, left), (height, width) = encoder.margin, encoder.input_size
    seen = whole[:, top : top + height, left : left + width]
    return F.avg_pool2d(seen[:, None], side, ceil_mode=True)[:, 0] * side**2


def last_map(encoder: Encoder) -> nn.Module | None:
    """The module whose output (B, D, gh, gw) the encoder's tokens are, if there is one."""
    maps: list[tuple[nn.Module, Tensor]] = []

    def see(module: nn.Module, _inputs: tuple, output: object) -> None:
        if isinstance(output, Tensor) and output.ndim == 4:
            maps.append((module, output))

    handles = [module.register_forward_hook(see) for module in encoder.modules()]
    try:
        with inference(encoder):
            like = next(encoder.parameters())
            blank = (1, encoder.stack, *encoder.screen)
            tokens = encoder(torch.zeros(blank, dtype=torch.uint8, device=like.device)).tokens
    finally:
        for handle in handles:
            handle.remove()
    fit = [module for module, one in maps if torch.equal(one.flatten(2).mT, tokens)]
    return fit[-1] if fit else None
