"""Any other model of timm as an encoder: CNNs, hierarchical and hybrid transformers, mixers."""

from __future__ import annotations

from collections.abc import Sequence
from math import isqrt, prod
from typing import Any, NamedTuple

import timm
import torch
from einops import rearrange
from timm.layers import PatchEmbed
from torch import Tensor, nn

from fovea.command import UserError, nearest
from fovea.pretrain.encoders.encoder import Cropped, Encoder, Features, inference, side_by_side
from fovea.pretrain.encoders.vit import Shape, ViT, build, check_patch, input_side
from fovea.seeding import Stream, seeded
from fovea.weights import check_shapes

FAULTS = (AssertionError, RuntimeError, TypeError, ValueError, AttributeError)
"""What timm's models raise where an input does not suit them."""

FETCHES = ("checkpoint_path", "pretrained", "pretrained_cfg", "pretrained_cfg_overlay", "cache_dir")
"""Arguments of `timm.create_model` that open files and addresses."""


class TimmModel(Cropped):
    """A timm model without its classifier.

    Tokens are the places of the last feature map, or the tokens without class and register tokens.
    The summary is what timm's own head pools of them, or their mean where that head widens it
    (MobileNetV3's). Blocks are the stages, or blocks, of `forward_intermediates`; the summary of a
    block is the mean of its places.

    Batch normalisations use and record a batch's statistics only under gradients, as those of our
    own CNNs do (see `cnn.Norm`): an agent acts on a few similar screens.

    Args:
        architecture: a name of timm's registry.
        model_args: arguments of `timm.create_model`: in_chans, img_size where it takes one ...
        screen: height and width of the screens it takes; the input is their middle `img_size`.

    Raises UserError for a model that gives no feature map of such screens.
    """

    library = "timm"

    def __init__(self, architecture: str, model_args: dict, screen: tuple[int, int]):
        super().__init__()
        self.architecture, self.model_args = architecture, model_args
        self.stack = model_args["in_chans"]
        self.look_at(screen, model_args.get("img_size", screen))
        try:
            self.model = timm.create_model(architecture, num_classes=0, **model_args)
            with inference(self):
                blank = torch.zeros(1, self.stack, *self.input_size)
                maps = self.model.forward_features(blank)
                tokens, self.grid = self._tokens(maps), self._grid(maps)
                self.depth = self._depth(blank)
        except FAULTS as fault:
            side = " x ".join(map(str, self.input_size))
            reason = " ".join(str(fault).split()) or type(fault).__name__
            raise UserError(
                f"timm's {architecture} gives no features of {side} px ({reason}): set crop to a "
                "side that it takes, or take another model"
            ) from fault
        self.dim = tokens.shape[2]
        self.takes_crops = "img_size" not in model_args

    @property
    def body(self) -> nn.Module:
        """timm's model."""
        return self.model

    def encode(self, pixels: Tensor) -> Features:
        """The places of the last feature map, and the pooled vector, of pixels in [0, 1]."""
        if self.training and not torch.is_grad_enabled():
            with inference(self):
                return self.encode(pixels)
        maps = self.model.forward_features(pixels)
        tokens = self._tokens(maps)
        summary = self.model.forward_head(maps, pre_logits=True)
        return self.features(
            summary if summary.shape[1] == self.dim else tokens.mean(dim=1), tokens
        )

    def encode_blocks(self, pixels: Tensor, blocks: Sequence[int]) -> Features:
        if self.training and not torch.is_grad_enabled():
            with inference(self):
                return self.encode_blocks(pixels, blocks)
        order = sorted(set(blocks))
        maps = self.model.forward_intermediates(
            pixels,
            indices=[number - 1 for number in order],
            norm=True,
            stop_early=True,
            intermediates_only=True,
        )
        outputs = {}
        for number, found in zip(order, maps, strict=True):
            tokens = rearrange(found, "b d h w -> b (h w) d")
            outputs[number] = Features(tokens.mean(dim=1), tokens)
        return side_by_side([outputs[number] for number in blocks], blocks)

    def compile(self, **how) -> None:
        """Compile what makes the feature map, in place."""
        self.model.forward_features = torch.compile(self.model.forward_features, **how)

    def _tokens(self, maps: Tensor) -> Tensor:
        """(B, N, D) of what timm's `forward_features` returns."""
        if not isinstance(maps, Tensor) or maps.ndim not in (3, 4):
            raise ValueError("it has no single feature map")
        if maps.ndim == 3:
            return maps[:, getattr(self.model, "num_prefix_tokens", 0) :]
        if getattr(self.model, "output_fmt", "NCHW") == "NHWC":
            return rearrange(maps, "b h w d -> b (h w) d")
        return rearrange(maps, "b d h w -> b (h w) d")

    def _grid(self, maps: Tensor) -> tuple[int, int] | None:
        if maps.ndim == 4:
            last = getattr(self.model, "output_fmt", "NCHW") == "NHWC"
            return tuple(maps.shape[1:3] if last else maps.shape[2:])
        count = self._tokens(maps).shape[1]
        patches = getattr(getattr(self.model, "patch_embed", None), "grid_size", None)
        if patches and prod(patches) == count:
            return tuple(patches)
        return (isqrt(count),) * 2 if isqrt(count) ** 2 == count else None

    def _depth(self, blank: Tensor) -> int:
        """How many feature maps `forward_intermediates` offers; 0 where there is none."""
        if not hasattr(self.model, "forward_intermediates"):
            return 0
        return len(self.model.forward_intermediates(blank, intermediates_only=True))


