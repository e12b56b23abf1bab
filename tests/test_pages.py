"""No page names a command, an option, a config, a test or a file that is not there.

Which of the commands are run as they stand: tests/test_readme.py, test_extending.py,
test_tutorials.py and, those of all other pages, test_page_commands.py.
"""

from __future__ import annotations

import ast
import io
import re
import shlex
import tokenize
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout, suppress
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import pytest

from fovea.__main__ import run
from fovea.configs import shipped
from pages import ROOT, blocks, run_commands
from pages import run as run_python

PAGES = [
    *sorted(ROOT.glob("*.md")),
    *sorted(
        path
        for path in (ROOT / "docs").rglob("*.md")
        if not {"reference", "build"} & set(path.relative_to(ROOT).parts)
    ),
]
FOLDERS = "docs|fovea|pretrain|agents|probes|atari|analysis|tests|benchmarks"
STANDS_FOR = {
    "KIND": "tokens",
    "ENCODER": "random:vit_micro",
    "RUN": "runs/mine",
    "NAME": "runs/mine",
}


def commands(page: Path, mentioned: bool = True) -> Iterator[list[str]]:
    """The words of every command of a page, in a block, an indented line or between backticks.

    Args:
        page: Markdown.
        mentioned: those between backticks too, of which some are only the beginning of one.
    """
    lines = re.sub(r"\\\n\s*", "", page.read_text(encoding="utf-8")).splitlines()
    fence = None
    for line in lines:
        if mark := re.match(r"\s*```(\w*)", line):
            fence = mark[1] if fence is None else None
        elif fence == "sh" or (fence is None and line.startswith("    ")):
            yield from _words(line)
        elif fence is None and mentioned:
            for quoted in re.findall(r"`((?:fovea|python -m) [^`]+)`", line):
                yield from _words(quoted)


def _words(line: str) -> Iterator[list[str]]:
    line = re.split(r"\s+#|&|\s>|\s<|\s\.\.\.|\|", line)[0]
    with suppress(ValueError):  # prose with an apostrophe
        words = shlex.split(line)
        if words and words[0] == "fovea" and len(words) > 2:
            yield words[1:]
        elif words[:2] == ["python", "-m"] and len(words) > 2:
            yield words


@cache
def helped(*words: str) -> str:
    """What --help of a command says."""
    said = io.StringIO()
    with redirect_stdout(said), redirect_stderr(said), suppress(SystemExit):
        run([*words, "--help"])
    return said.getvalue()


