"""The page on extending is true: its files in a copy of the package, its commands as they stand."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")
SMALLER = {"--trainer.max_steps": "2", "--samples": "120", "--data.total_steps": "1024"}


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory, recordings: Path) -> Path:
    """A folder with the package, the page's files in it, and recordings."""
    folder = tmp_path_factory.mktemp("clone")
    shutil.copytree(ROOT / "fovea", folder / "fovea", ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "recordings").symlink_to(recordings)
    for text in (*blocks("python"), *blocks("yaml")):
        name = re.match(r"# (\S+)\n", text)[1]
        path = folder / ("fovea" if name.startswith(("pretrain", "agents", "probes")) else ".")
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_text(text, encoding="utf-8")
    return folder


# One process for all commands: what takes longest in each is to import torch.
COMMANDS = """
import json, sys
from fovea.__main__ import run
for words in json.loads(sys.argv[1]):
    sys.argv = words
    assert not run(words[1:]), words
"""


def run(clone: Path, *words: str) -> str:
    done = subprocess.run(
        [sys.executable, *words],
        cwd=clone,
        env=os.environ | {"PYTHONPATH": str(clone)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{words}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_pages_commands_run_on_the_pages_files(clone: Path) -> None:
    commands = []
    for line in "".join(blocks("sh")).splitlines():
        words = shlex.split(line)
        for place, word in enumerate(words[:-1]):
            words[place + 1] = SMALLER.get(word, words[place + 1])
        if "ppo_lora" in words:
            words += ["--model.init_args.features.norm_samples", "64"]
        commands.append(words)
    said = run(clone, "-c", COMMANDS, json.dumps(commands))
    assert "Brightness of the screen" in said
    page = (clone / "runs" / "report" / "index.html").read_text(encoding="utf-8")
    assert page.count("Brightness of the screen") >= 2  # its section, and the sentence on top
    assert '"brightness-probes"' in (clone / "runs" / "report" / "assets" / "data.js").read_text()


@pytest.mark.evidence
@pytest.mark.slow
def test_the_pages_test_passes(clone: Path) -> None:
    assert "1 passed" in run(clone, "-m", "pytest", "-q", "tests/pretrain/test_slowness.py")
