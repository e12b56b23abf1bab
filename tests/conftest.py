"""What tests of every room share: short recordings of real games, and a browser."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

# Before torch starts: tiny tensors gain nothing from a second thread, which would wait spinning
# whenever the machine is busy; and commands that tests start inherit it.
os.environ["OMP_NUM_THREADS"] = "1"

# Lines are as wide as they are where nobody says how wide the terminal is: workers of xdist do.
os.environ.pop("COLUMNS", None)

# A shell that starts the tests in the background, or nohup, has them and all that they start ignore
# signals that some of them send.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)

import hypothesis
import pytest
from filelock import FileLock

from fovea.atari.collect import collect
from fovea.command import UserError

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

# The same examples in every run; how long one takes depends on what else the machine does.
hypothesis.settings.register_profile("fovea", deadline=None, derandomize=True)
hypothesis.settings.load_profile("fovea")


@pytest.fixture(scope="session")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a few whole episodes of Breakout and Pong."""
    base = tmp_path_factory.getbasetemp()
    # Processes of one run have their own folders inside that of the run, where they share this one:
    # the second finds nothing left to play.
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "recordings"
    with FileLock(f"{folder}.lock"):
        collect(["breakout"], folder, steps=1500, shard_steps=750, workers=1)
        collect(["pong"], folder, steps=3000, shard_steps=1000, workers=1)
    return folder


@pytest.fixture(scope="session")
def browser() -> Iterator[Chrome]:
    """Headless Chromium, or Chrome, which keeps what it logged and asked for.

    Its tests are skipped where none is installed; under CI that is a failure.
    """
    from benchmarks.chromium import chromium  # Selenium, which other tests do without

    with ExitStack() as stack:
        try:
            opened = stack.enter_context(chromium())
        except UserError as reason:
            if os.environ.get("CI"):
                pytest.fail(f"{reason}, which CI must have")
            pytest.skip(str(reason))
        yield opened
