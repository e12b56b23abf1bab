"""Encoder folders as files: find them, verify them, list them. Imports no torch."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from math import prod
from pathlib import Path

from fovea.command import Command, UserError, dispatch, parser
from fovea.files import sha256, write_text
from fovea.pretrain.card import make_card

FORMAT = 1
CONFIG = "config.json"
WEIGHTS = "model.safetensors"
CARD = "README.md"
FILES = (CONFIG, WEIGHTS, CARD)
READ_OUT = "read_out.safetensors"  # only of an encoder with a read-out
SUMS = "SHA256SUMS"
OWN = ("nature_cnn", "impala_cnn", "sgi_resnet")
"""Architectures whose weights have names of ours; all others are timm's."""
LONGEST = 2**24
"""Bytes of a safetensors header that are read at most."""
HEAVY = "fovea.pretrain.encoders.commands"
"""Where the commands are that load weights."""
REF = "an encoder folder, a run folder that holds one, or hf-hub:ORG/NAME[@REVISION]"

ABOUT = """Encoder folders (config.json, model.safetensors, card, sums): look at them, check them,
pack them, give them to other programs and take them back.

  fovea hub ls runs
  fovea hub show runs/mine
  fovea hub verify runs/mine
  fovea hub pack runs/mine --out mine.tar
  fovea hub export runs/mine --onnx mine.onnx
  fovea hub adopt tuned --out runs/tuned/encoder"""


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
    """config.json of an encoder folder, or such a file of another name.

    Raises UserError where it is missing, no JSON, or of another format.
    """
    path = folder / CONFIG if folder.is_dir() else folder
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"there is no {path}, which says what an encoder is built from") from None
    except ValueError as fault:
        raise UserError(f"{path} is no JSON ({fault}): export again") from None
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


def show_one(folder: Path) -> None:
    """Print what an encoder folder says of itself, without loading its weights."""
    config = read_config(folder)
    facts = dict(config["fovea"])
    channels, height, width = config["pretrained_cfg"]["input_size"]
    shapes = [
        one["shape"]
        for file in sorted(folder.glob("*.safetensors"))
        for name, one in _header(file).items()
        if name != "__metadata__"
    ]
    size = sum(path.stat().st_size for path in folder.iterdir())
    rows = {
        "folder": folder,
        "architecture": config["architecture"],
        "built with": json.dumps(config["model_args"]),
        "input": f"{channels} screens of {height} x {width} px",
        "screen": f"{_sides(facts.pop('screen'))} px",
        "width": config["num_features"],
        "weights": f"{sum(map(prod, shapes)):,} in {len(shapes)} tensors, {size / 2**20:.1f} MiB",
    }
    rows |= {key.replace("_", " "): _listed(value) for key, value in facts.items()}
    widest = max(map(len, rows))
    for name, value in rows.items():
        print(f"{name:<{widest}}  {value}")


def _header(file: Path) -> dict:
    """The header of a safetensors file: {name: {dtype, shape, data_offsets}}."""
    with file.open("rb") as opened:
        length = int.from_bytes(opened.read(8), "little")
        try:
            return json.loads(opened.read(min(length, LONGEST)))
        except ValueError:
            raise UserError(f"{file} is no safetensors file: export or download it again") from None


def _sides(sides: Sequence[int]) -> str:
    return " x ".join(map(str, sides))


def _listed(value: object) -> str:
    if isinstance(value, dict):
        value = [f"{key} {one}" for key, one in value.items()]
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def run(arguments: list[str]) -> int | None:
    """Run `fovea hub ARGUMENTS`."""
    return dispatch("fovea hub", ABOUT, COMMANDS, arguments)


def ls(arguments: list[str]) -> None:
    asked = parser("fovea hub ls", "List every encoder folder below a folder.")
    asked.add_argument("folder", type=Path, nargs="?", default=Path("."), help="default: here")
    show_all(asked.parse_args(arguments).folder)


def show(arguments: list[str]) -> None:
    about = "Say of an encoder what it is and how it came to be, without loading its weights."
    asked = parser("fovea hub show", about)
    asked.add_argument("encoder", help=REF)
    folder = locate(asked.parse_args(arguments).encoder)
    verify(folder)
    show_one(folder)


def check(arguments: list[str]) -> None:
    asked = parser("fovea hub verify", "Compare every file of encoder folders with its SHA-256.")
    asked.add_argument("folders", nargs="+", help="encoder folders, or run folders that hold one")
    for ref in asked.parse_args(arguments).folders:
        folder = locate(ref)
        verify(folder)
        print(f"{folder}: whole")


def card(arguments: list[str]) -> None:
    asked = parser("fovea hub card", "Print the model card of an encoder folder.")
    asked.add_argument("encoder", help=REF)
    asked.add_argument(
        "--write",
        action="store_true",
        help="make the card anew from config.json, such as one of an older version, and write it "
        "and its hash into the folder",
    )
    given = asked.parse_args(arguments)
    folder = locate(given.encoder)
    sums = verify(folder)
    if given.write:
        config = read_config(folder)
        library = "fovea" if config["architecture"] in OWN else "timm"
        write_text(folder / CARD, make_card(folder.name, config, library))
        seal(folder, [*FILES, *sorted(sums - {*FILES})])
    print((folder / CARD).read_text(encoding="utf-8"), end="")


def seal(folder: Path, names: Iterable[str]) -> None:
    """Write SHA256SUMS of these files of a folder."""
    write_text(folder / SUMS, "".join(f"{sha256(folder / name)}  {name}\n" for name in names))


COMMANDS = {
    "ls": Command(f"{__name__}:ls", "every encoder folder below a folder, with what it is"),
    "show": Command(f"{__name__}:show", "what an encoder is and how it came to be"),
    "verify": Command(f"{__name__}:check", "compare every file with its SHA-256"),
    "pack": Command("fovea.pretrain.encoders.pack:run", "a folder in half precision, as a tar"),
    "card": Command(f"{__name__}:card", "print the model card, or make it anew"),
    "export": Command(f"{HEAVY}:export", "write an encoder as ONNX, and check it"),
    "adopt": Command(f"{HEAVY}:adopt", "make an encoder folder of one that timm saved"),
}
