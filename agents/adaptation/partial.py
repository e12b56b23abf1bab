"""Some of an encoder's own weights learn, and the rest are fixed."""

from __future__ import annotations

from jsonargparse.typing import NonNegativeFloat
from torch import nn

from fovea.agents.adaptation.base import Held
from fovea.command import UserError
from fovea.pretrain.encoders.encoder import Encoder


class LayerNormOnly(Held):
    """Scales and shifts of its layer norms learn with the heads.

    Args:
        encoder: a reference or an encoder.
        lr_scale: their learning rate as a share of the heads'.

    Raises UserError for an encoder without layer norms.
    """

    def __init__(self, encoder: str | Encoder, lr_scale: NonNegativeFloat = 1.0):
        super().__init__(encoder, lr_scale)
        norms = [module for module in self.encoder.modules() if isinstance(module, nn.LayerNorm)]
        if not norms:
            raise UserError(
                f"LayerNormOnly trains layer norms, and a {type(self.encoder).__name__} has none: "
                "take a ViT, or BitFit"
            )
        for norm in norms:
            norm.requires_grad_(True)


class BitFit(Held):
    """Its biases learn with the heads (Ben Zaken, Ravfogel, Goldberg 2022, arXiv 2106.10199).

    Batch normalisations keep the statistics of pretraining: those of a batch would change every
    layer without a gradient, and undo the bias before each.

    Args:
        encoder: a reference or an encoder.
        lr_scale: their learning rate as a share of the heads'.
    """

    def __init__(self, encoder: str | Encoder, lr_scale: NonNegativeFloat = 1.0):
        super().__init__(encoder, lr_scale)
        for name, weights in self.encoder.named_parameters():
            weights.requires_grad_(name.endswith("bias"))
