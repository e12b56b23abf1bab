"""`hf-hub:` against a server on this machine: what arrives is what was published, or nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from hub_server import Fault, Hub, serving

from fovea.command import UserError
from fovea.files import sha256
from fovea.pretrain.encoders.build import build_encoder
from fovea.pretrain.encoders.folder import export_encoder, load_encoder
from fovea.pretrain.encoders.vit import Shape
from fovea.pretrain.hub import CARD, CONFIG, FILES, SUMS, WEIGHTS, locate, run, verify


def export(folder: Path, seed: int) -> Path:
    return export_encoder(build_encoder(Shape(patch=42), seed), folder, {"seed": seed})


@pytest.fixture(scope="module")
def mine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export(tmp_path_factory.mktemp("published") / "mine", 3)


@pytest.fixture(scope="module")
def newer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export(tmp_path_factory.mktemp("published") / "newer", 4)


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A hub, and an empty cache."""
    with serving() as server:
        monkeypatch.setenv("HF_ENDPOINT", server.endpoint)
        monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "cache"))
        monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
        yield server


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """As with HF_HUB_DOWNLOAD_TIMEOUT=1, which huggingface_hub reads when it is imported."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DOWNLOAD_TIMEOUT", 1)


def same(one: Path, other: Path) -> bool:
    return all((one / file).read_bytes() == (other / file).read_bytes() for file in (*FILES, SUMS))


def refused(ref: str) -> str:
    """The one line with which an encoder is refused."""
    with pytest.raises(UserError) as fault:
        load_encoder(ref)
    assert "\n" not in str(fault.value)
    return str(fault.value)


def test_an_encoder_is_downloaded_once_and_is_the_one_that_was_published(
    hub: Hub, mine: Path
) -> None:
    hub.add("me/mine", mine)
    loaded, given = load_encoder("hf-hub:me/mine"), load_encoder(mine)
    for name, weight in given.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], weight)
    assert sorted(ask for ask in hub.asked if ask.startswith("GET")) == sorted(
        f"GET {file}" for file in (*FILES, SUMS)
    )
    hub.asked.clear()
    locate("hf-hub:me/mine")
    assert hub.asked == [f"HEAD {SUMS}"]


def test_a_revision_stays_and_a_branch_moves(hub: Hub, mine: Path, newer: Path) -> None:
    old = hub.add("me/mine", mine)
    assert same(locate("hf-hub:me/mine"), mine)
    hub.add("me/mine", newer)
    assert same(locate("hf-hub:me/mine"), newer)
    assert same(locate("hf-hub:me/mine@main"), newer)
    hub.asked.clear()
    assert same(locate(f"hf-hub:me/mine@{old}"), mine)
    assert hub.asked == []
    hub.add("me/mine", mine, branch="v2")
    assert same(locate("hf-hub:me/mine@v2"), mine)


def test_a_branch_that_moves_meanwhile_gives_the_files_of_one_commit(
    hub: Hub, mine: Path, newer: Path
) -> None:
    hub.add("me/mine", mine)
    hub.then[SUMS] = lambda: hub.add("me/mine", newer)
    assert same(locate("hf-hub:me/mine"), mine)
    assert same(locate("hf-hub:me/mine"), newer)


def test_offline_the_cache_is_enough_and_an_empty_one_is_named(
    hub: Hub, mine: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    commit = hub.add("me/mine", mine)
    locate("hf-hub:me/mine")
    hub.asked.clear()
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    for ref in ("hf-hub:me/mine", "hf-hub:me/mine@main", f"hf-hub:me/mine@{commit}"):
        assert same(locate(ref), mine)
    assert "at v2 is not in the cache, and HF_HUB_OFFLINE is set" in refused("hf-hub:me/mine@v2")
    assert "me/other at main is not in the cache" in refused("hf-hub:me/other")
    with pytest.raises(UserError, match="HF_HUB_OFFLINE is set, and nothing is sent"):
        run(["push", str(mine), "hf-hub:me/mine"])
    assert hub.asked == []


def test_the_cache_serves_while_the_hub_fails(hub: Hub, mine: Path) -> None:
    hub.add("me/mine", mine)
    locate("hf-hub:me/mine")
    hub.faults[SUMS] = Fault(status=503)
    assert same(locate("hf-hub:me/mine"), mine)


MISSING = {
    "hf-hub:me/other": "me/other at main: there is no such repository",
    "hf-hub:me/mine@v9": "me/mine at v9: there is no such revision",
    "hf-hub:me/timm": f"me/timm at main lacks a file of an encoder folder of Fovea, such as {SUMS}",
    "hf-hub:me/mine/encoder": "is no address: write hf-hub:ORG/NAME",
    "hf-hub:../mine": "is no address: write hf-hub:ORG/NAME",
}


@pytest.mark.parametrize("ref", MISSING)
def test_what_is_not_there_is_named(ref: str, hub: Hub, mine: Path) -> None:
    hub.add("me/mine", mine)
    hub.add("me/timm", {CONFIG: (mine / CONFIG).read_bytes()})
    assert MISSING[ref] in refused(ref)


UNSIZED = {"Content-Length": None, "Connection": "close"}
PASSING = {
    "an error before": Fault("HEAD", status=500, times=1),
    "cut half-way": Fault("GET", cut=1000, times=1),
    "slow": Fault("GET", seconds=0.05),
}


@pytest.mark.slow
@pytest.mark.parametrize("fault", PASSING)
def test_what_passes_is_tried_again(fault: str, hub: Hub, mine: Path) -> None:
    hub.add("me/mine", mine)
    hub.faults[WEIGHTS] = PASSING[fault]
    assert same(locate("hf-hub:me/mine"), mine)


@pytest.mark.slow
@pytest.mark.usefixtures("impatient")
def test_a_file_that_stalls_for_longer_than_is_waited_is_asked_for_again(
    hub: Hub, mine: Path
) -> None:
    hub.add("me/mine", mine)
    hub.faults[WEIGHTS] = Fault("GET", stall=3, times=1)
    assert same(locate("hf-hub:me/mine"), mine)
    assert hub.asked.count(f"GET {WEIGHTS}") == 2


@pytest.mark.slow
@pytest.mark.evidence
@pytest.mark.usefixtures("impatient")
def test_a_file_that_always_stalls_is_named_and_none_of_it_is_kept(
    hub: Hub, mine: Path, tmp_path: Path
) -> None:
    """After six tries of two seconds."""
    hub.add("me/mine", mine)
    hub.faults[WEIGHTS] = Fault("GET", stall=3)
    assert f"{hub.endpoint}/me/mine at main: timed out: check" in refused("hf-hub:me/mine")
    held = {sha256(path) for path in (tmp_path / "cache").rglob("blobs/*")}
    assert held == {sha256(mine / came_before) for came_before in (SUMS, CONFIG)}
    hub.faults.clear()
    assert same(locate("hf-hub:me/mine"), mine)


MISSES = "EntryNotFound"
LASTING = {
    "an error": (Fault("GET", status=500), "500 Internal Server Error"),
    "no permission": (Fault("GET", status=403), "403 Forbidden"),
    "other bytes": (Fault("GET", content=b"0" * 2000, headers={}), "2000"),
    "cut, of unknown size": (Fault(cut=1000, headers=UNSIZED), "does not match its SHA-256"),
    "no commit": (Fault(headers={"X-Repo-Commit": None}), "'X-Repo-Commit' header"),
    "a commit outside": (Fault(headers={"X-Repo-Commit": "../../../out"}), "is refused"),
    "an ETag outside": (Fault(headers={"ETag": '"../../../out"'}), "is refused"),
    "a linked ETag outside": (Fault(headers={"X-Linked-Etag": "../../../out"}), "is refused"),
    "an ETag that is no hash": (Fault(headers={"ETag": '"out-1"'}), "ETag 'out-1', no hash"),
    "none, of a commit outside": (
        Fault(status=404, headers={"X-Repo-Commit": "../../../out", "X-Error-Code": MISSES}),
        "is refused",
    ),
}


VARIANTS = ("no permission", "no commit", "other bytes")
EACH = [pytest.param(f, marks=pytest.mark.evidence if f in VARIANTS else ()) for f in LASTING]


@pytest.mark.slow
@pytest.mark.parametrize("fault", EACH)
def test_what_lasts_is_named_and_leaves_no_trace(
    fault: str, hub: Hub, mine: Path, tmp_path: Path
) -> None:
    hub.add("me/mine", mine)
    wrong, message = LASTING[fault]
    hub.faults[WEIGHTS] = wrong
    said = refused("hf-hub:me/mine")
    assert message in said
    assert f"{hub.endpoint}/me/mine at " in said
    assert {path.name for path in tmp_path.iterdir()} == {"cache"}
    assert not list(tmp_path.rglob("out*"))
    hub.faults.clear()
    assert same(locate("hf-hub:me/mine"), mine)


def test_wrong_bytes_of_the_right_size_never_stay_in_the_cache(
    hub: Hub, mine: Path, tmp_path: Path
) -> None:
    """huggingface_hub looks at sizes alone."""
    hub.add("me/mine", mine)
    content = bytearray((mine / WEIGHTS).read_bytes())
    content[-5] ^= 1
    hub.faults[WEIGHTS] = Fault("GET", content=bytes(content))
    assert "does not match its SHA-256" in refused("hf-hub:me/mine")
    held = [sha256(path) for path in (tmp_path / "cache").rglob("*") if path.is_file()]
    assert sha256(mine / CONFIG) in held  # what is right is not fetched again
    assert not list((tmp_path / "cache").rglob(WEIGHTS))
    hub.faults.clear()
    assert same(locate("hf-hub:me/mine"), mine)


def test_a_cached_file_that_was_damaged_on_the_disk_is_fetched_anew(hub: Hub, mine: Path) -> None:
    hub.add("me/mine", mine)
    (locate("hf-hub:me/mine") / WEIGHTS).resolve().write_bytes(b"")
    assert "does not match its SHA-256" in refused("hf-hub:me/mine")
    assert same(locate("hf-hub:me/mine"), mine)


def test_what_the_sums_name_is_looked_at_before_it_is_fetched(hub: Hub, mine: Path) -> None:
    files = {path.name: path.read_bytes() for path in mine.iterdir()}
    for name in ("../x.json", "pytorch_model.bin"):
        sums = files[SUMS] + f"{'0' * 64}  {name}\n".encode()
        hub.add("me/mine", files | {SUMS: sums})
        hub.asked.clear()
        assert repr(name) in refused("hf-hub:me/mine")
        assert {ask.split()[1] for ask in hub.asked} == {SUMS}


def test_show_verify_and_card_tell_of_the_hubs_encoder_what_they_tell_of_the_folder(
    hub: Hub, mine: Path, capsys: pytest.CaptureFixture
) -> None:
    commit = hub.add("me/mine", mine)
    run(["verify", "hf-hub:me/mine"])
    folder = locate("hf-hub:me/mine")
    assert folder.name == commit
    assert capsys.readouterr().out == f"{folder}: whole\n"
    run(["card", "hf-hub:me/mine"])
    assert capsys.readouterr().out == (mine / CARD).read_text(encoding="utf-8")
    run(["show", "hf-hub:me/mine"])
    where, *shown = capsys.readouterr().out.splitlines()
    run(["show", str(mine)])
    assert where.split() == ["folder", str(folder)]
    assert shown == capsys.readouterr().out.splitlines()[1:]
    assert any(row.split() == ["seed", "3"] for row in shown)


@pytest.mark.slow
def test_pushed_is_pulled(hub: Hub, mine: Path, tmp_path: Path, capsys) -> None:
    run(["push", str(mine), "hf-hub:me/new"])
    commit = hub.repos["me/new"]["main"]
    assert capsys.readouterr().out == f"hf-hub:me/new: commit {commit}\n"
    run(["pull", f"hf-hub:me/new@{commit}", "--out", str(tmp_path / "here")])
    assert same(tmp_path / "here", mine)
    assert {*verify(tmp_path / "here"), SUMS} == {path.name for path in mine.iterdir()}
    assert not any(path.is_symlink() for path in (tmp_path / "here").iterdir())
    run(["push", str(mine), "hf-hub:me/new@v2"])
    assert same(locate("hf-hub:me/new@v2"), mine)


@pytest.mark.slow
def test_who_may_not_push_is_told_how(
    hub: Hub, mine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.token = "hf_secret"
    monkeypatch.setenv("HF_TOKEN", "hf_other")
    with pytest.raises(UserError, match=r"me/new at main: .*set HF_TOKEN") as refused:
        run(["push", str(mine), "hf-hub:me/new"])
    assert "hf_other" not in str(refused.value)
    assert hub.repos == {}
    monkeypatch.setenv("HF_TOKEN", hub.token)
    run(["push", str(mine), "hf-hub:me/new"])
    assert same(locate("hf-hub:me/new"), mine)


def test_a_damaged_folder_is_not_pushed(hub: Hub, mine: Path, tmp_path: Path) -> None:
    run(["pull", str(mine), "--out", str(tmp_path / "here")])
    (tmp_path / "here" / WEIGHTS).write_bytes(b"")
    for to in ("hf-hub:me/new", str(tmp_path / "there")):
        with pytest.raises(UserError, match="does not match its SHA-256"):
            run(["push", str(tmp_path / "here"), to])
    assert hub.repos == {}
    assert not (tmp_path / "there").exists()


def test_a_folder_is_a_hub_too(mine: Path, newer: Path, tmp_path: Path) -> None:
    shared = tmp_path / "shared" / "mine"
    for _ in range(2):
        run(["push", str(mine), str(shared)])
        assert same(shared, mine)
    with pytest.raises(UserError, match=r"mine holds something else: name another folder"):
        run(["push", str(newer), str(shared)])
    assert same(shared, mine)
    assert [path.name for path in shared.parent.iterdir()] == ["mine"]


@pytest.mark.evidence
def test_a_hub_that_does_not_answer_is_named(
    hub: Hub, mine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After half a minute of trying again."""
    hub.add("me/mine", mine)
    hub.faults[SUMS] = Fault(status=500)
    assert "500 Internal Server Error" in refused("hf-hub:me/mine")
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    assert "http://127.0.0.1:9/me/mine at main: " in refused("hf-hub:me/mine")
