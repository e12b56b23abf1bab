"""What an encoder attends to, how sparse it is, whether it collapsed, what can be read off it.

from fovea import probes
tables = probes.measure("runs/mine", ["runs/recordings"], probe="state", samples=2000)
tables["overall"]                                   # shown in a notebook
pandas.DataFrame(tables["variables"].records())
maps = probes.attention_map(encoder, screens)       # (N, stack, H, W) uint8 to (N, gh, gw)
probes.overlay(encoder, screens, maps)              # (N, H, W, 3) uint8, RGB
"""

from __future__ import annotations

from fovea.lazy import lazily

__getattr__, __dir__ = lazily(
    __name__,
    {
        "attention_map": "fovea.pretrain.encoders.attention",
        "measure": "fovea.probes.run",
        "overlay": "fovea.pretrain.encoders.attention",
    },
)
