"""`fovea analysis choose-tasks`: which contexts to train in, from the tables of a study."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from fovea import command
from fovea.analysis import study_results
from fovea.analysis.choose_tasks import (
    Choose,
    at_random,
    chosen,
    distances,
    equidistant,
    greedy,
    mbtl,
    middle,
    reached,
    scaled,
)
from fovea.analysis.study_results import Results
from fovea.command import UserError, positive
from fovea.files import write_text
from fovea.tables import markdown

ABOUT = """\
Which of many contexts to train in, when an agent of each may be used in all: MBTL (Cho et al. 2024,
arXiv 2408.04498). RESULTS are the tables of a study of agents (docs/results/NAME) whose runs are
named for their contexts, as sticky_0.2, and which evaluates each under all of them (disturb:
[sticky:0, sticky:0.1 ...]).

While contexts are left, it names the one to train next, and why. Once all are there, it compares
its choice with random, equidistant and farthest-first ones and with a greedy one that knows all
returns: the mean over contexts of the return of the best agent there, after each choice.

    fovea analysis choose-tasks docs/results/contexts --budget 4
    fovea analysis choose-tasks docs/results/games --distances cka.csv

Contexts are as far apart as their numbers, or as --distances says: a CSV of their names in the
first row and column and numbers from 0."""


@dataclass(frozen=True)
class Transfer:
    """Returns of agents, trained in one context each, in all contexts.

    Attributes:
        contexts: names, such as sticky:0.2.
        matrix: (N, N) returns; a row is NaN where no agent was trained there yet.
    """

    contexts: list[str]
    matrix: np.ndarray


def run(arguments: list[str]) -> None:
    """Run `fovea analysis choose-tasks ARGUMENTS`."""
    parser = command.parser("fovea analysis choose-tasks", ABOUT)
    parser.add_argument("results", metavar="RESULTS", type=Path, help="folder with scores.csv")
    parser.add_argument("--budget", type=positive, default=4, help="contexts to train in (4)")
    parser.add_argument("--distances", metavar="FILE", type=Path, help="CSV, in place of numbers")
    parser.add_argument("--out", metavar="FILE", type=Path, help="Markdown page of the comparison")
    args = parser.parse_args(arguments)
    kept = study_results.read(args.results)
    if not kept:
        raise UserError(f"{args.results} holds no results: give the folder with runs.csv")
    seeds = sorted({key.seed for key in kept})
    known = {seed: read(kept, seed) for seed in seeds}
    contexts = known[seeds[0]].contexts
    away = read_distances(args.distances, contexts) if args.distances else by_number(contexts)
    whole = {seed: of for seed, of in known.items() if not np.isnan(of.matrix).any()}
    if not whole:
        print(following(known[seeds[0]], away))
        return
    budget = min(args.budget, len(contexts))
    lines = page(args.results.name, whole, away, budget)
    print(*lines, sep="\n")
    if args.out:
        write_text(args.out, "\n".join(lines) + "\n")


def read(results: Results, seed: int) -> Transfer:
    """The returns of a seed's runs. Raises UserError where they are not named for contexts."""
    runs = {key.run: of.scores for key, of in results.items() if key.seed == seed}
    changes = {
        measure for of in runs.values() for _, measure in of if measure.startswith("change/")
    }
    named = {measure.removeprefix("change/") for measure in changes}
    contexts = sorted(named, key=_place)
    if len(contexts) < 2:
        raise UserError(
            "no run was evaluated in several contexts: give the study disturb: [sticky:0, "
            "sticky:0.1 ...]"
        )
    matrix = np.full((len(contexts),) * 2, np.nan)
    for row, context in enumerate(contexts):
        for (_, measure), value in runs.get(context.replace(":", "_"), {}).items():
            if (name := measure.removeprefix("change/")) in named and name != measure:
                matrix[row, contexts.index(name)] = value
        for (_, measure), value in runs.get(context.replace(":", "_"), {}).items():
            if measure == "return":
                matrix[row] += value
    if np.isnan(matrix).all():
        raise UserError(
            "no run is named for one of its contexts: give the runs of the study names such as "
            f"{contexts[0].replace(':', '_')} for {contexts[0]}"
        )
    return Transfer(contexts, matrix)


def _place(context: str) -> tuple[str, float]:
    name, _, number = context.partition(":")
    return name, float(number or 0)


def by_number(contexts: Sequence[str]) -> np.ndarray:
    """(N, N) distances of the numbers of contexts. Raises UserError for several kinds of them."""
    kinds = {context.partition(":")[0] for context in contexts}
    if len(kinds) > 1:
        raise UserError(f"contexts of several kinds ({', '.join(sorted(kinds))}): give --distances")
    return distances([_place(context)[1] for context in contexts])


def read_distances(path: Path, contexts: Sequence[str]) -> np.ndarray:
    """(N, N) of a CSV. Raises UserError where it lacks a context or a number."""
    with open(path, newline="", encoding="utf-8") as file:
        (_, *columns), *rows = list(csv.reader(file))
    table = {name: dict(zip(columns, row, strict=False)) for name, *row in rows}
    try:
        away = np.array([[float(table[a][b]) for b in contexts] for a in contexts])
    except (KeyError, ValueError) as fault:
        raise UserError(f"{path} has no number for {fault}: a row and a column each") from None
    return away / max(away.max(), 1e-12)


def following(known: Transfer, away: np.ndarray) -> str:
    """Which context to train next, where some are not there yet."""
    trained = {i: row for i, row in enumerate(scaled(known.matrix)) if not np.isnan(row).any()}
    place = mbtl(trained, away)
    names = ", ".join(known.contexts[i] for i in trained) or "none yet"
    return f"trained: {names}\ntrain next: {known.contexts[place]}"


def page(name: str, whole: dict[int, Transfer], away: np.ndarray, budget: int) -> list[str]:
    """The comparison of ways to choose, where every context has its agent."""
    contexts = next(iter(whole.values())).contexts
    ways = ("mbtl", "equidistant", "farthest first", "random", "greedy, all known")
    found: dict[str, list[list[float]]] = {way: [] for way in ways}
    picks: list[list[str]] = []
    for seed, of in whole.items():
        matrix = of.matrix
        choose: dict[str, Choose] = {
            "mbtl": mbtl,
            "equidistant": partial(equidistant, budget=budget),
            "farthest first": middle,
            "greedy, all known": partial(greedy, matrix=scaled(matrix)),
        }
        for way, by in choose.items():
            order = chosen(by, scaled(matrix), away, budget)
            found[way].append(reached(order, matrix))
            picks.append([way, str(seed), ", ".join(contexts[i] for i in order)])
        found["random"].append(at_random(matrix, budget))
    own = np.mean([np.diag(of.matrix).mean() for of in whole.values()])
    rows = [
        [way, *(f"{value:.2f}" for value in np.mean(found[way], axis=0)),
         ", ".join(f"{each[-1]:.2f}" for each in found[way])]
        for way in ways
    ]  # fmt: skip
    return [
        f"# Which contexts to train in: {name}",
        "",
        f"{len(contexts)} contexts, {len(whole)} seeds. Mean over all contexts of the return of "
        "the best agent there, after so many agents; an agent for each context reaches "
        f"{own:.2f} where it was trained.",
        "",
        *markdown(["chosen by", *map(str, range(1, budget + 1)), f"each seed, {budget}"], rows),
        "",
        *markdown(["chosen by", "seed", "in this order"], sorted(picks)),
    ]
