"""`fovea hub`, and encoder folders as files: find them, verify them. Imports no torch."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from fovea.command import Command, UserError, dispatch, nearest, parser
from fovea.files import sha256, write_text
from fovea.foreign import read_text

FORMAT = 1
CONFIG = "config.json"
WEIGHTS = "model.safetensors"
CARD = "README.md"
FILES = (CONFIG, WEIGHTS, CARD)
PICTURE = "attention.png"  # only where its card has one
READ_OUT = "read_out.safetensors"  # only of an encoder with a read-out
SUMS = "SHA256SUMS"
OWN = ("nature_cnn", "impala_cnn", "sgi_resnet")
"""Architectures whose weights have names of ours; all others are timm's."""
HEAVY = "fovea.pretrain.encoders.commands"  # they load weights
TRANSFER = "fovea.pretrain.encoders.transfer"
REF = (
    "an encoder folder, a run folder that holds one, pretrained:vit_micro, which comes with Fovea, "
    "or hf-hub:ORG/NAME[@REVISION]"
)
SHIPPED = Path(__file__).with_name("shipped")
"""Where the encoders lie that come with Fovea."""
PLAIN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*")
"""A file name that means a file in the folder on every system."""
KINDS = (".json", ".md", ".png", ".safetensors")
"""Kinds of files that an encoder folder holds."""
WANTED: dict[tuple[str, ...], tuple[Any, int | None]] = {
    ("architecture",): (str, None),
    ("model_args",): (dict, None),
    ("num_features",): (int, None),
    ("pretrained_cfg", "input_size"): (list, 3),
    ("fovea", "screen"): (list, 2),
}
"""What is read of a config.json, its types, and how many there are of each."""
LFS = b"version https://git-lfs"

ABOUT = """Encoder folders (config.json, model.safetensors, card, sums): look at them, check them,
fetch and publish them, give them to other programs and take them back.

  fovea hub ls runs                                   # what there is
  fovea hub show runs/mine                            # its shape, and how it came to be
  fovea hub verify runs/mine                          # every file against its hash
  fovea hub card runs/mine                            # what a reader is told; --write makes it anew
  fovea hub pull hf-hub:ORG/NAME@REVISION --out mine  # from the Hugging Face Hub
  fovea hub push runs/mine hf-hub:ORG/NAME            # to it; or to a folder
  fovea hub pack runs/mine --out mine.tar             # one file, half the bytes
  fovea hub export runs/mine --onnx mine.onnx         # for programs without torch
  fovea hub adopt tuned --out runs/tuned/encoder      # back from timm

An encoder is named the same way everywhere, in configs too: an encoder folder, a run folder that
holds one, pretrained:vit_micro (comes with Fovea), hf-hub:ORG/NAME@REVISION (downloaded once)."""

VERIFY = """Compare every file of encoder folders with its SHA-256. Every damaged one is named
with its fix, and the exit code is then 1."""


def locate(ref: str | Path) -> Path:
    """The folder that `ref` names, see `REF`; one of the Hugging Face Hub is downloaded.

    Raises UserError for a shipped encoder that there is not, and where the hub does not give it.
    """
    kind, _, name = str(ref).partition(":")
    if kind == "hf-hub":
        from fovea.pretrain.huggingface import fetch

        return fetch(name)
    if kind == "pretrained":
        shipped = sorted(path.name for path in SHIPPED.iterdir())
        if name not in shipped:
            raise UserError(f"no encoder {name!r} comes with Fovea{nearest(name, shipped)}")
        return SHIPPED / name
    inside = Path(ref) / "encoder"
    return inside if inside.is_dir() else Path(ref)


def verify(folder: Path) -> set[str]:
    """Compare every file with SHA256SUMS; returns their names.

    Raises UserError for a missing folder, an unfinished one, a name or a link that leads out of it,
    a missing file or a wrong hash.
    """
    for name in (sums := read_sums(folder)):
        if not (folder / name).exists():
            raise UserError(f"{folder} lacks {name}: export or download it again")
        if leads_out(folder / name):
            raise UserError(f"{folder / name} is a link out of its folder: put the file there")
    for name in damaged(folder):
        raise UserError(f"{folder / name} {_fault(folder / name)}")
    return set(sums)


def read_sums(folder: Path) -> dict[str, str]:
    """{name: SHA-256} of the files that SHA256SUMS names.

    Raises UserError for a folder that is missing or unfinished, for a name that is no plain one,
    or of a kind of file that encoder folders do not hold, and where one of `FILES` is not named.
    """
    if not folder.is_dir():
        raise UserError(f"no encoder folder at {folder}: export one with `fovea pretrain fit`")
    try:
        text = read_text(folder / SUMS)
    except FileNotFoundError:
        raise UserError(
            f"{folder} has no SHA256SUMS: it is no finished encoder folder, export again"
        ) from None
    except ValueError:
        raise UserError(f"{folder}/SHA256SUMS is no text: export or download it again") from None
    lines = [line.partition("  ") for line in text.splitlines()]
    sums = {name: digest for digest, _, name in lines}
    for name in sums:
        if not PLAIN.fullmatch(name):
            raise UserError(
                f"{folder}/SHA256SUMS names {name!r}, which may lie outside the folder: "
                "do not use it"
            )
        if Path(name).suffix not in KINDS:
            raise UserError(
                f"{folder}/SHA256SUMS names {name!r}: encoder folders hold {', '.join(KINDS)} "
                "alone, and no pickles, which could run code"
            )
    for name in FILES:
        if name not in sums:
            raise UserError(f"{folder} lacks {name}: export or download it again")
    return sums


