"""The run folder: the whole interface between what trains or probes and what shows it.

    runs/NAME/  run.json       what ran and how it stands, see `fovea.schema.RunRecord`
                config.yaml    resolved
                metrics.csv    see `fovea.metrics`
                checkpoints/   *.ckpt and *.ckpt.sha256
                encoder/       the encoder folder, of pretraining
                encoder.json   what an agent's encoder is built from
                probes/        NAME.json and NAME.npz, see `fovea.results`
                media/         videos and pictures

This module imports neither torch nor NumPy, so that light commands stay light.
"""

from __future__ import annotations

import json
import os
import shlex
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from fovea import __version__
from fovea.checkout import commit
from fovea.command import UserError
from fovea.files import write_json
from fovea.schema import RunRecord

PACKAGES = ("torch", "lightning", "timm", "ale-py", "numpy")


class RunWriter:
    """A run folder that this process owns (see `fovea.files.exclusive`).

    Args:
        folder: where it lies; made when missing.
        kind: what writes it: pretrain, agent, probes or continual.
        title: what it does, in a few words for people.
        writes: False on all ranks of a run but its first: they read the folder and leave it alone.

    Attributes:
        record: what run.json says, or will say with the next `update`.
    """

    def __init__(self, folder: str | Path, kind: str, title: str, writes: bool = True):
        self.folder, self.writes = Path(folder), writes
        self.folder.mkdir(parents=True, exist_ok=True)
        self.record = read_run(self.folder) or RunRecord(
            name=self.folder.name, kind=kind, title=title, started=timestamp()
        )
        if self.record.kind != kind:
            raise UserError(
                f"{self.folder} holds a run of kind {self.record.kind}, not {kind}: "
                "give another folder"
            )
        self._began = time.monotonic() - self.record.seconds

    def update(self, **fields: Any) -> None:
        """Set fields of the record (state, step, evaluation ...) and write run.json."""
        seconds = round(time.monotonic() - self._began, 3)
        changes: dict[str, Any] = {"updated": timestamp(), "seconds": seconds} | fields
        self.record = replace(self.record, **changes)
        if self.writes:
            write_json(self.folder / "run.json", self.record.plain())

    def begin(self, **fields: Any) -> None:
        """Mark the run as running, with the command, the commit and the versions that run it."""
        facts: dict[str, Any] = {"command": typed(), "commit": commit() if self.writes else None}
        versions = {"fovea-rl": __version__} | {name: version(name) for name in PACKAGES}
        self.update(state="running", reason=None, versions=versions, **facts, **fields)

    def remark(self, what: str) -> None:
        """Say on stderr, and keep in the record, what somebody should look at."""
        if self.writes:
            print(f"{self.folder}: {what}", file=sys.stderr, flush=True)
            self.update(remarks=[*self.record.remarks, what])

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


def run_folders(place: str | Path) -> Iterator[Path]:
    """The run folders at or below a place; what lies inside a run belongs to it."""
    for parent, below, files in walk(place):
        if "run.json" in files:
            below.clear()
            yield parent


def walk(place: str | Path) -> Iterator[tuple[Path, list[str], list[str]]]:
    """`os.walk` that follows links, each folder once, in the order of names, without hidden ones.

    A link to a folder above it, which would go round for ever, leads to one that was seen.
    """
    seen: set[tuple[int, int]] = set()
    for parent, below, files in os.walk(place, followlinks=True):
        try:
            status = os.stat(parent)
        except OSError:  # it has just been taken away
            continue
        if (status.st_dev, status.st_ino) in seen:
            below.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        below[:] = sorted(name for name in below if not name.startswith("."))
        yield Path(parent), below, files


def read_run(folder: str | Path) -> RunRecord | None:
    """run.json of a run folder, or None where there is none.

    Raises UserError where it is there but not the record of a run.
    """
    path = Path(folder) / "run.json"
    try:
        return RunRecord.read(json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None
    except (ValueError, AttributeError, TypeError) as fault:
        raise UserError(f"{path} is damaged ({fault}): delete it to start anew") from None


def typed() -> str:
    """The command that runs this process, as a shell takes it."""
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    program = [Path(sys.argv[0]).name]
    if spec and spec.name.startswith("fovea"):  # python -m fovea, or python -m fovea.ROOM
        program = spec.name.removesuffix(".__main__").split(".")
    return shlex.join([*program, *sys.argv[1:]])


def timestamp() -> str:
    """This moment, in ISO 8601."""
    return time.strftime("%Y-%m-%dT%H:%M:%S%z")
