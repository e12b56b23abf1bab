"""The results of a probe, in their two files.

RUN/probes/PROBE.json   title, settings, figures, and the tables of every encoder
RUN/probes/PROBE.npz    arrays "ENCODER/ARRAY", where the probe returned any
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from fovea.as_written import CHANGED, checked, with_check
from fovea.command import UserError
from fovea.figures import Figure, Verdict, read_figures
from fovea.files import replacing, write_json
from fovea.foreign import load_json, read_text
from fovea.npz import read_npz
from fovea.schema import Record, check
from fovea.tables import Table

if TYPE_CHECKING:
    import numpy as np

LAST = 1000
LARGEST = 2**30
"""Bytes of a result's text that are read."""


class Measured(NamedTuple):
    """What a probe returns for one encoder."""

    tables: list[Table]
    arrays: Mapping[str, Any] = {}
    """NumPy arrays, or what becomes one."""
    left_out: Sequence[str] = ()
    """Of what there is no number, such as a game, and why."""


@dataclass
class ProbeResult(Record):
    """The results of a probe for all encoders.

    Attributes:
        probe: its name.
        title: for people.
        about: how to read it.
        order: the place of its section in the report, the smallest first.
        figures: what the report draws of the tables; without any it shows the tables alone.
        verdict: what the report says in short; None for nothing.
        settings: of the probe and the run.
        recordings: SHA-256 of each game's recording.
        version: of Fovea.
        fingerprints: by encoder, SHA-256 of the weights that were measured.
        left_out: by encoder, why the probe does not apply.
        partly: by encoder, what the probe left out of what it measured, and why.
        takes: by encoder, how it takes screens, where that is not as they are.
        encoders: by encoder, its tables.
    """

    probe: str = ""
    title: str = ""
    about: str = ""
    order: int = LAST
    figures: list[Figure] = field(default_factory=list)
    verdict: Verdict | None = None
    settings: dict[str, Any] = field(default_factory=dict)
    recordings: dict[str, str] = field(default_factory=dict)
    version: str = ""
    fingerprints: dict[str, str] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    partly: dict[str, list[str]] = field(default_factory=dict)
    takes: dict[str, str] = field(default_factory=dict)
    encoders: dict[str, list[Table]] = field(default_factory=dict)

    @classmethod
    def read(cls, found: Mapping[str, Any]) -> Self:
        result = super().read(found)
        result.figures = read_figures(found.get("figures", []))
        result.title = result.title or result.probe
        result.verdict = Verdict.read(found["verdict"]) if found.get("verdict") else None
        result.encoders = {
            encoder: [Table.read(table) for table in of.get("tables", [])]
            for encoder, of in found["encoders"].items()
        }
        return result

    def plain(self) -> dict[str, Any]:
        whole = super().plain()
        whole["encoders"] = {name: {"tables": of} for name, of in whole["encoders"].items()}
        return whole

    def tables(self, encoder: str) -> dict[str, Table]:
        """The tables of one encoder by name."""
        return {table.name: table for table in self.encoders[encoder]}

    def joined(self) -> dict[str, Table]:
        """The tables of all encoders by name, with "encoder" as their first column."""
        joined: dict[str, Table] = {}
        for encoder, tables in self.encoders.items():
            for one in tables:
                columns = ["encoder", *one.columns]
                whole = joined.setdefault(
                    one.name, Table(one.name, one.title, columns, [], one.note)
                )
                whole.rows.extend([encoder, *row] for row in one.rows)
        return joined

    def write(self, path: Path) -> None:
        """Write the JSON file at `path`, atomically."""
        write_json(path, with_check(self.plain()))


def read_result(path: Path) -> ProbeResult:
    """A result from its JSON file.

    Raises ValueError, TypeError, KeyError or AttributeError where it is damaged.
    """
    written, same = checked(load_json(read_text(path, most=LARGEST)))
    if not same:
        raise ValueError(f"{path.name} {CHANGED}")
    result = ProbeResult.read(written)
    check(result)
    return result


def write_arrays(path: Path, arrays: Mapping[str, Any]) -> None:
    """Write the arrays beside the JSON file `path`, atomically."""
    import numpy as np

    columns: dict[str, Any] = {name: np.asarray(array) for name, array in arrays.items()}
    with replacing(path.with_suffix(".npz")) as temporary, open(temporary, "wb") as file:
        np.savez_compressed(file, **columns)


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """The arrays beside the JSON file `path`, not to be written to; none where there is no file.

    Raises ValueError where it is damaged, or is a pipe or a device; OSError where the disk fails.
    """
    try:
        return read_npz(path.with_suffix(".npz"))
    except FileNotFoundError:
        return {}
    except UserError:
        raise
    except ValueError as fault:
        raise ValueError(f"{path.stem}.npz is no file of arrays: {fault}") from None