def damaged(folder: Path) -> list[str]:
    """The files of an encoder folder that are missing or do not match their hash."""
    return [
        name
        for name, digest in read_sums(folder).items()
        if not (folder / name).exists() or sha256(folder / name) != digest
    ]


def leads_out(path: Path) -> bool:
    """Whether a file of a folder is a link to elsewhere; those of huggingface_hub's cache are not.

    It links files of `snapshots/COMMIT` to contents in `blobs`, and these maybe to further ones.
    """
    if not path.is_symlink() or path.resolve().parent == path.parent.resolve():
        return False
    folder = path.parent.resolve()
    first = Path(os.path.normpath(folder / path.readlink()))
    return folder.parent.name != "snapshots" or first.parent != folder.parents[1] / "blobs"


def _fault(path: Path) -> str:
    """What is said of a file that does not match its hash."""
    with path.open("rb") as file:
        if file.read(len(LFS)) == LFS:
            return "is a pointer of Git LFS in place of the file: get that with `git lfs pull`"
    return "does not match its SHA-256: it was changed or damaged, export or download it again"


def read_config(folder: Path) -> dict:
    """config.json of an encoder folder, or such a file of another name.

    Raises UserError where it is missing, no JSON, or of another format.
    """
    path = folder / CONFIG if folder.is_dir() else folder
    try:
        config = json.loads(read_text(path))
    except FileNotFoundError:
        raise UserError(
            f"there is no {path}, which says what an encoder is built from: export again"
        ) from None
    except (ValueError, RecursionError) as fault:
        raise UserError(f"{path} is no JSON ({fault}): export again") from None
    found = _at(config, "fovea", "format_version")
    if found != FORMAT:
        raise UserError(
            f"{folder} has encoder format {found}, this Fovea reads {FORMAT}: update it"
        )
    for keys, (kind, length) in WANTED.items():
        value = _at(config, *keys)
        if not isinstance(value, kind) or (length and len(value) != length):
            raise UserError(
                f"{path} has no {' '.join(keys)} that is a {kind.__name__}"
                f"{f' of {length}' if length else ''}: export again"
            )
    return config


def _at(config: Any, *keys: str) -> Any:
    """What lies in nested dicts under these keys; None where it does not."""
    for key in keys:
        config = config.get(key) if isinstance(config, dict) else None
    return config


def run(arguments: list[str]) -> int | None:
    """Run `fovea hub ARGUMENTS`."""
    return dispatch("fovea hub", ABOUT, COMMANDS, arguments)


def ls(arguments: list[str]) -> None:
    asked = parser("fovea hub ls", "List every encoder folder below a folder.")
    asked.add_argument("folder", type=Path, nargs="?", default=Path("."), help="default: here")
    from fovea.pretrain.show import show_all

    show_all(asked.parse_args(arguments).folder)


def show(arguments: list[str]) -> None:
    about = "Say of an encoder what it is and how it came to be, without loading its weights."
    asked = parser("fovea hub show", about)
    asked.add_argument("encoder", help=REF)
    folder = locate(asked.parse_args(arguments).encoder)
    verify(folder)
    from fovea.pretrain.show import show_one

    show_one(folder)


def check(arguments: list[str]) -> int:
    asked = parser("fovea hub verify", VERIFY)
    asked.add_argument("folders", nargs="+", help=f"each {REF}")
    refs, found = asked.parse_args(arguments).folders, 0
    for ref in refs:
        if not ref.startswith("hf-hub:") and not locate(ref).is_dir():
            read_sums(locate(ref))  # says that there is none, before any is read
    for ref in refs:
        try:
            folder = locate(ref)
            verify(folder)
            print(f"{folder}: whole")
        except UserError as fault:  # others follow
            found += 1
            print(f"damaged: {fault}", file=sys.stderr)
    if found:
        print(f"error: damaged encoders: {found}, each named above with its fix", file=sys.stderr)
    return 1 if found else 0


def seal(folder: Path, names: Iterable[str]) -> None:
    """Write SHA256SUMS of these files of a folder."""
    write_text(folder / SUMS, "".join(f"{sha256(folder / name)}  {name}\n" for name in names))


COMMANDS = {
    "ls": Command(f"{__name__}:ls", "every encoder folder below a folder, with what it is"),
    "show": Command(f"{__name__}:show", "what an encoder is and how it came to be"),
    "verify": Command(f"{__name__}:check", "compare every file with its SHA-256"),
    "card": Command(f"{HEAVY}:card", "print the model card, or make it anew"),
    "pull": Command(f"{TRANSFER}:pull", "fetch an encoder, verified, into a folder"),
    "push": Command(f"{TRANSFER}:push", "publish an encoder folder"),
    "pack": Command("fovea.pretrain.encoders.pack:run", "a folder in half precision, as a tar"),
    "export": Command(f"{HEAVY}:export", "write an encoder as ONNX, and check it"),
    "adopt": Command(f"{HEAVY}:adopt", "make an encoder folder of one that timm saved"),
}
