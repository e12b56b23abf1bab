"""The model card of an encoder folder."""

from __future__ import annotations

CARD = """---
library_name: {library}
license: mit
pipeline_tag: reinforcement-learning
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
summary, tokens = encoder(screens)
```
{others}
In stable-baselines3, frozen or learning (`pip install 'fovea-rl[sb3]'`):

```python
from fovea.agents.sb3 import policy_kwargs
from stable_baselines3 import DQN
model = DQN("CnnPolicy", envs, policy_kwargs=policy_kwargs("{name}"))
```

`fovea hub export {name} --onnx encoder.onnx` makes it an ONNX file. Weights are fp32 under
{library}'s names. `SHA256SUMS` holds the hash of every file.
"""
TIMM = """
The same weights in plain timm and in transformers. Both take floats, screens / 255:

```python
import timm
model = timm.create_model("local-dir:{name}", pretrained=True)
features = model(screens / 255)
```

```python
from transformers import AutoModel
model = AutoModel.from_pretrained("{name}")  # a TimmWrapperModel
features = model(pixel_values=screens / 255).pooler_output
```

Image processors and pipelines do not apply: they make pictures of 3 channels.
"""


def make_card(name: str, config: dict, library: str) -> str:
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
