"""Every command of the README and the quickstart runs as it stands there, with smaller numbers."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

import pytest

from pages import ROOT, blocks, run, run_commands
from pages import smaller as with_values

README, QUICKSTART = ROOT / "README.md", ROOT / "docs" / "quickstart.md"
# make calls pytest, which calls this.
ELSEWHERE = ("make", "source", "pip")
SMALLER = {
    "--steps": "1500",
    "--trainer.max_steps": "2",
    "--samples": "120",
    "--episodes": "1",
}
PRETRAINING = ["--data.batch_size", "8", "--data.held_out", "16"]
FEW = ["--model.features.norm_samples", "64"]
ALSO = {
    "collect": ["--shard-steps", "500"],
    "recipe": PRETRAINING,
    "tov_vicreg": PRETRAINING,
    "vicreg": PRETRAINING,
    "dqn_frozen": [*FEW, "--data.total_steps", "240", "--model.learning_starts", "200"],
    "ppo_frozen": [*FEW, "--data.total_steps", "1024"],
    "evaluate": ["--max-frames", "400", "--seconds", "1"],
}
NOTEBOOK = {
    "max_steps=20": "max_steps=2",
    "batch_size=64": "batch_size=8, held_out=16",
    "samples=400": "samples=120",
    "total_steps=1500": "total_steps=240",
    "learning_starts=1000": "learning_starts=200",
    'norm="standard"': 'norm="standard", norm_samples=64',
    "max_frames=2000": "max_frames=400",
}


def commands(page: Path) -> list[list[str]]:
    """The words of every command of Fovea that it shows."""
    every = [words for block in blocks(page, "sh") for words in block.commands]
    return [words for words in every if words[0] not in ELSEWHERE]


def smaller(words: list[str]) -> list[str]:
    also = [more for word in words for more in ALSO.get(word, ())]
    return with_values(words, SMALLER) + also


@pytest.mark.evidence
@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("page", [README, QUICKSTART], ids=lambda page: page.stem)
def test_the_way_goes_through_as_it_is_written(page: Path, tmp_path: Path) -> None:
    """In the order of the page, from an empty folder."""
    assert len(commands(page)) >= 5
    assert {words[0] for words in commands(page)} == {"fovea"}
    run_commands(tmp_path, [smaller(words) for words in commands(page)])
    assert list(tmp_path.rglob("report/index.html"))
    for block in blocks(page, "python"):
        text = block.text
        for shown, fewer in NOTEBOOK.items():
            text = text.replace(shown, fewer)
        run(tmp_path, "-c", text)


@pytest.mark.parametrize("shown", NOTEBOOK)
def test_what_the_notebook_is_shortened_by_is_in_it(shown: str) -> None:
    assert shown in QUICKSTART.read_text(encoding="utf-8")


def test_nothing_was_left_to_fill_in() -> None:
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
    left = re.compile(r"@@|\b(TODO|TBD|XXX)\b")
    assert not [
        f"{page.relative_to(ROOT)}: {line}"
        for page in pages
        for line in page.read_text(encoding="utf-8").splitlines()
        if left.search(line)
    ]


def test_the_quickstart_chains_the_commands_of_its_page() -> None:
    made = subprocess.run(
        ["make", "--dry-run", "quickstart"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.replace("\\\n", " ")
    chained = {
        ("fovea", *shlex.split(line)[1:])
        for line in made.splitlines()
        if line.startswith(".venv/bin/fovea ")
    }
    shown = {tuple(words) for words in commands(QUICKSTART)}
    assert len(chained) >= 9
    assert chained <= shown, chained - shown
