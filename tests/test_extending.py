"""The page on extending is true: its files in a copy of the package, its commands as they stand."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from pages import ROOT, blocks, run, run_commands, smaller

PAGE = ROOT / "docs" / "extending.md"
SMALLER = {"--trainer.max_steps": "2", "--samples": "120", "--data.total_steps": "1024"}


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory, recordings: Path) -> Path:
    """A folder with the package, the page's files in it, and recordings."""
    folder = tmp_path_factory.mktemp("clone")
    shutil.copytree(ROOT / "fovea", folder / "fovea", ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "recordings").symlink_to(recordings)
    for block in blocks(PAGE, "python", "yaml"):
        assert block.file
        inside = block.file.startswith(("pretrain", "agents", "probes"))
        path = folder / ("fovea" if inside else ".") / block.file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(block.text, encoding="utf-8")
    return folder


@pytest.mark.evidence
@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_pages_commands_run_on_the_pages_files(clone: Path) -> None:
    commands = [smaller(words, SMALLER) for of in blocks(PAGE, "sh") for words in of.commands]
    for words in commands:
        if "ppo_lora" in words:
            words += ["--model.features.norm_samples", "64"]
    said = run_commands(clone, commands, package=clone)
    assert "Brightness of the screen" in said
    page = (clone / "runs" / "report" / "index.html").read_text(encoding="utf-8")
    assert page.count("Brightness of the screen") >= 2  # its section, and the sentence on top
    assert '"brightness-probes"' in (clone / "runs" / "report" / "assets" / "data.js").read_text()


@pytest.mark.evidence
@pytest.mark.slow
def test_the_pages_test_passes(clone: Path) -> None:
    tested = run(clone, "-m", "pytest", "-q", "tests/pretrain/test_slowness.py", package=clone)
    assert "1 passed" in tested
