"""What tells encoders apart, wherever they lie."""

from __future__ import annotations

import hashlib

from fovea.pretrain.encoders.encoder import Encoder


def fingerprint(encoder: Encoder) -> str:
    """SHA-256 of what an encoder is: its kind, shape and weights."""
    shape = [getattr(encoder, name, None) for name in ("architecture", "model_args")]
    kind = (type(encoder).__name__, encoder.dim, encoder.stack, tuple(encoder.screen), *shape)
    digest = hashlib.sha256(repr(kind).encode())
    for name, weight in encoder.state_dict().items():
        digest.update(f"{name} {weight.dtype} {tuple(weight.shape)}".encode())
        digest.update(weight.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
