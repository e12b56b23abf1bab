"""Run folders of strangers: what is odd in one is named on the page, which shows the others."""

from __future__ import annotations

import json
import os
import shutil
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import report_samples as samples
from fovea.analysis.runs import read_runs
from fovea.as_written import Written
from fovea.command import UserError
from fovea.foreign import load_json, load_yaml, open_file, read_text
from fovea.metrics import read_metrics
from fovea.results import read_arrays, read_result, write_arrays
from fovea.schema import ContinualMethod, ContinualRecord, Disturbed
from fovea.tables import Table

SECRET = "the-words-of-a-secret"
pages = settings(
    max_examples=40,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """A folder with a good run, and an odd one beside it that is as good so far."""
    for name in ("good", "odd"):
        logged = [(step, {"loss": 1 / step, "return": 1.0}) for step in range(1, 9)]
        samples.run(tmp_path / "runs" / name, "agent", logged, evaluation=None)
        (tmp_path / "runs" / name / "media").mkdir()
    return tmp_path / "runs"


def page(runs: Path) -> str:
    """The words of the page, which shows the good run, and whose files can all be read."""
    out = runs.parent / "page"
    text, data = samples.page(runs, out)
    assert any(row[0] == "good" and "agent" in row for row in text.rows if row)
    for file in (out / "data").iterdir():
        file.read_text(encoding="utf-8")
    json.dumps(data, allow_nan=False)
    return text.text


def refusal(read: Callable[[], object]) -> str:
    """What a reader says that does not take what it is given; empty where it does."""
    try:
        read()
    except ValueError as fault:
        return str(fault)
    return ""


def changed_record(folder: Path, **fields: Any) -> None:
    """Other fields in run.json, as a stranger writes them."""
    record = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps(written(record) | fields))


def written(record: dict) -> dict:
    return {key: value for key, value in record.items() if key != "check"}


def secret(folder: Path) -> Path:
    """A file of the reader's, beside the runs."""
    path = folder.parent.parent / "secret.txt"
    path.write_text(f"words: {SECRET}\n")
    return path


def config_of_a_place(odd: Path) -> None:
    changed_record(odd, config=str(secret(odd)))


def config_above(odd: Path) -> None:
    secret(odd)
    changed_record(odd, config="../../secret.txt")


def linked(name: str) -> Callable[[Path], None]:
    def harm(odd: Path) -> None:
        (odd / name).unlink(missing_ok=True)
        (odd / name).parent.mkdir(exist_ok=True)
        (odd / name).symlink_to(secret(odd))

    return harm


def pipe(name: str) -> Callable[[Path], None]:
    def harm(odd: Path) -> None:
        (odd / name).unlink(missing_ok=True)
        (odd / name).parent.mkdir(exist_ok=True)
        os.mkfifo(odd / name)

    return harm


def fields(**changed: Any) -> Callable[[Path], None]:
    return lambda odd: changed_record(odd, **changed)


def gone(odd: Path) -> None:
    (odd / "media" / "gone.webm").symlink_to("missing.webm")


def huge_film(odd: Path) -> None:
    with open(odd / "media" / "long.webm", "wb") as file:
        file.truncate(2**40)


def long_line(odd: Path) -> None:
    with open(odd / "metrics.csv", "ab") as file:
        file.truncate(2**27)


def one_step_beyond(odd: Path) -> None:
    with open(odd / "metrics.csv", "a") as file:
        file.write("99999999999999999999,loss,1.0\n")


def odd_byte(odd: Path) -> None:
    odd.rename(os.fsdecode(os.fsencode(odd.parent) + b"/a\xff"))


HARMS = {
    "a config elsewhere": (config_of_a_place, "is no name of a file in the run folder"),
    "a config above": (config_above, "is no name of a file in the run folder"),
    "a config that is no name": (fields(config="a\x00b"), "cannot be read: embedded null byte"),
    "a linked config": (linked("config.yaml"), "config.yaml leads out of the run folder"),
    "linked metrics": (linked("metrics.csv"), "metrics.csv leads out of the run folder"),
    "a linked record": (linked("run.json"), "run.json leads out of the run folder"),
    "a linked result": (linked("probes/state.json"), "state.json leads out of the run folder"),
    "a linked film": (linked("media/film.webm"), "film.webm leads out of the run folder"),
    "a link to nothing": (gone, "media/gone.webm is a link to what is not there"),
    "a film of a terabyte": (huge_film, "long.webm has more than 1,073,741,824 bytes"),
    **{
        f"a pipe for {name}": (pipe(name), "is a pipe or a device, which may have no end")
        for name in ("run.json", "config.yaml", "media/film.webm", "probes/state.json")
    },
    "a pipe for metrics.csv": (pipe("metrics.csv"), "metrics.csv ends early: 0 of"),
    "a line without an end": (long_line, "metrics.csv has a line of more than 67,108,864 bytes"),
    "more bytes than there are": (
        fields(metrics={"bytes": 2**60, "sha256": ""}), "of 1,152,921,504,606,846,976 bytes"
    ),
    "a number without an end": (fields(metrics={"bytes": 10**400}), "a number of 401 digits"),
    "a step beyond": (one_step_beyond, ""),
    "half a letter": (fields(remarks=["a\ud800b"]), "a\\ud800b"),
    "a seed that is a word": (fields(seed="x"), "seed is 'x', and not int | None"),
    "a name of any byte": (odd_byte, "a\\udcff"),
}  # fmt: skip


