"""The results of a probe, stored as they come.

A result counts as finished for as long as the encoder's weights, the recordings, the settings and
the version stay what they were.
"""

from __future__ import annotations

import inspect
import zipfile
from pathlib import Path
from types import ModuleType

import numpy as np

from fovea import __version__
from fovea.command import UserError
from fovea.results import (
    LAST,
    Measured,
    ProbeResult,
    read_arrays,
    read_result,
    write_arrays,
)

SAME = ("probe", "settings", "recordings", "version")
"""What has to be the same for results of two encoders to stand beside each other."""


class ResultFile:
    """The results of one probe so far, in its two files (see `fovea.results`).

    Encoders that were measured before on the same recordings with the same settings stay.

    Args:
        folder: of the run.
        name: of the probe.
        module: its file.
        data: SHA-256 of each game's recording.
        settings: of the run; those that the probe has a keyword for are handed to it.
        own: settings of some probes alone, which the others neither take nor note.
    """

    def __init__(
        self,
        folder: Path,
        name: str,
        module: ModuleType,
        data: dict,
        settings: dict,
        own: dict | None = None,
    ):
        self.path = folder / "probes" / f"{name}.json"
        self.keywords = keywords(module, settings | (own or {}))
        self.result = ProbeResult(
            probe=name,
            title=module.TITLE,
            about=module.ABOUT,
            order=getattr(module, "ORDER", LAST),
            figures=getattr(module, "FIGURES", []),
            verdict=getattr(module, "VERDICT", None),
            settings=settings | self.keywords,
            recordings=data,
            version=__version__,
        )
        self.arrays: dict[str, np.ndarray] = {}
        stored = self._stored()
        if stored and all(getattr(stored, key) == getattr(self.result, key) for key in SAME):
            self.result.encoders = stored.encoders
            self.result.left_out = stored.left_out
            self.result.partly = stored.partly
            self.result.takes = stored.takes
            self.result.fingerprints = stored.fingerprints
            self.arrays = self._stored_arrays()

    def holds(self, encoder: str, weights: str) -> bool:
        """Whether the encoder of this name was measured with these weights."""
        return self.result.fingerprints.get(encoder) == weights

    def add(self, encoder: str, weights: str, found: Measured, takes: str = "") -> None:
        """Store what the probe returned, and how the encoder takes screens, where not as usual."""
        self._forget(encoder)
        if takes:
            self.result.takes[encoder] = takes
        self.arrays |= {f"{encoder}/{key}": np.asarray(a) for key, a in found.arrays.items()}
        write_arrays(self.path, self.arrays)
        self.result.encoders[encoder] = found.tables
        if found.left_out:
            self.result.partly[encoder] = [*found.left_out]
        self._finish(encoder, weights)

    def leave_out(self, encoder: str, weights: str, reason: str) -> None:
        """Store why the probe does not apply."""
        self._forget(encoder)
        self.result.left_out[encoder] = reason
        self._finish(encoder, weights)

    def _forget(self, encoder: str) -> None:
        kept = self.result
        for of in (kept.encoders, kept.left_out, kept.partly, kept.fingerprints, kept.takes):
            of.pop(encoder, None)
        self.arrays = {k: v for k, v in self.arrays.items() if not k.startswith(f"{encoder}/")}
        # Before the arrays are written: tables never stand beside the arrays of other weights.
        self.result.write(self.path)

    def _finish(self, encoder: str, weights: str) -> None:
        self.result.fingerprints[encoder] = weights
        self.result.write(self.path)

    def _stored(self) -> ProbeResult | None:
        try:
            return read_result(self.path)
        except FileNotFoundError:
            return None
        except (ValueError, TypeError, KeyError, AttributeError) as fault:
            raise UserError(f"{self.path} is damaged ({fault}): delete it to start anew") from None

    def _stored_arrays(self) -> dict[str, np.ndarray]:
        try:
            return read_arrays(self.path)
        except (ValueError, OSError, zipfile.BadZipFile) as fault:
            raise UserError(
                f"{self.path.with_suffix('.npz')} is damaged ({fault}): "
                f"delete it and {self.path.name} to start anew"
            ) from None


def keywords(module: ModuleType, settings: dict) -> dict:
    """The settings that a probe has a keyword for, and the defaults of its others."""
    parameters = inspect.signature(module.probe).parameters.values()
    defaults = {p.name: p.default for p in parameters if p.kind == p.KEYWORD_ONLY}
    return {name: settings.get(name, default) for name, default in defaults.items()}
