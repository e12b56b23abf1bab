"""Encoders as ONNX files, kept only where onnxruntime computes the same (extra `onnx`)."""

from __future__ import annotations

import logging
import warnings
from pathlib import Path

import torch
from torch import Tensor, nn

from fovea.command import UserError
from fovea.files import replacing
from fovea.pretrain.encoders.encoder import Encoder
from fovea.pretrain.encoders.folder import load_encoder
from fovea.seeding import Stream, keyed

EXPORTED, CHECKED = 2, 5
"""Batch sizes that the graph is made with, and that it is checked with."""
TOLERANCE = 1e-3
"""Largest difference of a feature that passes for rounding; features are about 1."""


class AsTuple(nn.Module):
    """An encoder whose result is a plain tuple, as exporters want it.

    Args:
        encoder: the encoder.
    """

    def __init__(self, encoder: Encoder):
        super().__init__()
        self.encoder = encoder

    def forward(self, screens: Tensor) -> tuple[Tensor, Tensor]:
        """Summary (B, S) and tokens (B, N, D) of screens (B, stack, H, W) uint8."""
        summary, tokens = self.encoder(screens)
        return summary, tokens


def write_onnx(ref: str | Path | Encoder, file: Path) -> float:
    """Write an encoder as an ONNX file that takes any number of screens.

    Its input is `screens` (batch, stack, H, W) uint8, its outputs are `summary` and `tokens`.

    Args:
        ref: an encoder, or a reference to one, see `load_encoder`.
        file: where to; it is written whole or not at all.

    Returns the largest difference between what onnxruntime and torch compute of random screens.
    Raises UserError where the extra is missing, and where that is more than rounding.
    """
    try:
        import onnxruntime
        import onnxscript  # noqa: F401  # torch's exporter imports it
    except ImportError as fault:
        raise UserError(f"{fault}: pip install 'fovea-rl[onnx]'") from None
    encoder = (ref if isinstance(ref, Encoder) else load_encoder(ref)).eval().cpu()
    shape = encoder.stack, *encoder.screen
    generator = keyed("cpu", Stream.ONNX_CHECK, 0)
    screens = [
        torch.randint(0, 256, (size, *shape), generator=generator).to(torch.uint8)
        for size in (EXPORTED, CHECKED)
    ]
    with replacing(file) as temporary:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            logging.getLogger("torch.onnx").setLevel(logging.ERROR)
            torch.onnx.export(
                AsTuple(encoder),
                (screens[0],),
                temporary,
                input_names=["screens"],
                output_names=["summary", "tokens"],
                dynamic_shapes=({0: torch.export.Dim("batch")},),
                dynamo=True,
                external_data=False,
                verbose=False,
            )
        session = onnxruntime.InferenceSession(
            temporary.read_bytes(), providers=["CPUExecutionProvider"]
        )
        found = session.run(["summary", "tokens"], {"screens": screens[1].numpy()})
        with torch.no_grad():
            expected = encoder(screens[1])
        largest = max(
            float((torch.as_tensor(its) - ours).abs().max())
            for its, ours in zip(found, expected, strict=True)
        )
        if not largest < TOLERANCE:
            raise UserError(
                f"onnxruntime computes features that differ by {largest:.1e}: {file} is not "
                "written; another version of torch or onnxruntime may agree"
            )
    return largest
