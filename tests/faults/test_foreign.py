"""Files made to harm: each parser reads data, within bounds, and tells of what it does not take."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fovea.analysis.runs import read_runs
from fovea.atari.__main__ import run as atari
from fovea.atari.frames import Frames
from fovea.atari.recordings import verify
from fovea.command import UserError, main
from fovea.foreign import ALIASES, DEEPEST, load_yaml, read_text, shown
from fovea.pretrain.encoders.folder import load_encoder
from fovea.pretrain.hub import FILES, read_config, seal
from fovea.runs import read_run

quick = settings(
    max_examples=15,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
TEXTS = st.sampled_from(
    ["../../etc/passwd", "/etc/passwd", "..\\x", "<script>alert(1)</script>", "\x1b[2J", "a\x00b",
     "!!python/object/apply:os.system", "x" * 5000, "pong", ""]
)  # fmt: skip
NUMBERS = st.sampled_from([0, -1, 1, 2**31, 2**60, 10**400, 1e308, float("nan"), 0.5, True, None])
VALUES = st.recursive(
    TEXTS | NUMBERS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=5,
)


def places(value: Any, at: tuple = ()) -> list[tuple]:
    """Where values stand in a JSON object."""
    found = [at]
    if isinstance(value, dict):
        found += [place for key, inner in value.items() for place in places(inner, (*at, key))]
    if isinstance(value, list):
        found += [place for k, inner in enumerate(value[:2]) for place in places(inner, (*at, k))]
    return found


def changed(value: Any, place: tuple, new: Any) -> Any:
    """A JSON object with another value at a place."""
    if not place:
        return new
    key, *rest = place
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[key] = changed(copy[key], tuple(rest), new)
    return copy


def refusal(read: Callable[[], object]) -> str:
    """What a reader says that does not take what it is given; empty where it does."""
    try:
        read()
    except UserError as refused:
        return str(refused)
    return ""


def tree(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


@pytest.mark.slow
@quick
@given(data=st.data())
def test_a_config_of_an_encoder_says_what_it_is_or_is_refused(
    data: st.DataObject, small_encoder: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "encoder"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(small_encoder, folder)
    before = json.loads((folder / "config.json").read_text())
    place = data.draw(st.sampled_from(places(before)))
    after = changed(before, place, data.draw(VALUES))
    (folder / "config.json").write_text(json.dumps(after))
    seal(folder, FILES)  # whoever makes it makes the sums
    there = tree(tmp_path)
    for read in (read_config, load_encoder):
        assert "\n" not in refusal(lambda read=read: read(folder))
    assert tree(tmp_path) == there


@pytest.mark.slow
@settings(quick, max_examples=30)
@given(data=st.data())
def test_a_list_of_shards_is_what_it_says_or_is_refused(
    data: st.DataObject, short: Path, tmp_path: Path
) -> None:
    """Names that lead out, rows of 2^60, and all else that it may say."""
    folder = tmp_path / "breakout"
    if not folder.exists():
        shutil.copytree(short / "breakout", folder)
    before = json.loads((short / "breakout" / "_dataset.json").read_text())
    place = data.draw(st.sampled_from(places(before)))
    after = changed(before, place, data.draw(VALUES))
    if isinstance(after, dict) and isinstance(after.get("shards"), list):
        try:  # whoever makes it makes the sums
            after["rows"] = sum(one["rows"] for one in after["shards"])
            after["episodes"] = sum(one["episodes"] for one in after["shards"])
        except (TypeError, KeyError):
            pass
    (folder / "_dataset.json").write_text(json.dumps(after))
    there = tree(tmp_path)
    readers = (
        lambda: Frames.load([folder, short]),
        lambda: verify(folder),
        lambda: atari(["ls", str(folder), str(short)]),
        lambda: atari(["stats", str(folder)]),
    )
    for read in readers:
        assert "\n" not in refusal(read)
    assert tree(tmp_path) == there


@quick
@given(data=st.data())
def test_a_shard_of_any_bytes_is_damaged_and_nothing_more(
    data: st.DataObject, short: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "breakout"
    if not folder.exists():
        shutil.copytree(short / "breakout", folder)
    path = folder / "shard-00000.parquet"
    content = bytearray((short / "breakout" / path.name).read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        begin = data.draw(st.integers(0, len(content) - 1))
        new = data.draw(st.binary(min_size=1, max_size=40))
        content[begin : begin + len(new)] = new
    path.write_bytes(bytes(content))
    if bytes(content) != (short / "breakout" / path.name).read_bytes():
        assert any(path.name in fault for fault in verify(folder)[1])


@quick
@given(data=st.data())
def test_a_record_of_a_run_is_read_or_named(data: st.DataObject, tmp_path: Path) -> None:
    import report_samples as samples

    folder = tmp_path / "run"
    if not folder.exists():
        samples.agent(folder, "run", seed=1)
        (tmp_path / "kept.json").write_text((folder / "run.json").read_text())
    before = json.loads((tmp_path / "kept.json").read_text())
    del before["check"]
    place = data.draw(st.sampled_from(places(before)))
    after = changed(before, place, data.draw(VALUES))
    (folder / "run.json").write_text(json.dumps(after))
    (run,) = read_runs([folder])
    assert run.name == "run"
    said = refusal(lambda: read_run(folder))
    assert not said or "delete it to start anew" in said


BOMB = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{chr(98 + k)}: &{chr(98 + k)} [{','.join([f'*{chr(97 + k)}'] * 9)}]\n" for k in range(9)
)
HARMS = {
    "aliases of aliases": (BOMB, "grows when it is read"),
    "a circle": ("a: &a [*a]", "grows when it is read"),
    "many aliases": ("a: &a 1\nb: [" + "*a," * (ALIASES + 1) + "]", "references"),
    "depth": ("[" * (DEEPEST + 1) + "]" * (DEEPEST + 1), "levels"),
    "a tag that makes an object": ("!!python/object/apply:os.system [true]", "no YAML of plain"),
    "no YAML": ("a: [", "no YAML of plain values"),
}


@pytest.mark.slow
@pytest.mark.parametrize("harm", HARMS)
def test_yaml_that_is_made_to_harm_is_refused_at_once(harm: str, tmp_path: Path, vicreg) -> None:
    text, message = HARMS[harm]
    with pytest.raises(UserError, match=message) as refused:
        load_yaml(text, "mine.yaml")
    assert str(refused.value).startswith("mine.yaml ")
    (tmp_path / "mine.yaml").write_text(text)
    with pytest.raises(UserError, match=message):
        vicreg("x", tmp_path / "run", "-c", tmp_path / "mine.yaml")
    assert not (tmp_path / "run").exists()


def test_plain_yaml_is_as_yaml_has_it() -> None:
    assert load_yaml("a: &a [1, 2.5]\nb: *a\nc: {d: null}", "x") == {
        "a": [1, 2.5], "b": [1, 2.5], "c": {"d": None}
    }  # fmt: skip


def test_a_file_without_an_end_is_not_read(tmp_path: Path) -> None:
    """A gigabyte of one line, of which there is nothing on the disk."""
    with open(tmp_path / "run.json", "wb") as file:
        file.truncate(2**30)
    with pytest.raises(UserError, match="more than 67,108,864 bytes"):
        read_text(tmp_path / "run.json")
    with pytest.raises(UserError, match=r"run.json is damaged .*: delete it"):
        read_run(tmp_path)


@given(st.text())
def test_no_name_steers_a_terminal(text: str) -> None:
    plain = shown(text).replace("\r\n", "\n")
    assert not any(ord(letter) < 32 and letter not in "\n\t" for letter in plain)
    assert not any(127 <= ord(letter) < 160 for letter in plain)
    assert shown(plain) == plain


def test_commands_print_names_as_names(capsys: pytest.CaptureFixture) -> None:
    def command() -> None:
        print("\x1b]0;title\x07 \x1b[2J runs/mine \x1b[A\rok")
        raise UserError("\x1b[31mred: give another")

    with pytest.raises(SystemExit):
        main(command)
    said = capsys.readouterr()
    assert said.out == "\\x1b]0;title\\x07 \\x1b[2J runs/mine \\x1b[A\\x0dok\n"
    assert said.err == "error: \\x1b[31mred: give another\n"
