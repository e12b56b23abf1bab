"""Probe encoders against each other and the references."""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

import numpy as np
import torch
from tqdm import tqdm

from fovea import probes
from fovea.atari.frames import Frames
from fovea.command import UserError, nearest
from fovea.device import device
from fovea.files import exclusive
from fovea.pretrain.encoders.each_screen import EachScreen
from fovea.pretrain.encoders.encoder import Encoder
from fovea.pretrain.encoders.feature_norm import FeatureNormKind
from fovea.pretrain.encoders.fingerprint import fingerprint
from fovea.probes import summary
from fovea.probes.declared import check_file, check_found
from fovea.probes.feature_cache import cached
from fovea.probes.features import Drawn, NotMeasured, Splits, draw, encode
from fovea.probes.of_agents import load
from fovea.probes.of_blocks import OfBlocks
from fovea.probes.references import REFERENCES, references
from fovea.probes.results import ResultFile, keywords
from fovea.progress import bar
from fovea.runs import RunWriter
from fovea.tables import Table

NUMERIC = torch.linalg.LinAlgError, np.linalg.LinAlgError, FloatingPointError, OverflowError
"""What a probe raises for numbers that it cannot compute with; any other exception is a bug."""
UNBLOCKED = ("pixels", "pixels_pooled", "majority")
"""References that have no blocks."""


def all_probes() -> dict[str, ModuleType]:
    """The probes by name: every module of this room that has a function `probe`.

    Raises UserError for a file that cannot be imported, or has no title.
    """
    names = [module.name for module in pkgutil.iter_modules(probes.__path__)]
    modules = {name: _import(f"fovea.probes.{name}") for name in names if name != "__main__"}
    found = {name: module for name, module in modules.items() if hasattr(module, "probe")}
    for module in found.values():
        check_file(module)
    return found


