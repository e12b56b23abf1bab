"""Every command of the README runs as it stands there, with smaller numbers."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
ROOMS = ("atari", "pretrain", "agents", "probes", "analysis")
# make calls pytest, which calls this.
ELSEWHERE = ("make quickstart", "make test", "source .venv/bin/activate")
SMALLER = {
    "--steps": "1500",
    "--trainer.max_steps": "2",
    "--samples": "120",
    "--episodes": "1",
    "--data.steps": {
        "agents/configs/dqn_frozen.yaml": "1640",
        "agents/configs/ppo_frozen.yaml": "1024",
    },
}
ALSO = {"evaluate": ["--max-frames", "400", "--seconds", "1"], "collect": ["--shard-steps", "500"]}


def commands() -> list[str]:
    """The lines of every sh block, without what they say of themselves."""
    blocks = re.findall(r"```sh\n(.*?)```", README, re.DOTALL)
    lines = [line.split("  #")[0].strip() for block in blocks for line in block.splitlines()]
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


@pytest.mark.timeout(600)
def test_the_way_goes_through_as_it_is_written(tmp_path: Path) -> None:
    """In the order of the README, from an empty folder beside which the project lies."""
    for room in ROOMS:
        (tmp_path / room).symlink_to(ROOT / room)
    assert len(commands()) >= 10
    for command in commands():
        words = smaller(command)
        assert words[0] == "python", command
        done = subprocess.run(
            [sys.executable, *words[1:]], cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    assert (tmp_path / "runs/quickstart/report/index.html").exists()
    timm = re.search(r"```python\n(.*?)```", README, re.DOTALL)[1]
    done = subprocess.run(
        [sys.executable, "-c", timm], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_the_quickstart_chains_the_commands_of_the_readme() -> None:
    made = subprocess.run(
        ["make", "--dry-run", "quickstart"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.replace("\\\n", " ")
    chained = {
        tuple(shlex.split(line)[1:])
        for line in made.splitlines()
        if line.startswith(".venv/bin/python -m")
    }
    shown = {tuple(shlex.split(command)[1:]) for command in commands()}
    assert len(chained) >= 9
    assert chained <= shown, chained - shown


def test_what_it_shows_is_there() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        if not target.startswith("http"):
            assert (ROOT / target).exists(), target
