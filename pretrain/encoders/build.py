"""Untrained encoders of every kind, by their shape or by name."""

from __future__ import annotations

import re

from fovea.command import UserError
from fovea.pretrain.encoders.cnn import CNNS, build_cnn
from fovea.pretrain.encoders.encoder import Encoder
from fovea.pretrain.encoders.multi_query import make_read_out
from fovea.pretrain.encoders.patches import build_patches
from fovea.pretrain.encoders.timm_model import build_timm, is_known
from fovea.pretrain.encoders.vit import SIZES, Shape, build

PATCHES = re.compile(r"patches(\d+)")
"""The name of `Patches`, and the side of a patch."""


def build_encoder(shape: Shape, seed: int = 0) -> Encoder:
    """An untrained encoder of `shape`, its initial weights drawn from `seed`.

    Raises UserError for an unknown name, and for what does not fit the screen.
    """
    encoder = _body(shape, seed)
    if shape.read_out.queries:
        encoder.read_out = make_read_out(shape.read_out, encoder.dim, seed)
    return encoder


def _body(shape: Shape, seed: int) -> Encoder:
    if shape.timm:
        return build_timm(shape.timm, shape, seed)
    if shape.size in CNNS:
        if shape.crop:
            raise UserError(f"crop {shape.crop}: {shape.size} sees the whole screen, leave it out")
        return build_cnn(shape.size, shape.stack, shape.screen, seed)
    if shape.size not in SIZES:
        raise UserError(
            f"unknown encoder size {shape.size!r}: choose one of {', '.join([*SIZES, *CNNS])}, or "
            "name a model of timm in timm"
        )
    return build(shape, seed)


def untrained(name: str, seed: int = 0) -> Encoder:
    """The encoder of the default shape that `random:NAME` names.

    Raises UserError for an unknown name.
    """
    if found := PATCHES.fullmatch(name):
        return build_patches(int(found[1]))
    if name in SIZES or name in CNNS:
        return build_encoder(Shape(size=name), seed)
    if is_known(name):
        return build_encoder(Shape(timm=name), seed)
    known = ", ".join([*SIZES, *CNNS, "patches14"])
    raise UserError(f"unknown encoder size {name!r}: choose one of {known}, or a model of timm")
