"""The model card of an encoder folder, made of facts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import yaml

from fovea.foreign import load_yaml, read_text
from fovea.tables import markdown

CARD = """---
library_name: {library}
license: mit
pipeline_tag: reinforcement-learning
tags: [fovea, atari, reinforcement-learning, self-supervised]
---
# {title}

A {dim}-wide `{architecture}` for stacks of {channels} grey screens of {height}x{width} px,
pretrained with Fovea on what an Atari agent sees, without rewards.

## How it came to be

{facts}
{settings}{found}
## How to load it

```python
from fovea import load_encoder  # verified; takes uint8 screens (B, {channels}, H, W)
encoder = load_encoder("{ref}")
summary, tokens = encoder(screens)
```
{others}
In stable-baselines3, frozen or learning (`pip install 'fovea-rl[sb3]'`):

```python
from fovea.agents.sb3 import policy_kwargs
from stable_baselines3 import PPO
model = PPO("CnnPolicy", envs, policy_kwargs=policy_kwargs("{ref}"))
```

`fovea hub export {ref} --onnx encoder.onnx` makes it an ONNX file. Weights are fp32 under
{library}'s names. `SHA256SUMS` holds the hash of every file.
"""
TIMM = """
The same weights in plain timm and in transformers. Both take floats, screens / 255{gives}:{pull}

```python
import timm
model = timm.create_model("{timm}", pretrained=True)
features = model(screens / 255)
```

```python
from transformers import AutoModel
model = AutoModel.from_pretrained("{transformers}")  # a TimmWrapperModel
features = model(pixel_values=screens / 255).pooler_output
```

Image processors and pipelines do not apply: they make pictures of 3 channels.
"""
PULL = "\n`fovea hub pull {ref} --out {name}` makes the folder."
CLASS_TOKEN = ", and give the class token; the summary, which its read-out makes, needs Fovea"
SETTINGS = """
<details><summary>Settings of its objective</summary>

```yaml
{text}```
</details>
"""


def make_card(
    ref: str, config: dict, library: str, settings: str = "", found: Sequence[str] = ()
) -> str:
    """README.md of an encoder folder.

    Args:
        ref: how readers will name it: a folder, `pretrained:NAME` or `hf-hub:ORG/NAME`.
        config: its config.json.
        library: whose names its weights have, timm or fovea.
        settings: what `objective_settings` returned.
        found: sections on what was found out about it.
    """
    facts = {key: value for key, value in config["fovea"].items() if key != "format_version"}
    channels, height, width = config["pretrained_cfg"]["input_size"]
    kind, _, name = ref.partition(":")
    name = name or ref
    pull = PULL.format(ref=ref, name=name) if kind == "pretrained" else ""
    others = TIMM.format(
        timm=ref if kind == "hf-hub" else f"local-dir:{name}",
        transformers=name,
        gives=CLASS_TOKEN if "read_out" in facts else "",
        pull=pull,
    )
    return CARD.format(
        title=name,
        ref=ref,
        library=library,
        others=others if library == "timm" else "",
        dim=config["num_features"],
        architecture=config["architecture"],
        channels=channels,
        height=height,
        width=width,
        facts="\n".join(markdown(["", ""], [_row(*fact) for fact in facts.items()])),
        settings=SETTINGS.format(text=settings) if settings else "",
        found="".join(f"\n{section.strip()}\n" for section in found),
    )


def in_half(text: str) -> str:
    """The card of a folder whose weights are the same in half precision."""
    return text.replace("Weights are fp32", "Weights are fp16")


def objective_settings(folder: Path) -> str:
    """The objective and its settings, as YAML, where `folder` lies in the run that made it."""
    config = folder.parent / "config.yaml"
    if folder.name != "encoder" or not config.exists():
        return ""
    model = load_yaml(read_text(config), config).get("model")
    return yaml.safe_dump(model, sort_keys=False) if model else ""


def listed(value: object) -> str:
    """A fact of a config.json in words: names and what they have, or one after the other."""
    if isinstance(value, Mapping):
        value = [f"{name} {one}" for name, one in value.items()]
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _row(key: str, value: object) -> list[str]:
    return [key.replace("_", " "), listed(value).replace("|", "\\|")]
