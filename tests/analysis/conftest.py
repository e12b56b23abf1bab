"""A report of a quickstart, made once."""

from __future__ import annotations

from pathlib import Path

import pytest

import report_samples as samples


@pytest.fixture(scope="session")
def quickstart(tmp_path_factory: pytest.TempPathFactory) -> tuple[samples.Text, dict, Path]:
    """The page as a reader sees it, the data of its charts, and its folder."""
    folder = samples.quickstart(tmp_path_factory.mktemp("runs"))
    out = folder / "report"
    return *samples.page(folder, out), out