def _import(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except Exception as fault:  # whatever somebody's new file does wrong
        raise UserError(
            f"the probe {name} cannot be imported: {type(fault).__name__}: {fault}"
        ) from fault


def _of_ones_own(name: str) -> ModuleType | None:
    """A module that Python finds, as in the current folder, and that is a probe."""
    try:
        there = importlib.util.find_spec(name)
    except (ImportError, ValueError):
        there = None
    module = _import(name) if there else None
    if module is None or not hasattr(module, "probe"):
        return None
    check_file(module)
    return module


def run(
    encoders: list[str],
    recordings: list[str],
    folder: Path,
    *,
    only: list[str] | None = None,
    samples: int = 8600,
    blocks: Sequence[int] = (),
    norm: FeatureNormKind | None = None,
    seed: int = 0,
    accelerator: str = "auto",
    cache: bool = True,
) -> list[str]:
    """Measure each of `encoders` ("NAME=REF") and the references by each probe, or by `only` some.

    Features are those of the blocks `blocks` of the encoders, the untrained reference among them;
    by default those of the last. `norm` is that of the probe `state`; None leaves its default.
    With `cache`, features are kept in the folder "features" of `folder`.

    Prints a short table. Returns what was left out of `encoders`, a line each: a game with too few
    episodes, a probe that does not apply; the others go on.

    Raises UserError for an encoder that cannot be loaded or does not fit the recordings or the
    others, an unknown probe, a norm that none of the probes takes, and a folder that is in use.
    """
    chosen = choose(only)
    own = {"norm": norm} if norm else {}
    if norm and not any("norm" in keywords(module, {}) for module in chosen.values()):
        raise UserError(f"--norm {norm}: none of {', '.join(chosen)} takes it, add --probe state")
    at = device(accelerator)
    measured = _load(encoders, seed)
    first = next(iter(measured.values()))
    frames = Frames.load(recordings)
    check_fit(measured, frames)
    measured |= references(first, seed)
    if blocks:
        measured = {
            name: encoder if name in UNBLOCKED else OfBlocks(encoder, blocks)
            for name, encoder in measured.items()
        }
    drawn, too_few = _draw(frames, first.stack, samples, seed)
    for line in too_few:
        _say(f"left out: {line}")
    settings = {"samples": samples, "seed": seed} | ({"blocks": [*blocks]} if blocks else {})
    with exclusive(folder):
        record = RunWriter(folder, "probes", f"{', '.join(chosen)} of {', '.join(measured)}")
        results = {
            n: ResultFile(folder, n, probe, frames.data, settings, own)
            for n, probe in chosen.items()
        }
        steps = len(measured) * len(chosen)
        record.begin(seed=seed, data=frames.data, step=0, steps=steps, config=None)
        try:
            with bar("probes", "probes", steps) as progress:
                kept = folder / "features" if cache else None
                for name, encoder in measured.items():
                    _measure(name, encoder.to(at), drawn, chosen, results, record, progress, kept)
        except BaseException as fault:
            record.update(state="failed", reason=str(fault) or type(fault).__name__)
            raise
        record.update(state="done")
    every = [of.result for of in results.values()]
    for line in summary.lines(every):
        print(line)
    print(f"probed {', '.join(measured)}: the tables are in {folder / 'probes'}")
    theirs = [name for name in measured if name not in REFERENCES]
    lacking = too_few + summary.left_out(every, theirs)
    for line in lacking:
        print(f"left out: {line}")
    return lacking


def measure(
    encoder: Encoder | str | Path,
    recordings: str | Path | Sequence[str | Path],
    *,
    probe: str,
    samples: int = 8600,
    blocks: Sequence[int] = (),
    seed: int = 0,
    accelerator: str = "auto",
    **settings: object,
) -> dict[str, Table]:
    """Measure one encoder by one probe, and write nothing.

    Args:
        encoder: an encoder or what `load_encoder` takes ("random:vit_micro" is an untrained one);
            an agent's run folder, or "heads:" and one (see `of_agents.load`).
        recordings: one folder or several.
        probe: one of `fovea probes ls`.
        samples: screen stacks a game, divided into training, validation and test.
        blocks: of the encoder, whose features are read, side by side; by default the last.
        seed: of the division and the draws.
        accelerator: auto, cpu or cuda.
        settings: keywords of the probe.

    Returns its tables by name; `pandas.DataFrame(table.records())` makes a data frame of one.

    Raises UserError for an unknown probe or setting, an encoder that cannot be loaded or does not
    fit the recordings, and where the probe does not apply to the encoder.
    """
    (module,) = choose([probe]).values()
    known = keywords(module, {})
    for name in settings:
        if name not in known:
            raise UserError(f"the probe {probe} has no setting {name!r}{nearest(name, known)}")
    measured = encoder if isinstance(encoder, Encoder) else load(encoder, seed)
    measured = OfBlocks(measured, blocks) if blocks else measured
    folders = [recordings] if isinstance(recordings, str | Path) else list(recordings)
    frames = Frames.load(folders)
    check_fit({"given": measured}, frames)
    before = next(measured.parameters()).device
    try:
        games = encode(
            measured.to(device(accelerator)),
            draw(frames, measured.stack, samples=samples, seed=seed),
        )
        check_finite(games)
        own = keywords(module, {"seed": seed} | settings)
        found = check_found(module, module.probe(measured, games, **own))
    except (NotMeasured, *NUMERIC) as fault:
        why = str(fault) if isinstance(fault, NotMeasured) else numeric(fault)
        raise UserError(f"the probe {probe} does not apply to this encoder: {why}") from None
    finally:
        measured.to(before)
    return {table.name: table for table in found.tables}


def _measure(
    name: str,
    encoder: Encoder,
    drawn: dict[str, list[Drawn]],
    chosen: dict[str, ModuleType],
    results: dict[str, ResultFile],
    record: RunWriter,
    progress: tqdm,
    cache: Path | None,
) -> None:
    """One encoder by every probe that has no result for it; all share one pass over the screens."""
    weights, games = fingerprint(encoder), None
    for probe, result in results.items():
        progress.set_description(f"{probe} of {name}")
        if result.holds(name, weights):
            _say(f"{probe} of {name}: finished before, skipped")
        else:
            games = games or cached(encoder, drawn, cache)
            try:
                check_finite(games)
                of = chosen[probe]
                found = check_found(of, of.probe(encoder, games, **result.keywords))
                result.add(name, weights, found, getattr(encoder, "takes", ""))
            except (NotMeasured, *NUMERIC) as fault:
                why = str(fault) if isinstance(fault, NotMeasured) else numeric(fault)
                if name not in REFERENCES:  # that pixels have no attention is no news
                    _say(f"{probe} of {name}: left out, {why}")
                result.leave_out(name, weights, why)
        progress.update()
        record.update(step=progress.n)


def numeric(fault: Exception) -> str:
    """Why numbers that are too large, too small or too much alike gave no result."""
    return f"its features have no solution here ({' '.join(str(fault).split())})"


def check_finite(games: dict[str, Splits]) -> None:
    """Raises NotMeasured for features that are no numbers."""
    for game, splits in games.items():
        if not all(split.summary_and_mean.isfinite().all() for split in splits):
            raise NotMeasured(f"its features of {game} are not finite (NaN or infinite)")


def _draw(
    frames: Frames, stack: int, samples: int, seed: int
) -> tuple[dict[str, list[Drawn]], list[str]]:
    """The stacks of each game that has enough episodes, and why the others are left out.

    Raises UserError where no game has.
    """
    drawn: dict[str, list[Drawn]] = {}
    too_few = []
    for game in frames.games:
        try:
            drawn |= draw(frames.of(game), stack, samples=samples, seed=seed)
        except UserError as reason:
            too_few.append(str(reason))
    if not drawn:
        raise UserError(too_few[0])
    return drawn, too_few


def choose(only: Sequence[str] | None) -> dict[str, ModuleType]:
    """The probes of these names, or all of this room.

    A name that is none of them may be a module of one's own, which lies where Python looks. Raises
    UserError for an unknown one.
    """
    known = all_probes()
    own: dict[str, ModuleType] = {}
    for name in only or ():
        if name not in known:
            if not (module := _of_ones_own(name)):
                stem, own_files = name.removesuffix(".py"), {p.stem for p in Path().glob("*.py")}
                raise UserError(
                    f"unknown probe {name!r}{nearest(stem, {*known, *own_files})}; one of your own "
                    "is the name of a file of the current folder, without .py"
                )
            own[name] = module
    return {name: module for name, module in (known | own).items() if not only or name in only}


def _load(encoders: list[str], seed: int) -> dict[str, Encoder]:
    """The encoders by name, those of single screens by `EachScreen` where others take stacks."""
    loaded: dict[str, Encoder] = {}
    for given in encoders:
        name, equals, ref = given.partition("=")
        if not equals or not re.fullmatch(r"[\w.-]+", name) or not ref:
            raise UserError(f"--encoder {given!r} is not NAME=REF: write mine=runs/mine/encoder")
        if name in loaded or name in REFERENCES:
            raise UserError(f"the encoder name {name!r} is taken: give {ref} another name")
        loaded[name] = load(ref, seed)
        if takes := getattr(loaded[name], "takes", ""):
            _say(f"{name}: {takes}")
    stack = max(encoder.stack for encoder in loaded.values())
    return {
        name: encoder if encoder.stack > 1 or stack == 1 else EachScreen(encoder, stack)
        for name, encoder in loaded.items()
    }


def check_fit(encoders: dict[str, Encoder], frames: Frames) -> None:
    """Raise UserError where an encoder does not fit the recordings, or the first encoder."""
    (first, leader), *_ = encoders.items()
    height, width = frames.screens.shape[1:]
    for name, encoder in encoders.items():
        if tuple(encoder.screen) != (height, width):
            expected = "x".join(map(str, encoder.screen))
            raise UserError(
                f"encoder {name} takes {expected} px screens, the recordings hold "
                f"{height}x{width}: take an encoder or recordings of the other size"
            )
        if encoder.stack != leader.stack:
            raise UserError(
                f"encoder {name} takes a stack of {encoder.stack} screens, {first} one of "
                f"{leader.stack}: probe encoders of one stack together, the others in another run"
            )


def _say(line: str) -> None:
    tqdm.write(line, file=sys.stderr)
