"""What a study of so many minutes leaves behind: tables, curves, and encoders that are packed."""

from __future__ import annotations

from pathlib import Path

from fovea.analysis.encoder_table import EncoderScores
from fovea.analysis.figures import REFERENCES
from fovea.analysis.study_measures import of_encoders
from fovea.analysis.study_results import SCORES, Key, Results, table
from fovea.analysis.timed_study import Plan, TimedStudy
from fovea.files import write_json, write_text
from fovea.metrics import LOSS, NOTHING, SAMPLES_PER_SECOND, held_out, read_metrics
from fovea.results import read_result
from fovea.runs import read_run
from fovea.tables import Table, markdown

EXPORT = "export"
"""Folder of a study for what is to be kept of it."""


def write_tables(
    study: TimedStudy, out: Path, names: list[str], seed: int, plan: Plan, notes: list[str]
) -> None:
    """Write OUT/export but its encoders: study.md, scores.csv, speeds.csv, curves.csv, plan.json.

    Args:
        study: the study.
        out: its folder.
        names: of its runs.
        seed: of this call.
        plan: what was measured and decided.
        notes: sentences on what was left out.
    """
    folder = out / EXPORT
    runs = {name: out / f"seed-{seed}" / name for name in names}
    speeds = Table("speeds", "Speed", ["of", "way", "rate", "unit"], plan.speeds)
    write_text(folder / "speeds.csv", speeds.csv())
    write_text(folder / "curves.csv", _curves(runs, study.batch).csv())
    write_json(folder / "plan.json", plan.plain())
    lines = [f"# {study.title}", ""]
    if scores := _scores(out, names, seed):
        pairs = [pair for pair in study.differences if {Key(n, seed) for n in pair} <= set(scores)]
        compared = EncoderScores.read(scores, names, study.games, [seed], pairs)
        lines = [compared.markdown(study.title)]
        write_text(folder / SCORES, table(SCORES, scores).csv())
    lines += ["## Runs", "", *_runs(runs, plan, study.batch), "", "## Speed", "", *_speeds(plan)]
    if notes:
        lines += ["", "## Left out", "", *(f"* {note}" for note in notes)]
    write_text(folder / "study.md", "\n".join(lines) + "\n")


def probed(out: Path, seed: int) -> set[str]:
    """The encoders that the probes have measured."""
    found = [out / f"seed-{seed}" / "probes" / "probes" / f"{one}.json"
             for one in ("state", "collapse")]  # fmt: skip
    if not all(path.exists() for path in found):
        return set()
    return set.intersection(*(set(read_result(path).encoders) for path in found))


def _scores(out: Path, names: list[str], seed: int) -> Results:
    """What the probes measured of the encoders and the references; none before they have run."""
    measured = probed(out, seed)
    here = [*(name for name in names if name in measured), *REFERENCES]
    keys = [Key(name, seed) for name in here]
    return of_encoders(out / f"seed-{seed}", dict.fromkeys(keys, "")) if measured else {}


def _runs(runs: dict[str, Path], plan: Plan, batch: int) -> list[str]:
    rows = []
    for name, folder in runs.items():
        record, curves = read_run(folder), read_metrics(folder / "metrics.csv")
        rate = curves.get(SAMPLES_PER_SECOND, NOTHING).values
        planned, done = plan.steps.get(name, 0), (record and record.step) or 0
        rows.append(
            [
                name,
                record.state if record else "not begun",
                f"{planned:,}",
                f"{done:,}",
                f"{done * batch:,}",
                f"{rate.mean():,.0f}" if len(rate) else "",
                f"{plan.rates[name]:,.0f}" if name in plan.rates else "",
                *(_last(curves, metric) for metric in (LOSS, held_out(LOSS))),
            ]
        )
    return markdown(
        ["run", "state", "steps planned", "steps", "samples", "samples/s", "measured beforehand",
         "loss", "held-out loss"],
        rows,
    )  # fmt: skip


def _speeds(plan: Plan) -> list[str]:
    rows = [[of, way, f"{rate:,.1f}", unit] for of, way, rate, unit in plan.speeds]
    return markdown(["of", "way", "rate", "unit"], rows) if rows else ["Nothing was measured."]


def _last(curves: dict, metric: str) -> str:
    values = curves.get(metric, NOTHING).values
    return f"{values[-1]:.4g}" if len(values) else ""


def _curves(runs: dict[str, Path], batch: int) -> Table:
    """All metrics of all runs, over samples."""
    rows = [
        [name, int(step) * batch, metric, f"{value:.6g}"]
        for name, folder in runs.items()
        for metric, curve in read_metrics(folder / "metrics.csv").items()
        for step, value in zip(curve.steps, curve.values, strict=True)
    ]
    return Table("curves", "Curves", ["run", "samples", "metric", "value"], rows)