@pytest.mark.parametrize("case", HARMS)
def test_what_is_odd_in_a_run_is_named_and_the_page_is_made(case: str, runs: Path) -> None:
    harm, said = HARMS[case]
    harm(runs / "odd")
    assert said in page(runs)
    for path in (runs.parent / "page").rglob("*"):
        assert path.is_dir() or SECRET.encode() not in path.read_bytes(), path


@pytest.mark.parametrize(
    "read",
    [open_file, read_text, read_metrics, Written.of, read_result,
     lambda path: read_arrays(path.with_suffix(".json"))],
)  # fmt: skip
def test_what_may_have_no_end_is_not_read(read: Callable[[Path], object], tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "it.npz")
    (tmp_path / "zero.npz").symlink_to("/dev/zero")
    for name in ("it", "zero"):
        with pytest.raises(UserError, match="is a pipe or a device"):
            read(tmp_path / f"{name}.npz")


def test_a_run_that_was_left_out_is_not_read_again(runs: Path) -> None:
    (run, _) = read_runs([runs / "odd", runs / "good"])
    left = run.unread()
    shutil.rmtree(run.folder)
    assert (left.config, left.metrics, left.probes, left.media) == ("", {}, {}, [])
    assert (left.name, left.state, left.problems) == (run.name, "unreadable", run.problems)


VALUES = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers(-2, 2) | st.text(max_size=3)
    | st.sampled_from([2**31, 2**60, 2**63 - 1, 10**400, 1e308, -1e308, 1e-320, "a\ud800b", "\x00",
                       "../../secret.txt", "<script>", "x" * 5000, "pong", "running", "pretrain"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner,
                                                                max_size=3),
    max_leaves=4,
)  # fmt: skip


def places(value: Any, at: tuple = ()) -> Iterator[tuple]:
    """Where values stand in a JSON object."""
    yield at
    inner = value.items() if isinstance(value, dict) else ()
    inner = enumerate(value[:2]) if isinstance(value, list) else inner
    for key, one in inner:
        yield from places(one, (*at, key))


def changed(value: Any, place: tuple, new: Any) -> Any:
    """A JSON object with another value at a place."""
    if not place:
        return new
    key, *rest = place
    copy = value.copy()
    copy[key] = changed(copy[key], tuple(rest), new)
    return copy


RECORDS: dict[str, dict[str, Any]] = {
    "agent": {
        "game": "pong",
        "evaluation": {
            "game": "pong", "returns": [1.0, 2.0], "lengths": [10, 20], "mean": 1.5, "hns": 0.5,
            "disturbed": {"sticky:0.5": Disturbed(returns=[1.0], mean=1.0, hns=0.1).plain()},
        },
    },
    "continual": {
        "continual": ContinualRecord(
            games=["pong", "breakout"], steps=4, episodes=2, low=[0.0, 0.0], high=[1.0, 1.0],
            methods={"l2m": ContinualMethod(returns=[[1.0, 1.0]] * 2, scores=[[0.5, 0.5]] * 2)},
        ).plain(),
    },
    "pretrain": {"batch": 8, "plugged_in": {"parts": {"encoder": {"learn": 1, "frozen": 2}}}},
}  # fmt: skip


@pytest.mark.slow
@pages
@given(data=st.data())
def test_a_page_is_made_whatever_a_record_says(data: st.DataObject, runs: Path) -> None:
    kind = data.draw(st.sampled_from(sorted(RECORDS)))
    good = written(json.loads((runs / "good" / "run.json").read_text()))
    record = good | {"kind": kind} | RECORDS[kind]
    for _ in range(data.draw(st.integers(1, 2))):
        record = changed(
            record, data.draw(st.sampled_from([*places(record)][1:])), data.draw(VALUES)
        )
    (runs / "odd" / "run.json").write_text(json.dumps(record))
    page(runs)


