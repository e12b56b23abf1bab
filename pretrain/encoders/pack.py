"""`fovea hub pack`: an encoder folder in half precision, as one file to carry. Imports no torch."""

from __future__ import annotations

import hashlib
import io
import tarfile
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save

from fovea.command import UserError, parser
from fovea.files import replacing
from fovea.pretrain.card import in_half
from fovea.pretrain.hub import CARD, SUMS, locate, verify

PACK = """Pack an encoder folder into a tar, its weights in half precision: half the bytes, and
10 binary digits of each weight. Unpacked it is an encoder folder like any other, which is verified
and computes in single precision.

  fovea hub pack runs/mine --out mine.tar
  tar xf mine.tar && fovea hub verify mine"""


def pack(ref: str | Path, out: Path) -> None:
    """Write the encoder folder that `ref` names to `out`, a tar of a folder named as `out`.

    Its bytes are a function of the folder's.

    Raises UserError where the folder is not whole, and where a weight is too large for float16.
    """
    folder = locate(ref)
    contents = {name: _packed(folder / name) for name in sorted(verify(folder))}
    sums = "".join(
        f"{hashlib.sha256(content).hexdigest()}  {name}\n" for name, content in contents.items()
    )
    with replacing(out) as temporary, tarfile.open(temporary, "w") as tar:
        for name, content in (*contents.items(), (SUMS, sums.encode())):
            entry = tarfile.TarInfo(f"{out.stem}/{name}")
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))


def _packed(path: Path) -> bytes:
    """What stands for a file of the folder."""
    if path.suffix == ".safetensors":
        weights = {name: _half(value, path, name) for name, value in load_file(path).items()}
        return save(weights, metadata={"format": "pt"})
    if path.name == CARD:
        return in_half(path.read_text(encoding="utf-8")).encode()
    return path.read_bytes()


def _half(value: np.ndarray, path: Path, name: str) -> np.ndarray:
    if value.dtype.kind != "f":
        return value
    with np.errstate(over="ignore"):
        half = value.astype(np.float16)
    if not np.isfinite(half).all():
        largest = np.abs(value).max()
        raise UserError(
            f"{path}: weight {name!r} holds {largest:g}, and half precision ends at 65504: "
            "carry the folder as it is"
        )
    return half


def run(arguments: list[str]) -> None:
    """Run `fovea hub pack ARGUMENTS`."""
    asked = parser("fovea hub pack", PACK)
    asked.add_argument("folder", help="encoder folder, or a run folder that holds one")
    asked.add_argument("--out", required=True, type=Path, metavar="FILE", help="such as mine.tar")
    args = asked.parse_args(arguments)
    pack(args.folder, args.out)
    print(f"{args.out}: {args.out.stat().st_size:,} bytes")
