"""Encoder folders as files: find them, verify them, list them. Imports no torch."""

from __future__ import annotations

import json
from pathlib import Path

from fovea.command import Command, UserError, dispatch, parser
from fovea.files import sha256

FORMAT = 1
FILES = ("config.json", "model.safetensors", "README.md")
READ_OUT = "read_out.safetensors"  # only of an encoder with a read-out
SUMS = "SHA256SUMS"

ABOUT = """List, verify and pack encoder folders (config.json, model.safetensors, card, sums).

  fovea hub ls runs
  fovea hub verify runs/mine
  fovea hub pack runs/mine --out mine.tar"""


def locate(ref: str | Path) -> Path:
    """The folder that `ref` names: a folder, a run folder that holds one, `hf-hub:ORG/NAME[@REV]`.

    Raises UserError where the hub does not give it.
    """
    kind, _, name = str(ref).partition(":")
    if kind == "hf-hub":
        return _download(name)
    inside = Path(ref) / "encoder"
    return inside if inside.is_dir() else Path(ref)


def verify(folder: Path) -> set[str]:
    """Compare every file with SHA256SUMS; returns their names.

    Raises UserError for a missing folder, an unfinished one, a missing file or a wrong hash.
    """
    if not folder.is_dir():
        raise UserError(f"no encoder folder at {folder}: export one with `fovea pretrain fit`")
    sums = folder / SUMS
    if not sums.exists():
        raise UserError(
            f"{folder} has no SHA256SUMS: it is no finished encoder folder, export again"
        )
    lines = [line.partition("  ") for line in sums.read_text().splitlines()]
    wanted = {name: digest for digest, _, name in lines}
    for name in wanted:
        if Path(name).name != name:
            raise UserError(
                f"{folder}/SHA256SUMS names {name!r}, outside the folder: do not use it"
            )
    for name in (*FILES, *wanted):
        if name not in wanted or not (folder / name).exists():
            raise UserError(f"{folder} lacks {name}: export or download it again")
    for name, digest in wanted.items():
        if sha256(folder / name) != digest:
            raise UserError(
                f"{folder / name} does not match its SHA-256: it was changed or damaged, "
                "export or download it again"
            )
    return set(wanted)


def read_config(folder: Path) -> dict:
    """config.json of an encoder folder.

    Raises UserError where it is no JSON or of another format.
    """
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except ValueError as fault:
        raise UserError(f"{folder}/config.json is no JSON ({fault}): export again") from None
    found = config.get("fovea", {}).get("format_version")
    if found != FORMAT:
        raise UserError(
            f"{folder} has encoder format {found}, this Fovea reads {FORMAT}: update it"
        )
    return config


def _download(name: str) -> Path:
    """A copy of `ORG/NAME[@REVISION]` from the hub (HF_ENDPOINT, HF_HUB_OFFLINE are heeded)."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    repo, _, revision = name.partition("@")
    try:
        wanted = [*FILES, READ_OUT, SUMS]
        return Path(snapshot_download(repo, revision=revision or None, allow_patterns=wanted))
    except (HfHubHTTPError, LocalEntryNotFoundError) as fault:
        first = str(fault).splitlines()[0]
        raise UserError(f"hf-hub:{name} could not be fetched: {first}") from None


def show_all(folder: Path) -> None:
    """Print a line for every encoder folder at or below `folder`."""
    found = sorted(path.parent for path in folder.rglob(SUMS))
    for path in found:
        config = read_config(path)
        facts = config["fovea"]
        games = ", ".join(facts.get("games", []))
        side = "x".join(map(str, config["pretrained_cfg"]["input_size"]))
        method = facts.get("method", "?")
        print(f"{path}  {config['num_features']} wide, {side}  {method} on {games}")
    if not found:
        raise UserError(f"no encoder folder in {folder}: export one with `fovea pretrain fit`")


def run(arguments: list[str]) -> int | None:
    """Run `fovea hub ARGUMENTS`."""
    return dispatch("fovea hub", ABOUT, COMMANDS, arguments)


def ls(arguments: list[str]) -> None:
    asked = parser("fovea hub ls", "List every encoder folder below a folder.")
    asked.add_argument("folder", type=Path, nargs="?", default=Path("."), help="default: here")
    show_all(asked.parse_args(arguments).folder)


def check(arguments: list[str]) -> None:
    asked = parser("fovea hub verify", "Compare every file of encoder folders with its SHA-256.")
    asked.add_argument("folders", nargs="+", help="encoder folders, or run folders that hold one")
    for ref in asked.parse_args(arguments).folders:
        folder = locate(ref)
        verify(folder)
        print(f"{folder}: whole")


COMMANDS = {
    "ls": Command(f"{__name__}:ls", "every encoder folder below a folder, with what it is"),
    "verify": Command(f"{__name__}:check", "compare every file with its SHA-256"),
    "pack": Command("fovea.pretrain.encoders.pack:run", "a folder in half precision, as a tar"),
}