@pytest.mark.slow
@settings(max_examples=400)
@given(data=st.data())
def test_a_record_is_read_or_named_whatever_it_says(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.getbasetemp() / "record"
    folder.mkdir(exist_ok=True)
    record = {"kind": "agent", "state": "done", **RECORDS["agent"], **RECORDS["continual"]}
    place = data.draw(st.sampled_from([*places(record)]))
    text = json.dumps(changed(record, place, data.draw(VALUES)))
    cut = data.draw(st.sampled_from([len(text), len(text), len(text) // 2]))
    (folder / "run.json").write_text(text[:cut])
    (run,) = read_runs([folder])
    assert run.state != "unreadable" or run.problems[0].startswith("run.json is damaged: ")
    assert run.name == "record"


STEPS = st.sampled_from(["0", "1", "7", "-1", "x", "", "99999999999999999999", str(2**63 - 1), "٣"])
NAMES = st.sampled_from(["loss", "return", "a,b", "", "steps_per_second", "lr", "\x00", "é", "<b>"])
NUMBERS = st.sampled_from(["1", "nan", "-inf", "1e308", "-1e308", "1e-320", "1_0", "x", "1e999"])
LINES = st.lists(st.tuples(STEPS, NAMES, NUMBERS).map(",".join) | st.text(max_size=9), max_size=9)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pages
@given(LINES, st.binary(max_size=9))
def test_a_page_is_made_whatever_was_logged(runs: Path, lines: list[str], torn: bytes) -> None:
    changed_record(runs / "odd", metrics={}, batch=8)
    text = "".join(f"{line}\n" for line in lines).encode("utf-8", "surrogatepass")
    (runs / "odd" / "metrics.csv").write_bytes(text + torn)
    page(runs)


ODD_YAML = st.sampled_from(
    ["!!bool x", "!!int ''", "!!float ''", "!!timestamp x", "1" + ":1" * 300 + ".5", "2001-01-01",
     "0001-01-01 00:00:00 +23:59", "[{2001-01-01: 1}]", "? [a]\n: b", "!!set {a, b}", "=", "<<: 3",
     "!!binary x", "!!omap [a: 1]", '"\\ud800"', "0x" + "f" * 400, "1" * 5000, "../..", '"\\0"',
     "/dev/zero", "x" * 5000, "&a [*a]", "!!python/name:os.system x"]
)  # fmt: skip
CONFIGS = st.sampled_from(["a: {}\n", "{}: 1\n", "- {}\n", "data: {{recordings: {}}}\n", "{}"])


@pytest.mark.slow
@pages
@given(st.builds(str.format, CONFIGS, ODD_YAML | st.text(max_size=9)) | st.binary(max_size=20))
def test_a_page_is_made_whatever_a_config_says(runs: Path, config: str | bytes) -> None:
    content = config if isinstance(config, bytes) else config.encode("utf-8", "surrogatepass")
    (runs / "odd" / "config.yaml").write_bytes(content)
    page(runs)


@given(ODD_YAML | st.text())
def test_yaml_of_any_value_is_read_or_refused_in_one_line(text: str) -> None:
    assert "\n" not in refusal(lambda: load_yaml(text, "mine.yaml"))


PROBE = {"columns": ["game", "block", "r2"], "rows": [["pong", 1, 0.5], ["pong", 2, 0.7]]}


def probed(folder: Path, result: object, arrays: dict[str, Any]) -> None:
    """A run with the results of a probe."""
    path = folder / "probes" / "mine.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(result))
    write_arrays(path, arrays)


def result() -> dict[str, Any]:
    """What a probe found, with every kind of figure."""
    table = Table(name="t", title="T", **PROBE).plain()
    gains = {"kind": "gains", "table": "t", "measure": "r2", "row": "block", "across": ["game"]}
    return {
        "probe": "mine", "title": "Mine", "version": "1.0", "settings": {"seed": 0},
        "figures": [
            {"kind": "lines", "table": "t", "along": "block", "choice": "game",
             "measures": {"r2": "R2"}},
            {"kind": "attention"}, {"kind": "map"}, gains,
            {"kind": "similarity", "places": ["blocks"]},
        ],
        "verdict": {"sentence": "R2 of {games}", "table": "t", "measure": "r2"},
        "encoders": {name: {"tables": [table]} for name in ("a", "random")},
        "fingerprints": {"a": "0" * 64},
    }  # fmt: skip


def arrays() -> dict[str, Any]:
    """Arrays of an encoder, for the figures of `result`."""
    pictures = {"screens": np.zeros((2, 4, 4), np.uint8), "maps": np.ones((1, 1, 2, 2, 2)),
                "game": ["pong", "pong"], "place": np.zeros((2, 2)), "episode": np.arange(2),
                "step": np.arange(2), "ram": np.zeros((2, 128), np.uint8),
                "reward": np.zeros(2), "blocks/pong": np.ones((2, 3, 4))}  # fmt: skip
    return {f"a/{name}": np.asarray(of) for name, of in pictures.items()}


@pytest.mark.slow
@pages
@given(data=st.data())
def test_a_page_is_made_whatever_a_probe_found(data: st.DataObject, runs: Path) -> None:
    probed(runs / "good", result(), arrays())
    found = result()
    place = data.draw(st.sampled_from([*places(found)]))
    probed(runs / "odd", changed(found, place, data.draw(VALUES)), arrays())
    page(runs)


ARRAYS = st.sampled_from(
    [np.zeros(0), np.float64(1), np.full((2, 4, 4), np.nan), np.full((2, 2), 1e308),
     np.zeros(2, complex), np.array(["a\x00b", "c"]), np.array([b"a"]), np.full(2, -1),
     np.zeros((1, 1, 2, 2, 2, 2)), np.full((2, 2), np.inf), np.array([2**63 - 1, 0])]
)  # fmt: skip


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::RuntimeWarning", "ignore:Casting complex")
@pages
@given(st.sampled_from([*arrays()]), ARRAYS)
def test_a_page_is_made_whatever_arrays_a_probe_left(runs: Path, name: str, odd: Any) -> None:
    probed(runs / "odd", result(), arrays() | {name: odd})
    page(runs)


SMALL = {
    "a/x": np.arange(6.0).reshape(2, 3),
    "müll/labels": np.array(["pong", "é"]),
    "n": np.int8(3),
}


@pytest.mark.slow
@settings(max_examples=300)
@given(at=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7) | st.none())
def test_a_flipped_bit_or_a_lost_end_of_arrays_is_named_or_changes_nothing(
    tmp_path_factory: pytest.TempPathFactory, at: float, bit: int | None
) -> None:
    path = tmp_path_factory.getbasetemp() / "harmed.npz"
    write_arrays(path, SMALL)
    content = bytearray(path.read_bytes())
    place = int(at * len(content))
    if bit is None:
        content = content[:place]
    else:
        content[place] ^= 1 << bit
    path.write_bytes(content)
    found: dict[str, Any] = {}
    said = refusal(lambda: found.update(read_arrays(path)))
    assert said or found.keys() == SMALL.keys()
    assert not said or said.startswith("harmed.npz is no file of arrays: ")
    for name, array in found.items():
        np.testing.assert_array_equal(array, SMALL[name])


@given(content=st.binary(max_size=300))
def test_arrays_of_any_bytes_are_named(
    content: bytes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.npz"
    path.write_bytes(content)
    assert refusal(lambda: read_arrays(path)).startswith("any.npz is no file of arrays: ")


def header(shape: str, kind: str = "<f8") -> bytes:
    text = f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode()


CLAIMS = {
    "an array that is not there": header(f"({2**60},)"),
    "an array of any size": header(f"({2**40}, {2**40})"),
    "objects": header("(1,)", "|O") + b"cos\nsystem\n",
    "no letters": header("(1,)", "<U1") + b"\x00\xd8\x00\x00",
    "no header": b"\x93NUMPY\x01\x00\x05\x00'''((",
}


@pytest.mark.parametrize("claim", CLAIMS)
def test_arrays_take_no_more_memory_than_there_are_bytes(claim: str, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as file:
        file.writestr("a.npy", CLAIMS[claim])
    said = refusal(lambda: read_arrays(tmp_path / "x.json"))
    assert said.startswith("x.npz is no file of arrays: ")


def test_arrays_that_grow_when_they_are_read_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    write_arrays(path, SMALL)
    content = bytearray(path.read_bytes())
    size = content.index(b"PK\x01\x02") + 24  # of the first array, in the list at the end
    content[size : size + 4] = (2**31).to_bytes(4, "little")
    path.write_bytes(content)
    assert "claims more bytes than its own can become" in refusal(lambda: read_arrays(path))


@given(st.text(), st.integers(-(2**63), 2**63 - 1), st.integers(min_value=2**63))
def test_json_of_any_text_can_be_written_again(text: str, number: int, beyond: int) -> None:
    found = load_json(json.dumps({"a": [text + "\ud800"], "b": text, "c": number}))
    assert found == {"a": [text + "\\ud800"], "b": text, "c": number}
    json.dumps(found, ensure_ascii=False).encode()
    for value in (beyond, -beyond - 1):
        assert "is none of ours" in refusal(lambda value=value: load_json(f"[{value}]"))
