"""Where the encoders of a study stand: means over games and seeds, with their intervals."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np

from fovea.analysis.tables import differences, estimate, markdown, number, over, sheet

REFERENCES = ("random", "pixels", "majority")
Scores = dict[str, np.ndarray]
"""By encoder, (seeds, games)."""


def table(out: Path, names: list[str], seeds: list[int], pairs: list[list[str]]) -> dict:
    """What the probes of `seeds` found of `names` and of the references.

    {"games": [...], "seeds": [...], "r2" and "f1": Scores of the state probe, "categories":
    {encoder: {category: (seeds, 2)}} of both, "rankme": Scores of the summary, "order":
    {encoder: (seeds,)} held-out order accuracy, NaN where the run has none, "differences":
    {"r2" and "f1": {"a - b": (seeds, games)}} of `pairs`}
    """
    states = [_probe(out, seed, "state") for seed in seeds]
    ranks = [_probe(out, seed, "collapse") for seed in seeds]
    everyone = [*names, *(name for name in REFERENCES if name in states[0])]
    games = list(dict.fromkeys(row[0] for row in states[0][names[0]]["categories"]["rows"]))
    found = {"games": games, "seeds": seeds, "order": {}}
    for column in ("r2", "f1"):
        found[column] = {
            name: _scores([state[name]["categories"] for state in states], games, column,
                          category="mean")
            for name in everyone
        }  # fmt: skip
    found["categories"] = {
        name: _categories([state[name]["overall"] for state in states]) for name in everyone
    }
    found["rankme"] = {
        name: _scores([rank[name]["features"] for rank in ranks], games, "rankme", place="summary")
        for name in everyone
        if name in ranks[0]
    }
    for name in names:
        last = [_last(out / f"seed-{seed}" / name, "held_out/order_accuracy") for seed in seeds]
        found["order"][name] = np.array(last)
    found["differences"] = {column: differences(found[column], pairs) for column in ("r2", "f1")}
    return found


def written(title: str, found: dict) -> dict[str, str]:
    """The files of a study: {"study.md": a table for people, "study.csv": every single score}."""
    return {"study.md": _markdown(title, found), "study.csv": _csv(found)}


def _probe(out: Path, seed: int, probe: str) -> dict:
    """{encoder: {table: {"columns", "rows"}}} of a probe's results."""
    path = out / f"seed-{seed}" / "probes" / "probes" / f"{probe}.json"
    encoders = json.loads(path.read_text(encoding="utf-8"))["encoders"]
    return {
        name: {one["name"]: one for one in result["tables"]} for name, result in encoders.items()
    }


def _scores(tables: list[dict], games: list[str], column: str, **where: str) -> np.ndarray:
    """(seeds, games) of one column, of the rows where other columns have a value."""
    scores = np.full((len(tables), len(games)), np.nan)
    for seed, one in enumerate(tables):
        at = {name: one["columns"].index(name) for name in ("game", column, *where)}
        for row in one["rows"]:
            if row[at["game"]] in games and all(row[at[k]] == v for k, v in where.items()):
                value = row[at[column]]
                scores[seed, games.index(row[at["game"]])] = np.nan if value is None else value
    return scores


def _categories(tables: list[dict]) -> dict[str, np.ndarray]:
    """{category: (seeds, 2)} R2 and F1, means over the games that have it."""
    found: dict[str, list] = {}
    for table in tables:
        at = [table["columns"].index(name) for name in ("category", "r2", "f1")]
        for row in table["rows"]:
            category, *scores = (row[column] for column in at)
            found.setdefault(category, []).append(scores)
    return {category: np.array(scores, float) for category, scores in found.items()}


def _last(run: Path, metric: str) -> float:
    """The last value of a metric of a run; NaN where it has none."""
    with open(run / "metrics.csv", newline="", encoding="utf-8") as file:
        values = [row["value"] for row in csv.DictReader(file) if row["name"] == metric]
    return float(values[-1]) if values else np.nan


def _markdown(title: str, found: dict) -> str:
    games, whole = found["games"], []
    for name, r2 in found["r2"].items():
        above = (r2.mean(0) > found["r2"]["random"].mean(0)).sum()
        whole.append(
            [name, estimate(r2), estimate(found["f1"][name]),
             number(found["rankme"].get(name), ".1f"), number(found["order"].get(name), ".2f"),
             f"{above} of {len(games)}"]
        )  # fmt: skip
    for pair, r2 in found["differences"]["r2"].items():
        f1 = found["differences"]["f1"][pair]
        whole.append([pair, estimate(r2, "+.3f"), estimate(f1, "+.3f"), "", "", ""])
    categories = list(found["categories"][next(iter(found["r2"]))])
    lines = [
        f"# {title}",
        "",
        f"{over(games, found['seeds'])} R2 and F1 are of the state "
        "probe, RankMe of the summary, order of held-out episodes.",
        "",
        *markdown(["encoder", "R2", "F1", "RankMe", "order", "games above random (R2)"], whole),
        "",
        "R2 by game, mean over seeds",
        "",
        *markdown(
            ["encoder", *games],
            [[name, *(f"{v:.3f}" for v in r2.mean(0))] for name, r2 in found["r2"].items()],
        ),
        "",
        "R2 and F1 by category of variables, mean over seeds and the games that have it",
        "",
        *markdown(
            ["encoder", *categories],
            [
                [name, *("{:.3f}, {:.3f}".format(*scores[one].mean(0)) for one in categories)]
                for name, scores in found["categories"].items()
            ],
        ),
    ]
    return "\n".join(lines) + "\n"


def _csv(found: dict) -> str:
    """A row for each encoder, seed and game."""
    rows = [
        [name, found["seeds"][seed], found["games"][game], f"{value:.6f}",
         f"{found['f1'][name][seed, game]:.6f}"]
        for name, r2 in found["r2"].items()
        for (seed, game), value in np.ndenumerate(r2)
    ]  # fmt: skip
    return sheet(["encoder", "seed", "game", "r2", "f1"], rows)
