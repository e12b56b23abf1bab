"""Vision transformers: timm's, behind `Encoder`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import timm
import torch
from einops import rearrange
from jsonargparse.typing import NonNegativeInt, PositiveFloat, PositiveInt
from timm.layers import PatchEmbed, resample_abs_pos_embed
from torch import Tensor
from torch.utils.hooks import RemovableHandle

from fovea.command import UserError
from fovea.pretrain.encoders.encoder import Cropped, Encoder, Features, side_by_side
from fovea.pretrain.encoders.multi_query import NO_READ_OUT, MultiQueryShape
from fovea.seeding import Stream, seeded

# What differs from timm's `vit_tiny_patch16_224`, or which registry model it is.
SIZES = {
    "vit_micro": ("vit_tiny_patch16_224", {"embed_dim": 96, "depth": 4, "num_heads": 3}),
    "vit_tiny": ("vit_tiny_patch16_224", {}),
    "vit_small": ("vit_small_patch16_224", {}),
    "vit_base": ("vit_base_patch16_224", {}),
}


GlobalPool = Literal["token", "avg", "max", "map"]


@dataclass(frozen=True)
class Shape:
    """The shape of an encoder.

    Args:
        size: of a ViT: vit_micro (96 wide, 4 blocks, 3 heads), vit_tiny, vit_small or vit_base; or
            a CNN: nature_cnn, nature_cnn_orthogonal, impala_cnn or sgi_resnet.
        patch: side of a patch of a ViT in pixels; it must divide the side of the input.
        stack: screens stacked as channels, oldest first.
        screen: side of the square screens in pixels.
        crop: side of the middle square that is the input, where it is not the whole screen; CNNs of
            `size` see all of it.
        positions: initial position embeddings of a ViT: "normal" as in timm, std 0.02, or "sincos",
            2-D and of unit amplitude, which are not small beside what all patches have in common.
        patch_gain: factor on the initial weights of a ViT's patch embedding.
        registers: register tokens of a ViT of `size` (Darcet et al. 2023, arXiv 2309.16588).
        global_pool: how the summary is made of the tokens: token (the CLS token), avg, max, or map
            (attention pooling); null is token for a `size` of ViT, and a timm model's own.
        timm: name of a model of timm, in place of `size`: convnext_atto, resnet18,
            vit_small_patch14_reg4_dinov2 ...
        read_out: learned queries that make the summary of all patch tokens, in place of
            `global_pool`.
    """

    size: str = "vit_micro"
    patch: PositiveInt = 14
    stack: PositiveInt = 4
    screen: PositiveInt = 84
    crop: PositiveInt | None = None
    positions: Literal["normal", "sincos"] = "normal"
    patch_gain: PositiveFloat = 1.0
    registers: NonNegativeInt = 0
    global_pool: GlobalPool | None = None
    timm: str | None = None
    read_out: MultiQueryShape = NO_READ_OUT


class ViT(Cropped):
    """A timm vision transformer without its head.

    Args:
        architecture: a name of timm's registry.
        model_args: arguments of `timm.create_model`: img_size, patch_size, in_chans ...
        screen: height and width of the screens it takes; the input is their middle `img_size`.

    Raises UserError for a ViT whose patches timm embeds in a way of their own.
    """

    library = "timm"
    takes_crops = True

    def __init__(self, architecture: str, model_args: dict, screen: tuple[int, int]):
        super().__init__()
        self.architecture, self.model_args = architecture, model_args
        self.vit = timm.create_model(architecture, num_classes=0, **model_args)
        if not isinstance(self.vit.patch_embed, PatchEmbed):
            raise UserError(
                f"timm's {architecture} embeds its patches in a way that is not known here "
                f"({type(self.vit.patch_embed).__name__}): take another model"
            )
        self.dim, self.depth = self.vit.embed_dim, len(self.vit.blocks)
        self.grid = self.vit.patch_embed.grid_size
        self.stack = model_args["in_chans"]
        self.look_at(screen, self.vit.patch_embed.img_size)

    @property
    def body(self) -> torch.nn.Module:
        """timm's model."""
        return self.vit

    def encode(self, pixels: Tensor) -> Features:
        """The normed summary and the normed patch tokens of float pixels in [0, 1]."""
        return self.attend(self.embed(pixels))

    def encode_blocks(self, pixels: Tensor, blocks: Sequence[int]) -> Features:
        return self.attend(self.embed(pixels), blocks=blocks)

    def encode_crops(self, crops: Tensor) -> Features:
        """Encode (B, stack, h, w) uint8 crops of another size than whole screens.

        Raises UserError where patches do not divide their sides.
        """
        patch = self.vit.patch_embed.patch_size[0]
        if any(side % patch for side in crops.shape[-2:]):
            raise UserError(
                f"patch {patch} does not divide crops of {' x '.join(map(str, crops.shape[-2:]))} "
                f"px: take a multiple of {patch} for their side"
            )
        return super().encode_crops(crops)

    def embed(self, pixels: Tensor) -> Tensor:
        """(B, P + N, D): the P prefix tokens (CLS, registers) and the patches, with positions.

        For pixels of another size than `input_size`, positions are interpolated, bicubic (Caron et
        al. 2021, arXiv 2104.14294, DINO).
        """
        vit = self.vit
        patches = vit.patch_embed.proj(pixels)
        tokens = vit.patch_embed.norm(rearrange(patches, "b d h w -> b (h w) d"))
        prefix = [
            token.expand(tokens.shape[0], -1, -1)  # traced; len() would be a constant
            for token in (vit.cls_token, vit.reg_token)
            if token is not None
        ]
        if vit.pos_embed is None:
            return vit.norm_pre(torch.cat([*prefix, tokens], dim=1))
        positions = resample_abs_pos_embed(
            vit.pos_embed,
            patches.shape[2:],
            self.grid,
            num_prefix_tokens=0 if vit.no_embed_class else vit.num_prefix_tokens,
        )
        if vit.no_embed_class:
            return vit.norm_pre(torch.cat([*prefix, tokens + positions], dim=1))
        return vit.norm_pre(torch.cat([*prefix, tokens], dim=1) + positions)

    def trunk(self, pixels: Tensor, last: int) -> Tensor:
        """(B, P + N, D): the tokens after block number `last`; after 0, as they are embedded.

        `attend(tokens, first=last)` goes on from there.
        """
        return self.vit.blocks[:last](self.embed(pixels))

    def attend(self, tokens: Tensor, first: int = 0, blocks: Sequence[int] = ()) -> Features:
        """The blocks and the last norm, on embedded tokens (B, P + n, D), all of them or some.

        Args:
            tokens: what `embed` returned, or `trunk`.
            first: the number of the block whose outputs they are.
            blocks: those whose features are wanted, each through the last norm (as DINOv2, arXiv
                2304.07193, takes features of several), none of them below `first`; no block above
                them is computed. None given: the last.
        """
        if not blocks:
            rest = self.vit.blocks[first:] if first else self.vit.blocks
            return self.features(*self.pooled(rest(tokens)))
        outputs = {first: tokens}
        for number in range(first + 1, max(blocks) + 1):
            tokens = outputs[number] = self.vit.blocks[number - 1](tokens)
        return side_by_side([self.pooled(outputs[number]) for number in blocks], blocks)

    def pooled(self, tokens: Tensor) -> Features:
        """The features in a block's outputs (B, P + n, D): normed, and pooled as timm does."""
        tokens = self.vit.norm(tokens)
        summary = self.vit.forward_head(tokens, pre_logits=True)
        return Features(summary, tokens[:, self.vit.num_prefix_tokens :])

    def compile(self, **how) -> None:
        """Compile the blocks in place: whole screens, crops and visible patches all use them."""
        self.vit.blocks.compile(**how)

    def attention(self, screens: Tensor) -> Tensor:
        """(L, B, heads, T, T) attention, from the queries and keys of each block.

        timm's fused kernels never form the matrix, so it is computed again from `qkv`.

        Raises UserError for a ViT without a CLS token.
        """
        if self.vit.cls_token is None:
            raise UserError("a ViT without a CLS token has no attention of it: take one that has")
        with _outputs([block.attn.qkv for block in self.vit.blocks]) as projections:
            self(screens)
        layers = []
        for block, qkv in zip(self.vit.blocks, projections, strict=True):
            attn = block.attn
            q, k, _ = rearrange(qkv, "b t (qkv h d) -> qkv b h t d", qkv=3, h=attn.num_heads)
            q, k = attn.q_norm(q), attn.k_norm(k)
            logits = torch.einsum("bhqd,bhkd->bhqk", q * attn.scale, k)
            layers.append(logits.softmax(dim=-1))
        return torch.stack(layers)


