"""Fovea: pretrained vision encoders for agents that learn from pixels.

    import fovea
    encoder = fovea.load_encoder("runs/mine")

Rooms: `fovea.atari`, `fovea.pretrain`, `fovea.probes`, `fovea.agents`, `fovea.analysis`. Nothing of
them is imported before it is asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fovea.lazy import lazily

if TYPE_CHECKING:
    from fovea.pretrain.encoders.folder import load_encoder as load_encoder

__version__ = "0.2.0"
__getattr__, __dir__ = lazily(__name__)
