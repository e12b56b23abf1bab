"""The model card of an encoder folder."""

from __future__ import annotations

CARD = """---
library_name: {library}
license: mit
pipeline_tag: image-feature-extraction
tags: [fovea, atari, reinforcement-learning, self-supervised]
---
# {name}

A {dim}-wide `{architecture}` for stacks of {channels} grey screens of {height}x{width} px,
pretrained with Fovea on what an Atari agent sees, without rewards.

| | |
| --- | --- |
{rows}

```python
from fovea import load_encoder  # verified; takes uint8 screens (B, {channels}, H, W)
encoder = load_encoder("{name}")
{others}```

Weights are fp32 under {library}'s names. `SHA256SUMS` holds the hash of every file.
"""
TIMM = """
import timm  # the same weights; takes screens / 255 as floats
model = timm.create_model("local-dir:{name}", pretrained=True)
"""


def card(name: str, config: dict, library: str) -> str:
    """README.md for the encoder folder `name` with this config.json and weights of `library`."""
    facts = {key: value for key, value in config["fovea"].items() if key != "format_version"}
    channels, height, width = config["pretrained_cfg"]["input_size"]
    return CARD.format(
        name=name,
        library=library,
        others=TIMM.format(name=name) if library == "timm" else "",
        dim=config["num_features"],
        architecture=config["architecture"],
        channels=channels,
        height=height,
        width=width,
        rows="\n".join(f"| {key.replace('_', ' ')} | {_cell(facts[key])} |" for key in facts),
    )


def in_half(text: str) -> str:
    """The card of a folder whose weights are the same in half precision."""
    return text.replace("Weights are fp32", "Weights are fp16")


def _cell(value: object) -> str:
    text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    return text.replace("|", "\\|")
