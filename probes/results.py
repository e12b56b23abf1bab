"""What a probe found, stored as it comes.

    RUN/probes/PROBE.json   title, settings and the tables of every encoder
    RUN/probes/PROBE.npz    arrays "ENCODER/ARRAY"

A result counts as finished for as long as the encoder's weights, the recordings, the settings and
the version stay what they were.
"""

from __future__ import annotations

import inspect
import json
import math
from importlib.metadata import version
from pathlib import Path
from types import ModuleType

import numpy as np

from atari.command import UserError
from atari.files import replacing, write_json


class Result:
    """What one probe found so far, in its two files."""

    def __init__(self, folder: Path, name: str, module: ModuleType, data: dict, settings: dict):
        self.path = folder / "probes" / f"{name}.json"
        parameters = inspect.signature(module.probe).parameters.values()
        defaults = {p.name: p.default for p in parameters if p.kind == p.KEYWORD_ONLY}
        self.keywords = defaults | {k: v for k, v in settings.items() if k in defaults}
        head = {
            "probe": name,
            "title": module.TITLE,
            "about": module.ABOUT,
            "settings": self.keywords,
            "recordings": data,
            "version": version("fovea-rl"),
        }
        stored = self._stored()
        comparable = all(stored.get(key) == value for key, value in head.items())
        parts = ("fingerprints", "left_out", "encoders")
        self.record = head | {part: stored[part] if comparable else {} for part in parts}
        self.arrays = self._stored_arrays() if comparable else {}

    def holds(self, encoder: str, weights: str) -> bool:
        """Whether the encoder of this name was measured with these weights."""
        return self.record["fingerprints"].get(encoder) == weights

    def add(self, encoder: str, weights: str, found: dict) -> None:
        """Store what the probe returned."""
        self._forget(encoder)
        self.record["encoders"][encoder] = {"tables": _plain(found["tables"])}
        for name, array in found.get("arrays", {}).items():
            self.arrays[f"{encoder}/{name}"] = np.asarray(array)
        self._store(encoder, weights)

    def leave_out(self, encoder: str, weights: str, reason: str) -> None:
        """Store why the probe does not apply."""
        self._forget(encoder)
        self.record["left_out"][encoder] = reason
        self._store(encoder, weights)

    def _forget(self, encoder: str) -> None:
        self.record["encoders"].pop(encoder, None)
        self.record["left_out"].pop(encoder, None)
        self.arrays = {k: v for k, v in self.arrays.items() if not k.startswith(f"{encoder}/")}

    def _store(self, encoder: str, weights: str) -> None:
        # The arrays first: only the JSON says that an encoder is finished.
        with replacing(self.path.with_suffix(".npz")) as temporary, open(temporary, "wb") as file:
            np.savez_compressed(file, **self.arrays)
        self.record["fingerprints"][encoder] = weights
        write_json(self.path, self.record)

    def _stored(self) -> dict:
        try:
            return json.loads(self.path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        except ValueError as fault:
            raise UserError(f"{self.path} is damaged ({fault}): delete it to start anew") from None

    def _stored_arrays(self) -> dict[str, np.ndarray]:
        with np.load(self.path.with_suffix(".npz")) as file:
            return dict(file)


def _plain(value):
    """As JSON can hold it: NaN and infinity become null."""
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