def require_vit(encoder: Encoder, why: str) -> None:
    """Raise UserError where `encoder` is no ViT; `why` says what is done that needs one."""
    if not isinstance(encoder, ViT):
        raise UserError(
            f"{why}, and a {encoder.architecture} is no ViT: set encoder.size to a size of ViT, or "
            "take an objective that sees whole screens"
        )


def build(shape: Shape, seed: int = 0) -> ViT:
    """An untrained ViT of `shape`, with timm's initialisation drawn from `seed`.

    Raises UserError for an unknown size, or a patch that does not divide the screen.
    """
    if not shape.timm and shape.size not in SIZES:
        raise UserError(f"unknown encoder size {shape.size!r}: choose one of {', '.join(SIZES)}")
    side = input_side(shape)
    check_patch(shape.patch, side)
    architecture, differences = SIZES[shape.size] if not shape.timm else (shape.timm, {})
    model_args = {"img_size": [side, side], "patch_size": shape.patch, "in_chans": shape.stack}
    if pool := shape.global_pool or (None if shape.timm else "token"):
        model_args["global_pool"] = pool
    if shape.registers:
        model_args["reg_tokens"] = shape.registers
    with seeded(Stream.ENCODER, seed), torch.no_grad():
        encoder = ViT(architecture, model_args | differences, (shape.screen, shape.screen))
        vit = encoder.vit
        vit.patch_embed.proj.weight.mul_(shape.patch_gain)
        if shape.positions == "sincos":
            first = 0 if vit.no_embed_class else vit.num_prefix_tokens
            rows, columns = vit.patch_embed.grid_size
            vit.pos_embed.zero_()[:, first:] = sincos(rows, columns, encoder.dim)
    return encoder


