"""Single flipped bits and truncations in everything that is kept: found and named, or harmless."""

from __future__ import annotations

import contextlib
import io
import logging
import shutil
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks.faults.commands import reference
from benchmarks.faults.trials import Fault

EACH = 20  # harms of a trial, which read the whole thing once before

Harm = Callable[[bytes, np.random.Generator], bytes]


def flipped(content: bytes, generator: np.random.Generator) -> bytes:
    """With one bit flipped."""
    harmed = bytearray(content)
    harmed[generator.integers(len(harmed))] ^= 1 << int(generator.integers(8))
    return bytes(harmed)


def truncated(content: bytes, generator: np.random.Generator) -> bytes:
    """Without its end."""
    return content[: generator.integers(len(content))]


HARMS: dict[str, Harm] = {"flipped bit": flipped, "truncation": truncated}


class Named(Exception):
    """The damage was found, and named."""


def shards(folder: Path) -> object:
    """The frames of recordings. Raises Named where they are damaged."""
    from fovea.atari.frames import Frames
    from fovea.command import UserError

    try:
        frames = Frames.load([folder])
    except UserError as fault:
        raise Named(str(fault)) from None
    return [frames.screens.numpy().tobytes(), frames.episode.tolist(), frames.data, frames.games]


def checkpoint(folder: Path) -> object:
    """The newest checkpoint. Raises Named where that is not step 2, which was the newest."""
    from fovea.pretrain.training.checkpoint import newest

    found = newest(folder)
    if found is None or found.name != "step-000000002.ckpt":
        raise Named(f"{found} is taken")
    return found.read_bytes()


def encoder(folder: Path) -> object:
    """The weights of an encoder folder. Raises Named where it is damaged."""
    from fovea.command import UserError
    from fovea.pretrain.encoders.folder import load_encoder

    try:
        weights = load_encoder(folder).state_dict()
    except UserError as fault:
        raise Named(str(fault)) from None
    return {name: weight.numpy().tobytes() for name, weight in weights.items()}


def run_folder(folder: Path) -> object:
    """What the report reads of a run. Raises Named where it tells of a problem."""
    from fovea.analysis.runs import read_runs

    (run,) = read_runs([folder])
    curves = {name: (of.steps.tolist(), of.values.tolist()) for name, of in run.metrics.items()}
    probes = {
        name: (repr(found.result), {key: array.tobytes() for key, array in found.arrays.items()})
        for name, found in run.probes.items()
    }
    config = run.config  # read before what was wrong with it is looked at
    if run.problems:
        raise Named("; ".join(run.problems))
    return run.record, repr(curves), probes, config


def _recordings(out: Path, into: Path) -> None:
    shutil.copytree(reference(out, "collect")[0] / "breakout", into)


def _checkpoints(out: Path, into: Path) -> None:
    held = reference(out, "pretrain")[0] / "checkpoints"
    older, newer = sorted(held.glob("*.ckpt"))[-2:]
    into.mkdir(parents=True)
    for path, name in ((older, "step-000000001.ckpt"), (newer, "step-000000002.ckpt")):
        shutil.copyfile(path, into / name)
        shutil.copyfile(f"{path}.sha256", into / f"{name}.sha256")


def _encoder(out: Path, into: Path) -> None:
    shutil.copytree(reference(out, "pretrain")[0] / "encoder", into)


def _run(out: Path, into: Path) -> None:
    into.mkdir(parents=True)
    for name in ("run.json", "metrics.csv", "config.yaml"):
        shutil.copyfile(reference(out, "pretrain")[0] / name, into / name)


def _probes(out: Path, into: Path) -> None:
    shutil.copytree(reference(out, "probes")[0], into, ignore=shutil.ignore_patterns("features"))


KEPT = {
    "shards": (_recordings, shards, ("*.parquet", "_dataset.json")),
    "checkpoints": (_checkpoints, checkpoint, ("step-000000002.*",)),
    "encoder folder": (_encoder, encoder, ("*",)),
    "run.json": (_run, run_folder, ("run.json",)),
    "metrics.csv": (_run, run_folder, ("metrics.csv",)),
    "config.yaml": (_run, run_folder, ("config.yaml",)),
    "tables of probes": (_probes, run_folder, ("probes/*.json",)),
    "arrays of probes": (_probes, run_folder, ("probes/*.npz",)),
}
"""{what is kept: how it is made, how it is read, and the files that are harmed}."""


def harm(what: str, how: str, out: Path, number: int, each: int = EACH) -> str:
    """Harm files one after the other, each time reading the whole: what was read without a word."""
    make, read, patterns = KEPT[what]
    folder = out / "storage" / what.replace(" ", "_")
    shutil.rmtree(folder, ignore_errors=True)
    make(out, folder)
    generator = np.random.default_rng([number, len(what), len(how)])
    silent = unnamed(folder, read, patterns, HARMS[how], generator, each)
    return f"read without a word: {', '.join(silent)}" if silent else ""


@contextlib.contextmanager
def quietly() -> Iterator[None]:
    """Without what is said of damage: thousands of lines."""
    log = logging.getLogger("fovea")
    before = log.level
    log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        log.setLevel(before)


def unnamed(
    folder: Path,
    read: Callable[[Path], object],
    patterns: Sequence[str],
    how: Harm,
    generator: np.random.Generator,
    each: int,
) -> list[str]:
    """Harm files of a folder, one at a time: those that were read otherwise without a word.

    Args:
        folder: what is kept; it is as before in the end.
        read: reads it, and raises Named for damage.
        patterns: of the files that are harmed; small ones as well as large ones.
        how: they are harmed.
        generator: of what is harmed, and where.
        each: times.
    """
    before = read(folder)
    files = [path for pattern in patterns for path in sorted(folder.glob(pattern))]
    weights = np.array([path.stat().st_size for path in files], float)
    weights = weights / weights.sum() / 2 + 0.5 / len(files)
    silent = []
    for _ in range(each):
        path = files[generator.choice(len(files), p=weights)]
        content = path.read_bytes()
        path.write_bytes(how(content, generator))
        try:
            with contextlib.redirect_stderr(io.StringIO()), quietly():
                if read(folder) != before:
                    silent.append(path.name)
        except Named:
            pass
        except Exception as fault:
            silent.append(f"{path.name}: {type(fault).__name__}: {fault}")
        path.write_bytes(content)
    return silent


NAMED = f"found and named, or what is read is the same to the bit; {EACH} a trial"
FAULTS = [
    Fault(f"{how}: {what}", 400 // EACH, NAMED, partial(harm, what, how))
    for how in HARMS
    for what in KEPT
]
