"""What a probe found, stored as it comes.

    RUN/probes/PROBE.json   title, settings and the tables of every encoder
    RUN/probes/PROBE.npz    arrays "ENCODER/ARRAY", where the probe returned any

A result counts as finished for as long as the encoder's weights, the recordings, the settings and
the version stay what they were.
"""

from __future__ import annotations

import inspect
import json
import math
import zipfile
from importlib.metadata import version
from pathlib import Path
from types import ModuleType

import numpy as np

from fovea.command import UserError
from fovea.files import replacing, write_json

PARTS = ("fingerprints", "left_out", "encoders")  # each by encoder


class Result:
    """What one probe found so far, in its two files.

    Encoders that were measured before on the same recordings with the same settings stay.

    Args:
        folder: of the run.
        name: of the probe, and its module.
        data: SHA-256 of each game's recording.
        settings: of the run; those that the probe has a keyword for are handed to it.
    """

    def __init__(self, folder: Path, name: str, module: ModuleType, data: dict, settings: dict):
        self.path = folder / "probes" / f"{name}.json"
        parameters = inspect.signature(module.probe).parameters.values()
        defaults = {p.name: p.default for p in parameters if p.kind == p.KEYWORD_ONLY}
        self.keywords = {k: settings.get(k, default) for k, default in defaults.items()}
        head = {
            "probe": name,
            "title": module.TITLE,
            "about": module.ABOUT,
            "settings": settings | self.keywords,
            "recordings": data,
            "version": version("fovea-rl"),
        }
        stored = self._stored()
        comparable = all(stored.get(key) == value for key, value in head.items())
        self.record = head | {part: stored[part] if comparable else {} for part in PARTS}
        self.arrays = self._stored_arrays() if comparable else {}

    def holds(self, encoder: str, weights: str) -> bool:
        """Whether the encoder of this name was measured with these weights."""
        return self.record["fingerprints"].get(encoder) == weights

    def add(self, encoder: str, weights: str, found: dict) -> None:
        """Store what the probe returned."""
        self._forget(encoder)
        arrays = found.get("arrays", {})
        self.arrays |= {f"{encoder}/{name}": np.asarray(array) for name, array in arrays.items()}
        with replacing(self.path.with_suffix(".npz")) as temporary, open(temporary, "wb") as file:
            np.savez_compressed(file, **self.arrays)
        self.record["encoders"][encoder] = {"tables": _plain(found["tables"])}
        self._finish(encoder, weights)

    def leave_out(self, encoder: str, weights: str, reason: str) -> None:
        """Store why the probe does not apply."""
        self._forget(encoder)
        self.record["left_out"][encoder] = reason
        self._finish(encoder, weights)

    def _forget(self, encoder: str) -> None:
        for part in PARTS:
            self.record[part].pop(encoder, None)
        self.arrays = {k: v for k, v in self.arrays.items() if not k.startswith(f"{encoder}/")}
        # Before the arrays are written: tables never stand beside the arrays of other weights.
        write_json(self.path, self.record)

    def _finish(self, encoder: str, weights: str) -> None:
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
        try:
            with np.load(self.path.with_suffix(".npz")) as file:
                return dict(file)
        except FileNotFoundError:
            return {}
        except (ValueError, OSError, zipfile.BadZipFile) as fault:
            raise UserError(
                f"{self.path.with_suffix('.npz')} is damaged ({fault}): "
                f"delete it and {self.path.name} to start anew"
            ) from None


def _plain(value):
    """As JSON can hold it: NaN and infinity become null."""
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