def input_side(shape: Shape) -> int:
    """Side of the input in pixels. Raises UserError for a crop that is not within the screen."""
    side = shape.crop or shape.screen
    if not 0 < side <= shape.screen:
        raise UserError(f"crop {side} is not within the {shape.screen} px screen: make it smaller")
    return side


def check_patch(patch: int, side: int) -> None:
    """Raise UserError for a patch that does not divide the side of the input."""
    if patch < 1 or side % patch:
        fits = ", ".join(str(p) for p in range(6, side // 2 + 1) if side % p == 0)
        whole = side - side % max(patch, 1)
        raise UserError(
            f"patch {patch} does not divide the {side} px screen and would drop its last "
            f"rows and columns: take a patch of {fits} px, or say so with crop: {whole}"
        )


def sincos(rows: int, columns: int, dim: int) -> Tensor:
    """(rows * columns, dim) positions: sine and cosine of the column, then of the row.

    Wavelengths 2 pi to 2 pi * 10^4 patches (Chen, Xie, He 2021, arXiv 2104.02057, MoCo v3).
    """
    frequencies = 10_000.0 ** -(torch.arange(dim // 4) / (dim // 4))
    row, column = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
    angles = [place.flatten()[:, None] * frequencies for place in (column, row)]
    return torch.cat([wave(angle) for angle in angles for wave in (torch.sin, torch.cos)], dim=1)


@contextmanager
def _outputs(modules: list[torch.nn.Module]) -> Iterator[list[Tensor]]:
    """Collect what each of `modules` returns during the forward passes inside the block."""
    collected: list[Tensor] = []
    handles: list[RemovableHandle] = [
        module.register_forward_hook(lambda _module, _inputs, output: collected.append(output))
        for module in modules
    ]
    try:
        yield collected
    finally:
        for handle in handles:
            handle.remove()
