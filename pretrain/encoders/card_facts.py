"""What a card says of what was found out about an encoder: probes, attention, agents.

Only what was measured of these very weights is taken, by the fingerprint that results of probes
and records of agents keep.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from fovea.command import UserError
from fovea.figures import AttentionMaps
from fovea.files import replacing_folder, write_text
from fovea.foreign import load_yaml, read_text
from fovea.heat import overlay
from fovea.pretrain.card import make_card, objective_settings
from fovea.pretrain.encoders.fingerprint import fingerprint
from fovea.pretrain.encoders.folder import load_encoder
from fovea.pretrain.hub import CARD, FILES, PICTURE, read_config, seal, verify
from fovea.results import ProbeResult, read_arrays, read_result
from fovea.runs import read_run
from fovea.schema import Evaluation
from fovea.tables import markdown

SIDE = 168
"""Pixels of a screen in the picture, which is twice the usual 84."""
TITLES = {"random": "untrained", "pixels_pooled": "pixels, pooled"}
"""What references are called here."""
COLUMNS = 6
"""Games that the picture shows at most."""


def write_card(
    folder: Path, ref: str, probes: Sequence[Path] = (), agents: Sequence[Path] = ()
) -> None:
    """Make the card of an encoder folder anew, with what was found out about the encoder.

    Args:
        folder: the encoder folder, whose card, picture and sums are replaced, all of them or none.
        ref: how readers will name it, see `make_card`.
        probes: run folders of `fovea probes run`.
        agents: run folders of agents that play on it, evaluated.

    Raises UserError where a run measured or played on no such weights, or holds no such thing.
    """
    names = verify(folder) - {PICTURE}
    encoder = load_encoder(folder)
    weights = fingerprint(encoder)
    results = list(_of_probes(weights, probes))
    games = read_config(folder)["fovea"].get("data_sha256", {})
    found = [_knows(name, result, games) for _, name, result in results if result.verdict]
    picture = next((made for at in results if (made := _picture(*at)) is not None), None)
    if picture is not None:
        found.append(
            "## Where it looks\n\nThe newest screen of held-out moments, and rollout of its "
            "attention over all blocks (Abnar and Zuidema 2020), each map scaled to its strongest "
            f"patch.\n\n![Attention on screens of its games]({PICTURE})"
        )
    if agents:
        found.append(_returns([(run, *_of_agent(run, weights)) for run in agents]))
    with replacing_folder(folder) as building:
        for name in names - {CARD}:
            shutil.copyfile(folder / name, building / name)
        if picture is not None:
            (building / PICTURE).write_bytes(picture)
            names |= {PICTURE}
        config, settings = read_config(folder), objective_settings(folder)
        write_text(building / CARD, make_card(ref, config, encoder.library, settings, found))
        seal(building, [*FILES, *sorted(names - {*FILES})])


def _of_probes(weights: str, runs: Sequence[Path]) -> Iterator[tuple[Path, str, ProbeResult]]:
    """(file, name of the encoder in it, result) of each probe of encoders with these weights."""
    for run in runs:
        files = sorted((run / "probes").glob("*.json"))
        if not files:
            raise UserError(f"{run} holds no results of probes: run `fovea probes run` into it")
        known: set[str] = set()
        matched = False
        for file in files:
            result = read_result(file)
            known |= result.fingerprints.keys()
            for name, measured in result.fingerprints.items():
                if measured == weights and name in result.encoders:
                    matched = True
                    yield file, name, result
        if not matched:
            raise UserError(
                f"{run} measured {', '.join(sorted(known)) or 'nothing'}, none of them with these "
                "weights: probe this encoder"
            )


def _knows(name: str, result: ProbeResult, games: Mapping[str, str]) -> str:
    """The section on a probe with a verdict: this encoder beside the references."""
    how = result.verdict
    assert how is not None
    columns = {"this encoder": name} | {TITLES.get(one, one): one for one in how.references}
    values = {
        title: how.value(result.encoders[one])
        for title, one in columns.items()
        if one in result.encoders
    }
    same = result.recordings == dict(games)
    where = "the recordings that it was pretrained on" if same else "recordings of their own"
    settings = ", ".join(f"{key} {value}" for key, value in result.settings.items())
    sentence = how.sentence.replace("{games}", f"{len(result.recordings)} games")
    return "\n".join(
        [
            f"## {result.title}",
            "",
            f"{sentence[0].upper()}{sentence[1:]}. Measured on {where} "
            f"({', '.join(result.recordings)}; {settings}; Fovea {result.version}):",
            "",
            *markdown(list(values), [[f"{value:.3f}" for value in values.values()]]),
        ]
    )


def _picture(file: Path, name: str, result: ProbeResult) -> bytes | None:
    """A PNG of a screen a game, and below it the screen with the map over it."""
    if not any(isinstance(figure, AttentionMaps) for figure in result.figures):
        return None
    arrays = read_arrays(file)
    if f"{name}/rollout" not in arrays:
        return None
    screens, maps, games = (arrays[f"{name}/{key}"] for key in ("screens", "rollout", "game"))
    _, first = np.unique(games, return_index=True)
    columns = []
    for at in sorted(first)[:COLUMNS]:
        grey = cv2.resize(screens[at], (SIDE, SIDE), interpolation=cv2.INTER_NEAREST)
        heat = (maps[at] / max(float(maps[at].max()), 1e-12)).astype(np.float32)
        columns.append(np.vstack([np.repeat(grey[..., None], 3, axis=2), overlay(grey, heat)]))
    return cv2.imencode(".png", np.hstack(columns)[..., ::-1])[1].tobytes()


def _of_agent(run: Path, weights: str) -> tuple[dict[str, Any], Evaluation]:
    """The config of an agent that was given the encoder of a fingerprint, and how it played."""
    record = read_run(run)
    if record is None or record.evaluation is None:
        raise UserError(f"{run} was not evaluated: `fovea agents evaluate --run {run}`")
    given = record.plugged_in
    if given is None or given.fingerprint != weights:
        what = given.source if given else "an encoder that its record does not name"
        raise UserError(
            f"{run} plays on {what}, which is not (or no longer) this encoder: leave it out, or "
            "train an agent on this one"
        )
    model = load_yaml(read_text(run / "config.yaml"), run / "config.yaml")["model"]
    return model, record.evaluation


def _returns(played: Sequence[tuple[Path, dict[str, Any], Evaluation]]) -> str:
    """The section on agents."""
    head = ["game", "agent", "encoder", "agent steps", "episodes", "return", "random", "human",
            "HNS"]  # fmt: skip
    rows = []
    for _, model, one in played:
        adapted = model["init_args"]["encoder"]["class_path"]
        numbers = (one.mean, one.random, one.human)
        rows.append(
            [
                one.game,
                model["class_path"].rpartition(".")[2],
                adapted.rpartition(".")[2],
                f"{one.trained:,}",
                str(len(one.returns)),
                *("" if number is None else f"{number:.1f}" for number in numbers),
                "" if one.hns is None else f"{one.hns:.3f}",
            ]
        )
    return "\n".join(
        [
            "## What agents reach on it",
            "",
            "Mean raw return of whole episodes, one training run each; HNS is 0 for the random "
            "agent and 1 for the human tester.",
            "",
            *markdown(head, rows),
        ]
    )
