"""R2 of each variable after each block and of each read-out, with what intervals are made of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from fovea import by_episode
from fovea.atari.ram import Variable
from fovea.probes.features import Split, episodes
from fovea.probes.state_curves import Predictions
from fovea.results import Measured
from fovea.tables import Table

COLUMNS = ["game", "variable", "category", "read_out"]
ABOUT = "R² of all labels; features go through the agents' norm, as in the table by labels. "


class VariableRows(NamedTuple):
    """Of one game."""

    rows: list[list]
    """Rows (game, variable, category, read-out, block, R2), the last block's read-outs at last."""
    parts: np.ndarray
    """(rows, E, 4), see `fovea.by_episode.errors`."""


def variable_rows(game: str, test: Split, asked: list[Variable], told: Predictions) -> VariableRows:
    """A row for each variable, block and read-out of a game, of what was told of its test split."""
    episode = episodes(test)
    truth = test.ram[:, [variable.byte for variable in asked]].cpu()
    rows, parts = [], []
    for (block, read_out), predicted in told.items():
        of_it = by_episode.errors(episode, truth, predicted.cpu())
        scores = by_episode.whole(by_episode.r2, of_it)
        rows += [
            [game, v.name, v.category, read_out, block, r2]
            for v, r2 in zip(asked, scores, strict=True)
        ]
        parts.append(of_it)
    return VariableRows(rows, np.concatenate(parts))


def variables_by(games: Sequence[VariableRows]) -> Measured:
    """The tables by block, where there are several, and by read-out after the last."""
    rows = [row for of in games for row in of.rows]
    parts = by_episode.stacked([of.parts for of in games])
    last = max(row[4] for row in rows)
    at_last = [k for k, row in enumerate(rows) if row[4] == last]
    tables = [
        Table(
            name="variables_by_read_out",
            title="Each variable, by read-out",
            columns=[*COLUMNS, "r2"],
            rows=[[*rows[k][:4], rows[k][5]] for k in at_last],
            note=ABOUT,
        )
    ]
    arrays = {"variables_by_read_out/errors": parts[at_last]}
    if last:
        # The attentive read-out is trained after the last block alone.
        linear = [k for k, row in enumerate(rows) if row[3] != "attention"]
        note = f"{ABOUT}Block 0 is the patch embedding; the last norm follows each."
        columns = [*COLUMNS, "block", "r2"]
        of_it = [rows[k] for k in linear]
        tables.append(Table("variables_by_block", "Each variable, by block", columns, of_it, note))
        arrays["variables_by_block/errors"] = parts[linear]
    return Measured(tables, arrays)
