"""Encoder folders on the Hugging Face Hub, or on a server that speaks its protocol.

The variables of huggingface_hub hold as ever, and are read at each call: HF_ENDPOINT (the server),
HF_HUB_OFFLINE=1 (the cache alone), HF_HUB_CACHE (where that lies), HF_TOKEN.
"""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from huggingface_hub import CommitOperationAdd, HfApi, constants, file_download, hf_hub_download
from huggingface_hub.errors import (
    EntryNotFoundError,
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from fovea.command import UserError
from fovea.pretrain.hub import SUMS, damaged, read_sums, verify
from fovea.progress import bars_of_others

TRUE = ("1", "ON", "YES", "TRUE")
"""What huggingface_hub takes for yes."""
CONNECTION: tuple[type[Exception], ...] = (HfHubHTTPError.__bases__[0], OSError)
"""What fails on the way. Which library sends requests has changed twice; each has one base."""

COMMIT = constants.HUGGINGFACE_HEADER_X_REPO_COMMIT
CHECKING = threading.Lock()
"""Of the one place where huggingface_hub's answers are looked at."""
HASH = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
"""Of a commit or a file of git, or of a large file."""

FIXES: dict[int | None, str] = dict.fromkeys(
    (401, 403), "set HF_TOKEN to a token that may do this, or `hf auth login`"
)
"""By the code of an HTTP error."""


class Address(NamedTuple):
    """What `ORG/NAME@REVISION` names."""

    repo: str
    revision: str
    """A branch, a tag or a commit; by default `main`."""
    endpoint: str

    def __str__(self) -> str:
        return f"{self.endpoint}/{self.repo} at {self.revision}"


def address(name: str) -> Address:
    """The address of `ORG/NAME[@REVISION]`."""
    repo, _, revision = name.partition("@")
    endpoint = os.environ.get("HF_ENDPOINT") or constants.ENDPOINT
    return Address(repo, revision or constants.DEFAULT_REVISION, endpoint.rstrip("/"))


def offline() -> bool:
    """Whether only the cache may be used."""
    return os.environ.get("HF_HUB_OFFLINE", "").upper() in TRUE


def fetch(name: str) -> Path:
    """The folder, in huggingface_hub's cache, of the encoder `ORG/NAME[@REVISION]`, verified.

    All files are those of one commit, also where the revision moves meanwhile. What does not match
    its hash is taken out of the cache again.

    Raises UserError, which names the address, for whatever goes wrong.
    """
    at = address(name)
    with _explained(at), bars_of_others():
        sums = _download(at, SUMS)
        folder = sums.parent
        commit = at._replace(revision=folder.name)
        try:
            for file in read_sums(folder):
                _download(commit, file)
            verify(folder)
        except UserError as fault:
            _forget(folder)
            raise UserError(f"{at}: {fault} (taken out of the cache again)") from None
    return folder


def publish(folder: Path, name: str) -> str:
    """Make the files of a verified encoder folder one commit of `ORG/NAME[@BRANCH]`.

    The repository is made where it is missing.

    Returns the commit. Raises UserError, which names the address, for whatever goes wrong.
    """
    at = address(name)
    if offline():
        raise UserError(f"{at}: HF_HUB_OFFLINE is set, and nothing is sent: unset it")
    files = [*sorted(verify(folder)), SUMS]
    api = HfApi(endpoint=at.endpoint)
    with _explained(at), bars_of_others():
        api.create_repo(at.repo, exist_ok=True)
        return api.create_commit(
            at.repo,
            [CommitOperationAdd(file, folder / file) for file in files],
            commit_message=f"Encoder {folder.name}",
            revision=at.revision,
        ).oid


def _download(at: Address, file: str) -> Path:
    with _answers_checked(at):
        return Path(
            hf_hub_download(
                at.repo,
                file,
                revision=at.revision,
                endpoint=at.endpoint,
                cache_dir=os.environ.get("HF_HUB_CACHE"),
                local_files_only=offline(),
            )
        )


@contextmanager
def _answers_checked(at: Address) -> Iterator[None]:
    """Refuse answers of a server that huggingface_hub would make names outside its cache of.

    It is the answer itself that is looked at: whoever is asked twice may answer in two ways.
    """

    def checked(*args: Any, **options: Any) -> file_download.HfFileMetadata:
        try:
            answer = ask(*args, **options)
        except EntryNotFoundError as missing:  # of which the cache keeps the commit, too
            if (response := getattr(missing, "response", None)) is not None:
                _check_hash(at, COMMIT, response.headers.get(COMMIT))
            raise
        _check_hash(at, COMMIT, answer.commit_hash)
        _check_hash(at, "ETag", answer.etag)
        return answer

    with CHECKING:
        ask = file_download.get_hf_file_metadata
        setattr(file_download, ask.__name__, checked)
        try:
            yield
        finally:
            setattr(file_download, ask.__name__, ask)


def _check_hash(at: Address, what: str, said: str | None) -> None:
    """Raise UserError for what is no hash of a commit or a file, which a name is made of."""
    if said is not None and not HASH.fullmatch(said):
        raise UserError(
            f"{at} is refused: its server gives the {what} {said!r}, no hash, and maybe a place "
            "outside the cache; use another HF_ENDPOINT"
        )


def _forget(folder: Path) -> None:
    """Take what does not match its hash, and the hashes themselves, out of the cache."""
    try:
        wrong = damaged(folder)
    except UserError:  # the sums are none
        wrong = []
    for file in (*wrong, SUMS):
        link = folder / file  # to a content, which may be a link to one that repositories share
        for held in (link.resolve(), folder / link.readlink() if link.is_symlink() else link, link):
            held.unlink(missing_ok=True)


@contextmanager
def _explained(at: Address) -> Iterator[None]:
    """Turn what huggingface_hub raises into one line with the address and the fix."""
    try:
        yield
    except UserError:
        raise
    except HFValidationError:
        raise UserError(f"hf-hub:{at.repo} is no address: write hf-hub:ORG/NAME@REVISION") from None
    except RevisionNotFoundError:
        raise UserError(f"{at}: there is no such revision: leave @REVISION out for main") from None
    except RepositoryNotFoundError:
        raise UserError(
            f"{at}: there is no such repository, or it is private: check the name, or set HF_TOKEN"
        ) from None
    except (LocalEntryNotFoundError, OfflineModeIsEnabled) as fault:
        if offline():
            raise UserError(
                f"{at} is not in the cache, and HF_HUB_OFFLINE is set: unset it to download"
            ) from None
        raise _unreachable(at, fault.__cause__ or fault) from None
    except EntryNotFoundError:
        raise UserError(
            f"{at} lacks a file of an encoder folder of Fovea, such as {SUMS}: "
            "publish it with `fovea hub push`"
        ) from None
    except CONNECTION as fault:
        raise _unreachable(at, fault) from None
    except ValueError as fault:  # a name or a commit that would lie outside the cache
        raise UserError(f"{at} is refused: {_line(fault)}") from None


def _unreachable(at: Address, fault: BaseException) -> UserError:
    code = getattr(getattr(fault, "response", None), "status_code", None)
    fix = FIXES.get(code, "check HF_ENDPOINT and the connection, and run the same again")
    return UserError(f"{at}: {_line(fault)}: {fix}")


def _line(fault: BaseException) -> str:
    """The first line of what an exception says."""
    return (str(fault).strip() or type(fault).__name__).splitlines()[0].rstrip(".")