def of_fovea(page: Path, mentioned: bool = True) -> list[list[str]]:
    known = "atari", "pretrain", "hub", "probes", "agents", "analysis"
    found = commands(page, mentioned)
    return [words for words in found if words[0] in known and words[1].islower()]


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_options_configs_and_studies_of_a_page_exist(page: Path) -> None:
    wrong = []
    for room, command, *words in of_fovea(page):
        text = helped(room, command)
        if not text:
            wrong.append(f"{room} {command}")
        for word in words:
            option = word.partition("=")[0].rstrip("+")
            dotted = re.match(r"--(model|data|trainer)\.", option)
            said = re.search(rf"(?<![\w.-]){re.escape(option)}(?![\w.-])", text)
            if re.match(r"--?[a-z]", option) and not dotted and not said:
                wrong.append(f"{room} {command} {option}")
        name = words[words.index("-c") + 1] if "-c" in words else ""
        if name and not name.endswith(".yaml") and name not in shipped(f"fovea.{room}"):
            wrong.append(f"{room} {command} -c {name}")
        if command == "study" and words and not words[0].startswith("-"):
            name = words[0]
            shipped_study = ROOT / "analysis" / "studies" / f"{name}.yaml"
            if name.islower() and not name.endswith(".yaml") and not shipped_study.exists():
                wrong.append(f"{room} study {name}")
    assert not wrong


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_settings_of_every_fit_of_a_page_are_taken(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for room, command, *words in of_fovea(page):
        own = any(word.endswith(".yaml") or "slowness" in word.lower() for word in words)
        if command != "fit" or "-c" not in words or own:  # a file that the page makes
            continue
        words = [STANDS_FOR.get(word, word) for word in words if word != "SETTINGS"]
        said = io.StringIO()
        with redirect_stdout(said), pytest.raises(SystemExit) as ended:
            run([room, "fit", *words, "--print_config"])
        assert not ended.value.code, shlex.join(words)


def _not_known(module: str, options: list[str]) -> list[str]:
    """The module where there is none, and options that none of our own modules takes."""
    if not (spec := find_spec(module)):
        return [module]
    if not module.startswith("benchmarks."):
        return []
    places = [Path(where) for where in spec.submodule_search_locations or ()]
    files = [path for place in places for path in place.glob("*.py")] or [Path(spec.origin or "")]
    source = "".join(path.read_text(encoding="utf-8") for path in files)
    return [f"{module} {option}" for option in options if f'"{option}"' not in source]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_modules_files_links_targets_and_tests_that_a_page_names_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    wrong = []
    for words in commands(page):
        if words[0] == "python" and words[2].islower():
            wrong += _not_known(words[2], [word for word in words[3:] if word.startswith("--")])
    every = "".join(path.read_text(encoding="utf-8") for path in ROOT.glob("tests/**/*.py"))
    words = set(re.findall(r"`([^`\s]+)`", text))
    tests = {word for word in words if re.fullmatch(r"test_\w+", word)}
    wrong += [word for word in tests if f"def {word}" not in every and f"{word}.py" not in every]
    file = re.compile(rf"({FOLDERS})/[a-z0-9_./]+\.\w+")
    files = {word for word in words if file.fullmatch(word)}
    folders = {word for word in words if re.fullmatch(rf"({FOLDERS})/([a-z0-9_]+/)*", word)}
    known = {*files, *folders, *re.findall(r"\]\(((?!http)[^)#\s]+)(?:#[^)]*)?\)", text)}
    wrong += [word for word in known if not any((at / word).exists() for at in (page.parent, ROOT))]
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    made = re.findall(r"(?:^ {4,}|^|`|&& )make ([a-z]+)", text, re.MULTILINE)
    wrong += [f"make {target}" for target in made if target not in targets]
    assert not wrong


@pytest.mark.slow
def test_files_that_a_test_names_in_words_exist() -> None:
    """In its comments and docstrings, by their path or, where they are tests, by their name."""
    every = sorted(ROOT.glob("tests/**/*.py"))
    names = {path.name for path in every}
    wrong = []
    for path in every:
        if "before_0_2" in path.parts:
            continue
        words = " ".join(_words_of(path.read_text(encoding="utf-8")))
        paths = re.findall(rf"(?<![\w./])(?:{FOLDERS})/[a-z0-9_/]+\.(?:py|md|yaml)\b", words)
        tests = re.findall(r"(?<![\w/])test_\w+\.py\b", words)
        found = [word for word in paths if not (ROOT / word).exists()]
        found += [word for word in tests if word not in names]
        wrong += [f"{path.name}: {word}" for word in found]
    assert not wrong


def _words_of(source: str) -> Iterator[str]:
    """The comments and docstrings of a module."""
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield token.string
    kinds = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, kinds):
            yield ast.get_docstring(node) or ""


@pytest.mark.evidence
@pytest.mark.slow
def test_the_commands_on_recordings_run_in_their_order(tmp_path: Path) -> None:
    """But for those that want a cluster, an address or a data set of somebody else."""
    page = ROOT / "docs" / "recordings.md"
    (mine,) = (block.text for block in blocks(page, "python") if "np.savez" in block.text)
    run_python(tmp_path, "-c", mine)
    elsewhere = re.compile(r"://|--ray|dqn-replay|expert-v0|runs/")
    asked = [["fovea", *words] for words in of_fovea(page) if words[0] == "atari" and words[2:]]
    here = [words for words in asked if not elsewhere.search(" ".join(words))]
    assert len(here) >= 11
    said = run_commands(tmp_path, here)
    assert "of_mine/pong: 800 steps in 4 episodes, 1 shard" in said
    assert {path.name for path in tmp_path.iterdir()} >= {"arrays", "images", "minari", "pong.webm"}
