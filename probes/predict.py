"""Which probes told beforehand how well agents play: rank correlations over run folders.

An agent's record names the encoder that it was given by its fingerprint, a probe's result what it
measured. Agents are compared with agents that differ in nothing but the encoder and the seed, in
one game; what is averaged is the rank correlation within each such group.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import yaml
from numpy.typing import ArrayLike

from fovea.atari.games import find
from fovea.command import UserError
from fovea.foreign import load_yaml, read_text
from fovea.probes.run import run
from fovea.probes.summary import mean_of
from fovea.results import ProbeResult, read_result
from fovea.runs import read_run, run_folders
from fovea.seeding import Stream
from fovea.tables import Table

FEWEST = 3  # encoders in a group, below which there is no order to speak of
ENOUGH = 10  # encoders in all, below which nothing is said about what predicts
SURE = 0.05
PERMUTATIONS = 10_000
EITHER = "seed_everything", "run", "checkpoint_every", "trainer", "ckpt_path", "keep_schedule"
"""Settings in which agents of one group may differ; and the encoder that they were given."""

Group = tuple[str, str]
"""(game, all settings but the encoder's weights)."""


class Correlation(NamedTuple):
    """How well a probe's measure orders agents.

    Attributes:
        probe: its name.
        measure: the column that its verdict is of.
        encoders: how many, over all groups.
        groups: of agents that differ in the encoder alone.
        rho: Spearman's, the mean over groups by their encoders.
        p: share of permutations within groups whose correlation is as far from 0, two-sided.
    """

    probe: str
    measure: str
    encoders: int
    groups: int
    rho: float
    p: float


def correlate(places: Sequence[Path]) -> list[Correlation]:
    """How well every measure goes with returns, over all run folders below `places`.

    The best first. Raises UserError where there are no evaluated agents, no results of probes, or
    no encoder that has both.
    """
    folders = [folder for place in places for folder in run_folders(place)]
    returns, measures = _returns(folders), _measures(folders)
    if not returns or not measures:
        what = "evaluated agents" if not returns else "results of probes"
        raise UserError(f"no {what} below {', '.join(map(str, places))}: give folders of both")
    found = []
    for (probe, measure), of in measures.items():
        groups = []
        for (game, _), played in returns.items():
            both = [(of[e, game], np.mean(r)) for e, r in played.items() if (e, game) in of]
            if len(both) >= FEWEST:
                groups.append(np.array(both, dtype=float))
        if groups:
            rho, p = permuted(groups)
            found.append(Correlation(probe, measure, sum(map(len, groups)), len(groups), rho, p))
    if not found:
        raise UserError(
            f"no {FEWEST} encoders below {', '.join(map(str, places))} were both probed in a game "
            "and played on there by agents alike: probe the encoders that agents have"
        )
    return sorted(found, key=lambda one: (-abs(one.rho), one.p))


def best(found: Sequence[Correlation]) -> Correlation:
    """The measure to choose by. Raises UserError where the evidence is too thin for any."""
    good = [one for one in found if one.encoders >= ENOUGH and one.p * len(found) <= SURE]
    if not good:
        first = found[0]
        raise UserError(
            f"the evidence is too thin to rank by: the best of {len(found)} measures, "
            f"{first.probe} {first.measure}, goes with returns at rho {first.rho:+.2f} over "
            f"{first.encoders} encoders (p {first.p:.3f}, wanted {SURE:g} over {len(found)} and "
            f"{ENOUGH} encoders): train agents on more encoders"
        )
    return max(good, key=lambda one: abs(one.rho))


def choose(
    game: str,
    encoders: list[str],
    recordings: list[str],
    runs: Sequence[Path],
    into: Path,
    samples: int,
    accelerator: str,
) -> list[str]:
    """Lines that rank `encoders` ("NAME=REF") for a game by the probe that predicts best.

    Args:
        game: that the agent is to play.
        encoders: what is ranked.
        recordings: folders in which the game is.
        runs: folders of agents and probes, from which it is learned what predicts.
        into: the run folder of the probe.
        samples: screen stacks that are probed.
        accelerator: auto, cpu or cuda.

    Raises UserError where the evidence is too thin, and as `probes.run.run` does.
    """
    by = best(correlate(runs))
    game = find(game).rom_id
    run(encoders, recordings, into, only=[by.probe], samples=samples, accelerator=accelerator)
    result = read_result(into / "probes" / f"{by.probe}.json")
    if game not in result.recordings:
        raise UserError(
            f"the recordings hold {', '.join(result.recordings)}, not {game}: take one of these"
        )
    own = {given.partition("=")[0] for given in encoders}
    values = {name: of for name, of in of_game(result, game).items() if name in own}
    order = sorted(values, key=lambda name: values[name] * by.rho, reverse=True)
    head = (
        f"by {by.probe} {by.measure}, which went with returns at rho {by.rho:+.2f} over "
        f"{by.encoders} encoders in {by.groups} groups of agents (p {by.p:.4f}):"
    )
    lines = [f"{place}. {name:<20} {values[name]:.3f}" for place, name in enumerate(order, 1)]
    return [head, *lines, *(f"-  {name}: not measured" for name in sorted(own - values.keys()))]


def table(found: Sequence[Correlation]) -> Table:
    """As rows, the best first."""
    return Table(
        name="correlations",
        title="What goes with returns",
        columns=list(Correlation._fields),
        rows=[list(one) for one in found],
        note=f"p is of each measure by itself, and {len(found)} were looked at.",
    )


def _returns(folders: Iterable[Path]) -> dict[Group, dict[str, list[float]]]:
    """{group: {fingerprint of the encoder: mean returns of evaluations, one a seed}}."""
    found: dict[Group, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for folder in folders:
        record = read_run(folder)
        if record is None or not record.evaluation or not record.plugged_in:
            continue
        evaluation, encoder = record.evaluation, record.plugged_in.fingerprint
        if encoder and evaluation.mean is not None:
            group = evaluation.game, _settings(folder)
            found[group][encoder].append(evaluation.mean)
    return found


def _settings(folder: Path) -> str:
    """All that makes an agent but the weights of its encoder and chance, as text."""
    config = load_yaml(read_text(folder / "config.yaml"), folder / "config.yaml")

    def without_reference(value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        return {
            key: "given" if key == "encoder" and isinstance(one, str) else without_reference(one)
            for key, one in value.items()
        }

    kept = {key: without_reference(one) for key, one in config.items() if key not in EITHER}
    return yaml.safe_dump(kept, sort_keys=True)


def _measures(folders: Iterable[Path]) -> dict[tuple[str, str], dict[tuple[str, str], float]]:
    """{(probe, measure): {(fingerprint, game): value}} of what verdicts are of."""
    found: dict[tuple[str, str], dict[tuple[str, str], float]] = defaultdict(dict)
    for folder in folders:
        for path in sorted((folder / "probes").glob("*.json")):
            result = read_result(path)
            if result.verdict:
                for game in result.recordings:
                    for name, value in of_game(result, game).items():
                        place = result.probe, result.verdict.measure
                        found[place][result.fingerprints[name], game] = value
    return found


def of_game(result: ProbeResult, game: str) -> dict[str, float]:
    """By encoder, what a probe's verdict is of, in one game."""
    how = result.verdict
    assert how, "only probes with a verdict are asked"
    return mean_of(result.encoders, replace(how, where={**how.where, "game": game}))


def permuted(groups: Sequence[np.ndarray]) -> tuple[float, float]:
    """Spearman's rho of groups of pairs (n, 2), and p by permutations within each.

    Groups count by their sizes. The same groups give the same p.
    """
    ranks = [tuple(_centred_ranks(group.T)) for group in groups]
    generator = np.random.default_rng(Stream.PERMUTATIONS)

    def rho(of: Sequence[tuple[np.ndarray, np.ndarray]]) -> float:
        sizes = [len(x) for x, _ in of]
        each = [(x @ y) / max(np.sqrt((x @ x) * (y @ y)), 1e-12) for x, y in of]
        return float(np.average(each, weights=sizes))

    observed = rho(ranks)
    as_far = sum(
        abs(rho([(x, generator.permutation(y)) for x, y in ranks])) >= abs(observed) - 1e-12
        for _ in range(PERMUTATIONS)
    )
    return observed, (as_far + 1) / (PERMUTATIONS + 1)


def _centred_ranks(values: ArrayLike) -> np.ndarray:
    """Ranks along the last axis less their mean; equal values share theirs."""
    values = np.asarray(values)[..., None]
    below = (values > np.swapaxes(values, -1, -2)).sum(-1)
    equal = (values == np.swapaxes(values, -1, -2)).sum(-1)
    ranks = below + (equal + 1) / 2
    return ranks - ranks.mean(-1, keepdims=True)
