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

import logging
import os
import shlex
import shutil
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from fovea import __version__
from fovea.as_written import CHANGED, Written, checked, with_check
from fovea.checkout import commit
from fovea.command import UserError
from fovea.files import walk, write_json
from fovea.foreign import LARGEST, load_json, read_text
from fovea.schema import RunRecord, check

log = logging.getLogger("fovea")

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
        self._written = Written.of(self.folder / "metrics.csv")
        new = RunRecord(name=self.folder.name, kind=kind, title=title, started=timestamp())
        found, problems = _read(self.folder)
        self.record = found or new
        # From now on what is there counts as written: what was wrong with it stays on record.
        self.record.remarks = list(dict.fromkeys([*self.record.remarks, *problems]))
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
            self.record.metrics = self._written.record()
            write_json(self.folder / "run.json", with_check(self.record.plain()))

    def begin(self, **fields: Any) -> None:
        """Mark the run as running, with the command, the commit and the versions that run it."""
        facts: dict[str, Any] = {"command": typed(), "commit": commit() if self.writes else None}
        versions = {"fovea-rl": __version__} | {name: version(name) for name in PACKAGES}
        if fields.get("config"):
            facts["settings"] = Written.of(self.folder / "config.yaml").record()
        self.update(state="running", reason=None, versions=versions, **facts, **fields)

    def remark(self, what: str) -> None:
        """Say on stderr, and keep in the record, what somebody should look at."""
        if self.writes:
            print(f"{self.folder}: {what}", file=sys.stderr, flush=True)
            self.update(remarks=[*self.record.remarks, what])

    def take_back(self, made: bool = False) -> bool:
        """Remove the record and config of a run that was refused before it had done anything.

        Args:
            made: whether this process made the folder, which then goes as a whole.

        Returns whether it had not: what was logged, or kept as a checkpoint, stays. So the command
        can be given again with other settings.
        """
        kept = (self.folder / name for name in ("metrics.csv", "checkpoints"))
        if not self.writes or any(path.exists() for path in kept):
            return False
        if made:
            shutil.rmtree(self.folder)
        for name in ("config.yaml", "run.json"):
            (self.folder / name).unlink(missing_ok=True)
        return True

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
        self._written.add(rows.encode())


def run_folders(place: str | Path) -> Iterator[Path]:
    """The run folders at or below a place; what lies inside a run belongs to it."""
    for parent, below, files in walk(place):
        if "run.json" in files:
            below.clear()
            yield parent


def read_run(folder: str | Path) -> RunRecord | None:
    """run.json of a run folder, or None where there is none.

    Where it, or metrics.csv beside it, is not as it was written, a line on stderr says so.

    Raises UserError where it is there but not the record of a run.
    """
    record, problems = _read(Path(folder))
    for problem in problems:
        log.warning("%s: %s", folder, problem)
    return record


def _read(folder: Path) -> tuple[RunRecord | None, list[str]]:
    """The record of a run folder, and what is not as it was written."""
    path = folder / "run.json"
    try:
        record, changed = parse_record(read_text(path))
    except FileNotFoundError:
        return None, []
    except (ValueError, AttributeError, TypeError, RecursionError) as fault:
        raise UserError(f"{path} is damaged ({fault}): delete it to start anew") from None
    wrong = changed, metrics_problem(folder, record), config_problem(folder, record)
    return record, [*filter(None, wrong)]


def parse_record(text: str) -> tuple[RunRecord, str]:
    """The record that the text of a run.json holds, and how it is not as it was written, if at all.

    Raises ValueError, AttributeError or TypeError where it is the record of no run.
    """
    written, same = checked(load_json(text))
    record = RunRecord.read(written)
    check(record)
    return record, "" if same else f"run.json {CHANGED}"


def metrics_problem(folder: Path, record: RunRecord) -> str:
    """How metrics.csv is not as the record says that it was written; empty where it is.

    What was appended since then is not looked at.
    """
    said = record.metrics
    if not isinstance(said, dict) or not isinstance(said.get("bytes"), int) or not said["bytes"]:
        return ""
    try:
        written = Written.of(folder / "metrics.csv", said["bytes"])
    except (OSError, UserError):
        written = Written()
    if written.bytes < said["bytes"]:
        return f"metrics.csv ends early: {written.bytes:,} of {said['bytes']:,} bytes"
    if written.record()["sha256"] != said.get("sha256"):
        return f"metrics.csv {CHANGED}"
    return ""


def config_problem(folder: Path, record: RunRecord) -> str:
    """How config.yaml is not as it was when the run began; empty where it is, or nothing says."""
    if not record.settings:
        return ""
    try:
        written = Written.of(folder / "config.yaml", LARGEST + 1)
    except (OSError, UserError):
        written = Written()
    return "" if written.record() == record.settings else f"config.yaml {CHANGED}"


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
