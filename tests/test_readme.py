"""Every command of the README runs as it stands there, with smaller numbers."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
# make calls pytest, which calls this.
ELSEWHERE = ("make ", "source .venv/bin/activate", "pip install")
SMALLER = {
    "--steps": "1500",
    "--trainer.max_steps": "2",
    "--samples": "120",
    "--episodes": "1",
    "--data.total_steps": {"dqn_frozen": "240", "ppo_frozen": "1024"},
}
PRETRAINING = ["--data.batch_size", "8", "--data.held_out", "16"]
FEW = ["--model.init_args.features.norm_samples", "64"]
ALSO = {
    "collect": ["--shard-steps", "500"],
    "tov_vicreg": PRETRAINING,
    "vicreg": PRETRAINING,
    "dqn_frozen": [*FEW, "--model.init_args.learning_starts", "200"],
    "ppo_frozen": FEW,
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


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def commands() -> list[str]:
    """The lines of every sh block, without their comments."""
    lines = [line.split("  #")[0].strip() for block in blocks("sh") for line in block.splitlines()]
    return [line for line in lines if line and not line.startswith(ELSEWHERE)]


def smaller(command: str) -> list[str]:
    words = shlex.split(command)
    for place, word in enumerate(words[:-1]):
        if word in SMALLER:
            fewer = SMALLER[word]
            if isinstance(fewer, dict):
                fewer = next(fewer[word] for word in words if word in fewer)
            words[place + 1] = fewer
    return words + [more for word in words for more in ALSO.get(word, ())]


def run(folder: Path, *arguments: str) -> None:
    """Run this checkout's code in `folder`."""
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{shlex.join(arguments)}\n{done.stdout}"


@pytest.mark.evidence
@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_way_goes_through_as_it_is_written(tmp_path: Path) -> None:
    """In the order of the README, from an empty folder."""
    assert len(commands()) >= 10
    for command in commands():
        program, *arguments = smaller(command)
        assert program == "fovea", command
        run(tmp_path, "-m", "fovea", *arguments)
    assert (tmp_path / "runs/quickstart/report/index.html").exists()
    *others, notebook = blocks("python")
    for shown, fewer in NOTEBOOK.items():
        assert shown in notebook
        notebook = notebook.replace(shown, fewer)
    for block in (*others, notebook):
        run(tmp_path, "-c", block)


def test_nothing_was_left_to_fill_in() -> None:
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
    left = re.compile(r"@@|\b(TODO|TBD|XXX)\b")
    assert not [
        f"{page.relative_to(ROOT)}: {line}"
        for page in pages
        for line in page.read_text(encoding="utf-8").splitlines()
        if left.search(line)
    ]


def test_the_quickstart_chains_the_commands_of_the_readme() -> None:
    made = subprocess.run(
        ["make", "--dry-run", "quickstart"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.replace("\\\n", " ")
    chained = {
        ("fovea", *shlex.split(line)[1:])
        for line in made.splitlines()
        if line.startswith(".venv/bin/fovea ")
    }
    shown = {tuple(shlex.split(command)) for command in commands()}
    assert len(chained) >= 9
    assert chained <= shown, chained - shown


def test_what_it_shows_is_there() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        if not target.startswith("http"):
            assert (ROOT / target).exists(), target
