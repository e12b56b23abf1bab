"""`fovea hub push` and `pull`: encoder folders to and from folders and the Hugging Face Hub."""

from __future__ import annotations

import shutil
from pathlib import Path

from fovea.command import UserError, parser
from fovea.files import replacing_folder
from fovea.pretrain.hub import REF, SUMS, locate, verify

PUSH = """Publish an encoder folder: as a commit of a repository of the Hugging Face Hub, which is
made where it is missing, or as a copy in a folder that others read. The encoder is verified and
loaded first, and what is published is whole or not there at all.

  fovea hub push runs/mine /shared/encoders/mine
  fovea hub push runs/mine hf-hub:ORG/NAME          # needs HF_TOKEN, or `hf auth login`
  fovea hub push runs/mine hf-hub:ORG/NAME@BRANCH

HF_ENDPOINT names another server than huggingface.co."""
PULL = """Fetch an encoder folder. It is verified and loaded before anything is written to --out.

  fovea hub pull hf-hub:ORG/NAME --out encoders/name
  fovea hub pull hf-hub:ORG/NAME@REVISION --out encoders/name    # a branch, a tag or a commit
  fovea hub pull /shared/encoders/mine --out encoders/mine

Whatever takes an encoder takes hf-hub:ORG/NAME@REVISION as well, and keeps it in the cache of
huggingface_hub. Its variables hold: HF_ENDPOINT (another server), HF_HUB_OFFLINE=1 (the cache
alone), HF_HUB_CACHE (where that is), HF_TOKEN (of private repositories)."""


def push(arguments: list[str]) -> None:
    asked = parser("fovea hub push", PUSH)
    asked.add_argument("encoder", help=REF)
    asked.add_argument("to", help="hf-hub:ORG/NAME[@BRANCH], or the folder to write")
    given = asked.parse_args(arguments)
    folder = _loaded(given.encoder)
    kind, _, name = given.to.partition(":")
    if kind == "hf-hub":
        from fovea.pretrain.huggingface import publish

        print(f"{given.to}: commit {publish(folder, name)}")
    else:
        copy(folder, Path(given.to))
        print(f"encoder: {given.to}")


def pull(arguments: list[str]) -> None:
    asked = parser("fovea hub pull", PULL)
    asked.add_argument("encoder", help=REF)
    asked.add_argument("--out", type=Path, required=True, help="encoder folder to write")
    given = asked.parse_args(arguments)
    copy(_loaded(given.encoder), given.out)
    print(f"encoder: {given.out}")


def _loaded(ref: str) -> Path:
    """The folder of an encoder that was verified and loaded."""
    from fovea.pretrain.encoders.folder import load_encoder

    load_encoder(folder := locate(ref))
    return folder


def copy(folder: Path, out: Path) -> None:
    """Copy the files of an encoder folder to `out`, all of them or none.

    Raises UserError where there is something else at `out`.
    """
    names = [*verify(folder), SUMS]
    if out.exists():
        if not (out / SUMS).exists() or (out / SUMS).read_bytes() != (folder / SUMS).read_bytes():
            raise UserError(f"{out} holds something else: name another folder, or delete it first")
        verify(out)
        return
    with replacing_folder(out) as building:
        for name in names:
            shutil.copyfile(folder / name, building / name)
        verify(building)
