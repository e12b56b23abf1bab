"""Figures of a study's kept results: how agents learned, and what encoders tell by labels."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

import numpy as np

from fovea.analysis.compare import label
from fovea.analysis.figures import REFERENCES, Looks, line, panel
from fovea.analysis.study_results import Results

LABELS = "100", "300", "1000", "3000", "all"
READ_OUTS = {"cls_and_mean": "summary and mean token", "tokens": "all tokens"}


def of_agents(results: Results, names: Sequence[str], games: Sequence[str]) -> list[dict]:
    """A panel a game: a thin line a seed, and a thick one for their mean where they are several."""
    looks, panels = _looks(results, names), []
    for game in games:
        traces = []
        for name in names:
            curves = [of.curve for key, of in results.items() if key[::2] == (name, game)]
            curves = [curve for curve in curves if curve]
            for curve in curves:
                one = line(name, _thousands(curve), curve.values(), looks.colour(name))
                if len(curves) > 1:
                    one["line"]["width"], one["opacity"] = 1, 0.5
                    one["meta"] = {"role": "seed"}
                traces.append(one)
            if len(curves) > 1:
                steps = sorted({*curves[0]}.intersection(*curves[1:]))
                means = [float(np.mean([curve[step] for curve in curves])) for step in steps]
                traces.append(line(name, _thousands(steps), means, looks.colour(name)))
        if traces:
            panels.append(panel(f"{label(game)}: return", traces, x="thousand agent steps"))
    return panels


def _looks(results: Results, names: Sequence[str]) -> Looks:
    """Of those that have results, so that few of them are alike."""
    there = {key.run for key in results}
    return Looks(name for name in names if name in there)


def _thousands(steps: Iterable[int]) -> list[float]:
    return [step / 1000 for step in steps]


def of_encoders(results: Results, names: Sequence[str]) -> list[dict]:
    """R2 of the state by number of labelled screens, mean over games and seeds, by read-out."""
    looks, panels = _looks(results, names), []
    every = [*names, *(name for name in REFERENCES if name != "majority")]
    for read_out, words in READ_OUTS.items():
        traces = []
        for name in every:
            found: dict[str, list[float]] = defaultdict(list)
            for key, result in results.items():
                for (_, measure), value in result.scores.items():
                    head, _, labels = measure.rpartition("/labels_")
                    if key.run == name and head == f"r2/{read_out}":
                        found[labels].append(value)
            places = [number for number in LABELS if number in found]
            if places:
                means = [float(np.mean(found[number])) for number in places]
                at = [LABELS.index(number) for number in places]
                traces.append(line(name, at, means, looks.colour(name), symbol=looks.symbol(name)))
        if traces:
            axis = {"tickvals": list(range(len(LABELS))), "ticktext": list(LABELS)}
            panels.append(panel(f"R² of {words}", traces, x="labelled screens", xaxis=axis))
    return panels
