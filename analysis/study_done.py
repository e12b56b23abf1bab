"""Whether a command of a study is done: that it has ended well, on what it names as that is now."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

from fovea.analysis.study_kinds import Command
from fovea.files import sha256, write_json
from fovea.foreign import load_json, read_text
from fovea.runs import read_run

RUN = "--run"

MADE_OF = "made_of.json"
"""In a run folder: by command, {path: SHA-256} of what it named when it began."""

SAYS = ("run.json", "SHA256SUMS", "encoder/SHA256SUMS", "_dataset.json", "dataset.json",
        "*/_dataset.json", "*/dataset.json")  # fmt: skip
"""Files of a folder that say what else is in it, by its hashes, or how far a run is."""


def typed(command: Command) -> list[str]:
    """The words of a command."""
    return ["fovea", *map(str, command)]


def is_done(words: list[str]) -> bool:
    """Whether a command has ended well, and what it names is still what it was then.

    It says so in a moment, where the command itself would first import torch: by run.json of the
    command's run folder, and by the contents of the configs, recordings and runs that the command
    names, which are kept beside it (`keep_contents`). No clock is asked. What is due runs, and
    finds out itself what is left to do.
    """
    return has_ended(words) and _kept(words).get(shlex.join(words), {}) == contents(words)


def has_ended(words: list[str]) -> bool:
    """Whether run.json of a command's run folder says that just this command has ended well."""
    if RUN not in words:
        return False
    record, typed = read_run(_folder(words)), shlex.join(words)
    if not record or record.state != "done":
        return False
    evaluation = record.evaluation
    if evaluation and evaluation.command == typed:
        return evaluation.trained == record.step
    return record.command == typed


def contents(words: list[str]) -> dict[str, str]:
    """What the files and folders hold that a command names, {path: SHA-256}, but its own run's.

    Of a folder that is the hashes of SAYS: of what lists the shards of a recording or the weights
    of an encoder, or says how far an agent is.
    """
    given = [word.partition("=")[2] or word for word in words[3:]]
    named = {one for word in given for one in word.strip("[]").split(", ")}
    own = {str(_folder(words))} if RUN in words else set()
    files = {file for name in named - own if name for file in _saying(name)}
    return {file: sha256(file) for file in sorted(files)}


def _saying(name: str) -> list[str]:
    """The files that say what a place holds; none where it does not exist."""
    if os.path.isdir(name):  # which other than Path's takes words that are no path at all
        return [str(path) for pattern in SAYS for path in Path(name).glob(pattern)]
    return [name] if os.path.isfile(name) else []


def keep_contents(words: list[str], found: dict[str, str]) -> None:
    """Keep what a command found, see `contents`, in its run folder, once it has ended well."""
    if RUN in words and _folder(words).is_dir():
        write_json(_folder(words) / MADE_OF, _kept(words) | {shlex.join(words): found})


def _kept(words: list[str]) -> dict[str, dict[str, str]]:
    """By command, what those found that made a run folder."""
    try:
        kept = load_json(read_text(_folder(words) / MADE_OF))
    except (OSError, ValueError):  # then they are due, and find out themselves
        return {}
    return kept if isinstance(kept, dict) else {}


def _folder(words: list[str]) -> Path:
    return Path(words[words.index(RUN) + 1])