def is_known(architecture: str) -> bool:
    """Whether timm has a model of this name."""
    return timm.is_model(architecture)


def is_vit(architecture: str) -> bool:
    """Whether it is one of timm's plain vision transformers, which `ViT` wraps."""
    return _file(architecture) == "vision_transformer"


class Published(NamedTuple):
    """A model of timm with the weights that were published for it, for pictures."""

    encoder: Encoder
    mean: tuple[float, ...]
    """Of each channel, taken off pixels in [0, 1]."""
    std: tuple[float, ...]
    """By which they are divided then."""


def load_published(name: str) -> Published:
    """timm's model `name` with its published weights; `local-dir:FOLDER` of one that timm saved.

    Raises UserError for a name that timm has not, one without weights, and where they are not to
    be had.
    """
    try:
        model = timm.create_model(name, pretrained=True, num_classes=0)
    except (RuntimeError, OSError, ValueError) as fault:
        near = "" if ":" in name else nearest(name.split(".")[0], timm.list_models(), otherwise="")
        reason = str(fault).splitlines()[0]
        raise UserError(f"timm gives no weights of {name!r} ({reason}){near}") from None
    known = model.pretrained_cfg
    channels, height, width = known["input_size"]
    args: dict[str, Any] = {"in_chans": channels}
    if known.get("fixed_input_size"):
        args["img_size"] = [height, width]
    encoder = load_timm(known["architecture"], args, (height, width))
    check_shapes(
        encoder.body.state_dict(),
        weights := model.state_dict(),
        lambda weight, given, expected: (
            f"timm's {name} has a weight {weight} of {given or 'nothing'}, and its architecture "
            f"{known['architecture']} one of {expected or 'nothing'}: adopt it (fovea hub adopt)"
        ),
    )
    encoder.body.load_state_dict(weights)
    return Published(encoder.eval(), tuple(known["mean"]), tuple(known["std"]))


def load_timm(architecture: str, model_args: dict, screen: tuple[int, int]) -> Encoder:
    """The encoder that wraps a timm model, with any weights.

    Raises UserError for arguments that would have timm load weights from elsewhere, such as a
    pickle: they come from config.json of anybody's folder.
    """
    for name in FETCHES:
        if name in model_args:
            raise UserError(
                f"{name!r} among the model_args of a config.json would have timm load weights "
                "from elsewhere: do not use that folder"
            )
    return (ViT if is_vit(architecture) else TimmModel)(architecture, model_args, screen)


def build_timm(name: str, shape: Shape, seed: int = 0) -> Encoder:
    """The untrained model `name`, with timm's initialisation drawn from `seed`.

    Raises UserError for a model that timm has not, and one that does not take such screens.
    """
    if not is_known(name):
        near = nearest(name, timm.list_models(), otherwise=": timm.list_models() has their names")
        raise UserError(f"timm has no model {name!r}{near}")
    if is_vit(name):
        return build(shape, seed)
    side = input_side(shape)
    model_args: dict[str, Any] = {"in_chans": shape.stack}
    if timm.get_pretrained_cfg(name).fixed_input_size:
        model_args["img_size"] = [side, side]
    elif shape.crop:
        raise UserError(f"crop {shape.crop}: timm's {name} takes any screen, leave it out")
    if _file(name) == "eva":  # ViTs with rotary positions
        check_patch(shape.patch, side)
        model_args["patch_size"] = shape.patch
    if shape.global_pool:
        model_args["global_pool"] = shape.global_pool
    with seeded(Stream.ENCODER, seed):
        encoder = TimmModel(name, model_args, (shape.screen, shape.screen))
    for module in encoder.model.modules():
        if isinstance(module, PatchEmbed):
            check_patch(module.patch_size[0], side)
    return encoder


def _file(architecture: str) -> str:
    return timm.model_entrypoint(architecture).__module__.rpartition(".")[2]
