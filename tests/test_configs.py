"""Shipped configs and studies are found by name, and a study's configs are among them."""

from __future__ import annotations

from pathlib import Path

import pytest

from fovea.agents.continual.run import parsed
from fovea.analysis.study import run
from fovea.command import UserError
from fovea.configs import locate


def test_a_wrong_name_of_a_study_lists_the_near_ones(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no file objectivs, .*: did you mean 'objectives'"):
        run(["objectivs", "--out", str(tmp_path)])


def test_a_path_is_taken_as_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "vicreg.yaml").write_text("# mine\n")
    assert locate("vicreg.yaml", "fovea.pretrain") == Path("vicreg.yaml")
    assert locate("vicreg", "fovea.pretrain").read_text() != "# mine\n"
    with pytest.raises(UserError, match=r"no file configs/vicreg.yaml, .*: did you mean 'vicreg'"):
        locate("configs/vicreg.yaml", "fovea.pretrain")


@pytest.mark.slow
def test_a_sequence_is_found_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    folder, sequence, _ = parsed(["-c", "continual", "--run", "mine"])
    assert folder == Path("mine")
    assert "lora" in sequence.methods
