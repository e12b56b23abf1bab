"""The run folder: the whole interface between what trains or probes and what shows it.

    runs/NAME/  run.json       what, with which config, data, versions and seed; its state
                config.yaml    resolved
                metrics.csv    step,name,value; append-only, the last row of a (step, name) counts
                checkpoints/   *.ckpt and *.ckpt.sha256
                encoder/       the encoder folder
                probes/        NAME.json and NAME.npz
                media/         videos and pictures

This module imports no torch, so that light commands stay light.
"""

from __future__ import annotations

import json
import os
import shlex
import sys
import time
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

from fovea.command import UserError
from fovea.files import write_json

PACKAGES = ("fovea-rl", "torch", "lightning", "timm", "ale-py", "numpy")


class Run:
    """A run folder that this process owns (see `fovea.files.exclusive`).

    Args:
        folder: where it lies; made when missing.
        kind: the room that writes it: pretrain, agent, probes.
        title: what it does, in a few words for people.
        writes: False on all ranks of a run but its first: they read the folder and leave it alone.
    """

    def __init__(self, folder: str | Path, kind: str, title: str, writes: bool = True):
        self.folder, self.writes = Path(folder), writes
        self.folder.mkdir(parents=True, exist_ok=True)
        self.record = read_run(self.folder) or {
            "name": self.folder.name,
            "kind": kind,
            "title": title,
            "started": _now(),
            "seconds": 0.0,
        }
        if self.record["kind"] != kind:
            raise UserError(
                f"{self.folder} holds a run of kind {self.record['kind']}, not {kind}: "
                "give another folder"
            )
        self._began = time.monotonic() - self.record["seconds"]

    def update(self, **fields: object) -> None:
        """Set fields of run.json (state, step, steps, reason, evaluation ...) and write it."""
        self.record.update(fields)
        self.record["updated"] = _now()
        self.record["seconds"] = round(time.monotonic() - self._began, 3)
        if self.writes:
            write_json(self.folder / "run.json", self.record)

    def begin(self, **fields: object) -> None:
        """Mark the run as running, with the command and the versions that run it."""
        self.update(
            state="running",
            reason=None,
            command=shlex.join([*_program(), *sys.argv[1:]]),
            versions={name: version(name) for name in PACKAGES},
            **fields,
        )

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """Append rows to metrics.csv, one a metric, as one write; a torn last line is ended."""
        if not self.writes:
            return
        rows = "".join(f"{step},{name},{float(value)!r}\n" for name, value in metrics.items())
        with open(self.folder / "metrics.csv", "ab+") as file:
            if not file.tell():
                rows = "step,name,value\n" + rows
            else:
                file.seek(-1, os.SEEK_END)
                rows = rows if file.read() == b"\n" else "\n" + rows
            file.write(rows.encode())


def read_run(folder: str | Path) -> dict | None:
    """run.json of a run folder, or None where there is none.

    Raises UserError where it is there but no JSON.
    """
    path = Path(folder) / "run.json"
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except ValueError as fault:
        raise UserError(f"{path} is damaged ({fault}): delete it to start anew") from None


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S%z")


def _program() -> list[str]:
    """What was typed before the arguments: `fovea`, or `fovea ROOM` of `python -m fovea.ROOM`."""
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    if spec and spec.name.startswith("fovea"):
        return spec.name.removesuffix(".__main__").split(".")
    return [Path(sys.argv[0]).name]
