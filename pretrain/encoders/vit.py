"""Vision transformers: timm's, behind `Encoder`. The only import of timm's models."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import timm
import torch
from einops import rearrange
from timm.layers import resample_abs_pos_embed
from torch import Tensor
from torch.utils.hooks import RemovableHandle

from fovea.command import UserError
from fovea.pretrain.encoders.encoder import Encoder, Features
from fovea.pretrain.encoders.multi_query import NO_READ_OUT, ReadOut, make_read_out
from fovea.seeding import Stream, seeded

# What differs from timm's `vit_tiny_patch16_224`, or which registry model it is.
SIZES = {
    "vit_micro": ("vit_tiny_patch16_224", {"embed_dim": 96, "depth": 4, "num_heads": 3}),
    "vit_tiny": ("vit_tiny_patch16_224", {}),
    "vit_small": ("vit_small_patch16_224", {}),
    "vit_base": ("vit_base_patch16_224", {}),
}


@dataclass(frozen=True)
class Shape:
    """The shape of a ViT.

    Args:
        size: vit_micro (96 wide, 4 blocks, 3 heads), vit_tiny, vit_small or vit_base.
        patch: side of a patch in pixels; it must divide the side of the input.
        stack: screens stacked as channels, oldest first.
        screen: side of the square screens in pixels.
        crop: side of the middle square that is the input, where it is not the whole screen.
        positions: initial position embeddings: "normal" as in timm, std 0.02, or "sincos", 2-D and
            of unit amplitude, which are not small beside what all patches have in common.
        patch_gain: factor on the initial weights of the patch embedding.
        read_out: learned queries that make the summary of all patch tokens, which without them is
            the CLS token.
    """

    size: str = "vit_micro"
    patch: int = 14
    stack: int = 4
    screen: int = 84
    crop: int | None = None
    positions: Literal["normal", "sincos"] = "normal"
    patch_gain: float = 1.0
    read_out: ReadOut = NO_READ_OUT


class ViT(Encoder):
    """A timm vision transformer without its head.

    Args:
        architecture: a name of timm's registry.
        model_args: arguments of `timm.create_model`: img_size, patch_size, in_chans ...
        screen: height and width of the screens it takes; the input is their middle `img_size`.
    """

    library = "timm"

    def __init__(self, architecture: str, model_args: dict, screen: tuple[int, int]):
        super().__init__()
        self.architecture, self.model_args = architecture, model_args
        self.vit = timm.create_model(architecture, num_classes=0, **model_args)
        self.dim = self.vit.embed_dim
        self.grid = self.vit.patch_embed.grid_size
        self.stack = model_args["in_chans"]
        self.screen = tuple(screen)
        self.input_size = tuple(self.vit.patch_embed.img_size)

    def scale(self, screens: Tensor) -> Tensor:
        """(B, stack, H, W) uint8 to float pixels in [0, 1] of the middle that is the input."""
        return self.crop(super().scale(screens))

    def crop(self, screens: Tensor) -> Tensor:
        """The middle of (..., H, W) that is the input."""
        (top, left), (height, width) = self.margin, self.input_size
        return screens[..., top : top + height, left : left + width]

    @property
    def body(self) -> torch.nn.Module:
        """timm's model."""
        return self.vit

    @property
    def margin(self) -> tuple[int, int]:
        """Rows above and columns left of the middle that is the input."""
        (height, width), (rows, columns) = self.screen, self.input_size
        return (height - rows) // 2, (width - columns) // 2

    def encode(self, pixels: Tensor) -> Features:
        """The normed CLS token and the normed patch tokens of float pixels in [0, 1]."""
        return self.attend(self.embed(pixels))

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
        return self.encode(self.pixels(crops))

    def embed(self, pixels: Tensor) -> Tensor:
        """(B, 1 + N, D): the CLS token and the patches of float pixels, with their positions.

        For pixels of another size than `input_size`, positions are interpolated, bicubic (Caron et
        al. 2021, arXiv 2104.14294, DINO).
        """
        vit, first = self.vit, self.vit.num_prefix_tokens
        patches = vit.patch_embed.proj(pixels)
        positions = resample_abs_pos_embed(
            vit.pos_embed, patches.shape[2:], self.grid, num_prefix_tokens=first
        )
        summary = vit.cls_token.expand(len(patches), -1, -1)
        tokens = rearrange(patches, "b d h w -> b (h w) d")
        return torch.cat([summary, tokens], dim=1) + positions

    def attend(self, tokens: Tensor) -> Features:
        """The blocks and the last norm, on embedded tokens (B, 1 + n, D), all of them or some."""
        tokens = self.vit.norm(self.vit.blocks(tokens))
        first = self.vit.num_prefix_tokens
        return self.features(tokens[:, 0], tokens[:, first:])

    def compile(self, **how) -> None:
        """Compile the blocks in place: whole screens, crops and visible patches all use them."""
        self.vit.blocks.compile(**how)

    def attention(self, screens: Tensor) -> Tensor:
        """(L, B, heads, T, T) attention, from the queries and keys of each block.

        timm's fused kernels never form the matrix, so it is computed again from `qkv`.
        """
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


def build(shape: Shape, seed: int = 0) -> ViT:
    """An untrained ViT of `shape`, with timm's initialisation drawn from `seed`.

    Raises UserError for an unknown size, or a patch that does not divide the screen.
    """
    if shape.size not in SIZES:
        raise UserError(f"unknown encoder size {shape.size!r}: choose one of {', '.join(SIZES)}")
    side = shape.crop or shape.screen
    if not 0 < side <= shape.screen:
        raise UserError(f"crop {side} is not within the {shape.screen} px screen: make it smaller")
    if shape.patch < 1 or side % shape.patch:
        fits = ", ".join(str(p) for p in range(6, side // 2 + 1) if side % p == 0)
        whole = side - side % max(shape.patch, 1)
        raise UserError(
            f"patch {shape.patch} does not divide the {side} px screen and would drop its last "
            f"rows and columns: take a patch of {fits} px, or say so with crop: {whole}"
        )
    architecture, differences = SIZES[shape.size]
    model_args = {
        "img_size": [side, side],
        "patch_size": shape.patch,
        "in_chans": shape.stack,
        "global_pool": "token",
        **differences,
    }
    with seeded(Stream.ENCODER, seed), torch.no_grad():
        encoder = ViT(architecture, model_args, (shape.screen, shape.screen))
        encoder.vit.patch_embed.proj.weight.mul_(shape.patch_gain)
        if shape.positions == "sincos":
            first = encoder.vit.num_prefix_tokens
            encoder.vit.pos_embed.zero_()[:, first:] = sincos(*encoder.grid, encoder.dim)
    if shape.read_out.queries:
        encoder.read_out = make_read_out(shape.read_out, encoder.dim, seed)
    return encoder


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
