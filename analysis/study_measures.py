"""What the run folders of a study measured, as the results that are kept of it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from fovea.analysis import learning
from fovea.analysis.study_results import Key, Result, Results, rounded
from fovea.atari.games import hns
from fovea.command import UserError
from fovea.foreign import load_yaml, read_text
from fovea.metrics import (
    LENGTH,
    NOTHING,
    ORDER_ACCURACY,
    RETURN,
    STEPS_PER_SECOND,
    Curve,
    held_out,
    read_metrics,
    running_mean,
)
from fovea.results import ProbeResult, read_result
from fovea.runs import read_run
from fovea.schema import RunRecord, count_cut
from fovea.tables import Cell, Table

POINTS = 50  # of a kept curve
ROW = ("game", "block", "labels", "stacks", "draws")
"""Columns of the tables of few labels that are no scores."""

OF_AGENTS = "return", "hns", "episodes", "steps", "steps_per_second", "area"
"""Measures that every agent has."""

Scores = dict[tuple[str, str], float]


def of_agent(folder: Path, game: str, take_off: float, command: str) -> Result:
    """The result of an agent that learned `game` and was evaluated, from its run folder.

    Its measures are those of OF_AGENTS and that of `took_off`; for an agent that began with the
    weights of another run that was evaluated, also the return of that (`initial`) and how far it
    fell below it at first (`dip`, see `learning.dip`); under each disturbance of the evaluation
    the change of the return, as change/sticky:0.5. evaluation_steps_per_second is how fast it
    plays, on what it was evaluated on.

    Where episodes of the training were cut, their returns are of parts of games: then there is no
    area, no take-off and no dip, as an evaluation of such has no `hns`.
    """
    record, metrics = read_run(folder), read_metrics(folder / "metrics.csv")
    if not record or not record.evaluation:
        raise UserError(f"{folder} holds no evaluation: run fovea agents evaluate --run {folder}")
    found, returns = record.evaluation, metrics.get(RETURN, NOTHING)
    speeds, steps = metrics.get(STEPS_PER_SECOND, NOTHING).values, found.trained or 0
    scores = {
        "return": found.mean,
        "hns": found.hns,
        "episodes": found.episodes,
        "steps": found.trained,
        "steps_per_second": np.median(speeds) if len(speeds) else None,
    }
    whole = not _was_cut(folder, metrics.get(LENGTH, NOTHING))
    if whole:
        above = learning.take_off(returns, learning.raw_return(game, take_off))
        scores |= {
            "area": hns(game, learning.area(returns, steps)),
            took_off(take_off): math.inf if math.isnan(above) else above,
        }
    base = read_run(Path(record.init_from)) if record.init_from else None
    if base and base.evaluation and (initial := base.evaluation.mean) is not None:
        scores["initial"] = initial
        if whole:
            scores["dip"] = learning.dip(returns, initial)
    if found.seconds:
        scores["evaluation_steps_per_second"] = sum(found.lengths) / found.seconds
    scores |= {f"change/{name}": change for name, change in found.changes.items()}
    return _result(
        record,
        command,
        _known({(game, measure): value for measure, value in scores.items()}),
        _points(learning.ended(returns), steps),
    )


def _was_cut(folder: Path, lengths: Curve) -> bool:
    """Whether one of the training's episodes, of these `lengths`, was cut before the game's end.

    By the data.max_frames of config.yaml; a run without one was not.
    """
    path = folder / "config.yaml"
    try:
        task = load_yaml(read_text(path), path)["data"]
        limit, skip = task.get("max_frames"), task.get("frame_skip", 4)
        return count_cut(lengths.values.tolist(), limit, skip) > 0
    except FileNotFoundError:
        return False
    except (LookupError, TypeError, AttributeError, ZeroDivisionError) as fault:
        raise UserError(f"{path} is damaged ({fault}): bring it back from a copy") from None


def took_off(take_off: float) -> str:
    """The measure that is the first step at an HNS of `take_off`; infinity where it never was."""
    return f"take_off_{take_off:g}"


def of_encoders(folder: Path, commands: Mapping[Key, str]) -> Results:
    """The results of the encoders that were probed together, from the folder of their seed.

    For each game: r2 and f1, means of categories; r2/CATEGORY and f1/CATEGORY; by read-out and
    number of labels r2/READ_OUT/labels_300, after each block r2/READ_OUT/block_2/labels_300; rankme
    of the summary. For all games: order_accuracy, where the run has it.

    `commands` names those that are wanted and what makes each.
    """
    record = read_run(folder / "probes")
    state, collapse = (_probe(folder, name) for name in ("state", "collapse"))
    found = {}
    for key, command in commands.items():
        own = read_run(folder / key.run) or record
        if own and key.run in state.encoders:
            scores = _state(state.tables(key.run)) | _ranks(collapse, key.run)
            metrics = read_metrics(folder / key.run / "metrics.csv")
            if len(order := metrics.get(held_out(ORDER_ACCURACY), NOTHING).values):
                scores["", "order_accuracy"] = order[-1]
            found[key] = _result(own, command, _known(scores), {})
    return found


def _state(tables: Mapping[str, Table]) -> dict[tuple[str, str], Cell]:
    scores: dict[tuple[str, str], Cell] = {}
    for row in tables["categories"].records():
        of = "" if row["category"] == "mean" else f"/{row['category']}"
        scores |= {(str(row["game"]), f"{name}{of}"): row[name] for name in ("r2", "f1")}
    for row in _records(tables, "labels", "blocks"):
        block = f"/block_{row['block']}" if "block" in row else ""
        labels = str(row["labels"]).replace(",", "")
        scores |= {
            (str(row["game"]), f"r2/{name}{block}/labels_{labels}"): value
            for name, value in row.items()
            if name not in ROW and not name.endswith("_std")
        }
    return scores


def _ranks(collapse: ProbeResult, name: str) -> dict[tuple[str, str], Cell]:
    tables = collapse.tables(name) if name in collapse.encoders else {}
    rows = [row for row in _records(tables, "features") if row["place"] == "summary"]
    return {(str(row["game"]), "rankme"): row["rankme"] for row in rows}


def _records(tables: Mapping[str, Table], *names: str) -> Iterable[dict[str, Cell]]:
    return [row for name in names if name in tables for row in tables[name].records()]


def _probe(folder: Path, name: str) -> ProbeResult:
    path = folder / "probes" / "probes" / f"{name}.json"
    try:
        return read_result(path)
    except FileNotFoundError:
        return ProbeResult(probe=name)


def _known(scores: Mapping[tuple[str, str], Cell]) -> Scores:
    """Those that are numbers, infinity too, as they are kept."""
    return {
        key: rounded(value)
        for key, value in scores.items()
        if isinstance(value, int | float) and not math.isnan(value)
    }


def _points(episodes: Curve, steps: int) -> dict[int, float]:
    """The running mean of the returns at POINTS steps, evenly over the run."""
    means = running_mean(episodes.values)
    at = np.unique(np.linspace(0, steps, POINTS + 1).astype(int))[1:]
    last = np.searchsorted(episodes.steps, at, side="right") - 1
    return {int(step): rounded(means[k]) for step, k in zip(at, last, strict=True) if k >= 0}


def _result(record: RunRecord, command: str, scores: Scores, curve: dict[int, float]) -> Result:
    return Result(record.commit or "", round(record.seconds), command, scores, curve)
