"""A report of a quickstart, made once, and a browser, opened once."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from selenium import webdriver

import report_samples as samples
from benchmarks.chromium import chromium
from fovea.command import UserError


@pytest.fixture(scope="session")
def quickstart(tmp_path_factory: pytest.TempPathFactory) -> tuple[samples.Text, dict, Path]:
    """The page as a reader sees it, the data of its charts, and its folder."""
    folder = samples.quickstart(tmp_path_factory.mktemp("runs"))
    out = folder / "report"
    return *samples.page(folder, out), out


@pytest.fixture(scope="session")
def browser() -> Iterator[webdriver.Chrome]:
    """Headless Chromium, or Chrome, which keeps what it logged and asked for."""
    with ExitStack() as stack:
        try:
            opened = stack.enter_context(chromium())
        except UserError as reason:
            if os.environ.get("CI"):
                pytest.fail(f"{reason}, which CI must have")
            pytest.skip(str(reason))
        yield opened
