"""The project's formulas give the authors' numbers, and the check can tell when they do not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import oracle

FILE = Path(__file__).parent / "oracle.npz"


def test_every_built_group_agrees_with_its_authors(capsys: pytest.CaptureFixture) -> None:
    assert oracle.main(str(FILE)) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1].endswith(" 0 failed")
    assert not any(line.startswith("0 passed") for line in lines)


@pytest.mark.parametrize(("key", "line"), [
    ("vicreg/0/covariance", "vicreg/0: FAILED"),
    ("stats/0/iqm", "stats/0: FAILED"),
    ("unheard_of/0/value", "unheard_of: FAILED"),
])  # fmt: skip
def test_a_wrong_number_or_an_unknown_group_fails(
    key: str, line: str, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    with np.load(FILE) as file:
        group = key.split("/")[0]
        arrays = {name: file[name] for name in file.files if name.startswith(f"{group}/0/")}
    arrays[key] = arrays.get(key, np.float64(1)) * (1 + 1e-5)
    np.savez(tmp_path / "wrong.npz", **arrays)
    assert oracle.main(str(tmp_path / "wrong.npz")) == 1
    printed = capsys.readouterr().out
    assert line in printed
    assert printed.splitlines()[-1].endswith("1 failed")
