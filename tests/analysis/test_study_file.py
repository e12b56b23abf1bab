"""What a study's file says is right before anything runs, or one line says what is not."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_type_hints

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from fovea.analysis import study, study_file
from fovea.analysis.timed_study import TimedStudy
from fovea.command import UserError
from fovea.disturbances import KINDS, Disturbance

ENCODERS: dict[str, Any] = {
    "kind": "encoders", "title": "Small", "games": ["pong"], "steps": 9, "seeds": [0, 1],
    "samples": 64, "batch": 64, "stacks": 9, "keep": 0.5, "recordings": ["more"],
    "runs": {"one": {"config": "vicreg", "settings": {"x": 1}}, "other": {"config": "byol"}},
    "differences": [["one", "other"], ["one", "pixels"]],
}  # fmt: skip
AGENTS: dict[str, Any] = {
    "kind": "agents", "title": "Small", "games": ["pong"], "steps": 9, "seeds": [0, 1],
    "episodes": 2, "take_off": 0.2, "disturb": ["all", "sticky:0.5"],
    "runs": {"one": {"config": "dqn"}, "other": {"config": "dqn", "init_from": "one"}},
    "differences": [],
}  # fmt: skip
TIMED: dict[str, Any] = {
    "kind": "timed", "title": "Small", "games": ["pong"], "steps": 9, "seeds": [0],
    "settings": {"trainer.devices": 1}, "batch": 8, "warmup": 0.05, "stacks": 9,
    "collect_share": 0.5, "measure_seconds": 1, "probe_seconds": 60,
    "agent_encoder": "random:vit_micro", "recordings": [],
    "runs": {"one": {"config": "vicreg"}}, "differences": [],
}  # fmt: skip
STUDIES = {content["kind"]: content for content in (ENCODERS, AGENTS, TIMED)}


def written(folder: Path, content: object) -> Path:
    path = folder / "mine.yaml"
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    return path


def runs(**each: object) -> dict:
    return {"runs": each, "differences": []}


WRONG: dict[str, tuple[dict, dict, str]] = {
    "no batch": (ENCODERS, {"batch": 0}, "has batch: 0: give a whole number above 0"),
    "no number": (ENCODERS, {"samples": "many"}, "has samples: 'many': give a whole number above"),
    "below 0": (ENCODERS, {"steps": -5}, "has steps: -5: give a whole number above 0"),
    "half a step": (ENCODERS, {"steps": 1.5}, "has steps: 1.5: give a whole number above 0"),
    "yes": (AGENTS, {"episodes": True}, "has episodes: True: give a whole number above 0"),
    "nothing": (AGENTS, {"episodes": None}, "has episodes: None: give a whole number above 0"),
    "a chance": (ENCODERS, {"keep": 1.5}, "has keep: 1.5: give a number from 0 to 1"),
    "a score": (AGENTS, {"take_off": "x"}, "has take_off: 'x': give a number above 0"),
    "a huge score": (AGENTS, {"take_off": 10**400}, "000: give a number above 0"),
    "a share": (TIMED, {"warmup": float("nan")}, "has warmup: nan: give a number from 0 to 1"),
    "no pairs": (ENCODERS, {"differences": 5}, "has differences: 5: give a list of pairs of runs"),
    "no games": (ENCODERS, {"games": None}, "has games: None: give a list of names, such as"),
    "not one game": (ENCODERS, {"games": []}, "has games: []: give a list of names, such as"),
    "a game twice": (ENCODERS, {"games": ["pong", "Pong"]}, "games has 'pong' twice: name it once"),
    "a seed twice": (ENCODERS, {"seeds": [0, 1, 0]}, "seeds has 0 twice: name it once"),
    "a seed below 0": (ENCODERS, {"seeds": [-1]}, "has seeds: [-1]: give a list of whole numbers"),
    "a disturbance": (AGENTS, {"disturb": ["stickyy:1"]}, "disturbance 'stickyy:1': did you mean"),
    "too sticky": (AGENTS, {"disturb": ["sticky:2"]}, "'sticky:2': give a number from 0 to 1, as"),
    "half a mode": (AGENTS, {"disturb": ["mode:1.5"]}, "give a whole number from 0 to 255, as"),
    "a way out": (ENCODERS, runs(**{"../../x": {"config": "vicreg"}}), "the run '../../x' would "),
    "hidden": (AGENTS, runs(**{".x": {"config": "dqn"}}), "the run '.x' would have no folder"),
    "an option": (AGENTS, runs(**{"-x": {"config": "dqn"}}), "the run '-x' would have no folder"),
    "a number": (AGENTS, {"runs": {1: {"config": "dqn"}}}, "run 1 would have no folder of its own"),
    "probes": (ENCODERS, runs(probes={"config": "vicreg"}), "the name of the run 'probes' is tak"),
    "random": (ENCODERS, runs(random={"config": "vicreg"}), "the name of the run 'random' is take"),
    "no run": (ENCODERS, runs(one=5), "has runs: {'one': 5}: give each a name and its config"),
    "a list": (ENCODERS, runs(one={"config": ["x"]}), "the config of the run 'one' is ['x']: give"),
    "no settings": (AGENTS, runs(one={"config": "dqn", "settings": None}), "'one' are None: write"),
    "no base": (AGENTS, runs(one={"config": "dqn", "teacher": ["one"]}), "teacher ['one'] of the"),
    "itself": (AGENTS, runs(one={"config": "dqn", "init_from": "one"}), "(one needs one): take "),
    "each other": (
        AGENTS,
        runs(a={"config": "dqn", "init_from": "b"}, b={"config": "dqn", "teacher": "a"}),
        "runs of the study wait for each other (a needs b needs a): take one of init_from",
    ),
    "a kind": (AGENTS, {"kind": ["agents"]}, "is of kind ['agents']: write `kind: encoders`"),
    "odd keys": (AGENTS, {1: 2, "x": 3}, "has an unknown key 1: the keys of agents are"),
    "a config": (AGENTS, runs(one={"config": "dqnn"}), "config of the run 'one': no file dqnn, "),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_a_mistake_is_one_line_before_anything_runs(case: str, tmp_path: Path) -> None:
    content, changed, message = WRONG[case]
    path = written(tmp_path, content | changed)
    asked = [str(path), "--out", str(tmp_path / "out")]
    with pytest.raises(UserError) as refused:
        study.run(asked if content is TIMED else [*asked, "--show"])
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("kind", study_file.KINDS)
def test_every_setting_of_a_study_has_its_range_and_is_asked_for_in_words(kind: str) -> None:
    """Fault 17, of studies: none is a number of any size."""
    for name, hint in get_type_hints(study_file.KINDS[kind]).items():
        if name not in ("room", "taken"):
            assert hint in study_file.EXPECTED, name


@pytest.mark.slow
@settings(max_examples=40)
@given(text=st.builds("{}:{}".format, st.sampled_from([*KINDS, "x"]),
                      st.integers(-2, 300) | st.floats() | st.text(max_size=3)))  # fmt: skip
def test_a_study_takes_the_disturbances_that_evaluations_take(
    text: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    assert fails(Disturbance.read, text) == fails(
        study_file.read, written(tmp_path_factory.mktemp("study"), AGENTS | {"disturb": [text]})
    )


def fails(function, *arguments: object) -> bool:
    try:
        function(*arguments)
    except UserError:
        return True
    return False


def test_games_have_their_rom_ids_however_they_are_named(tmp_path: Path) -> None:
    """So do then the folders and tables, and what a game's scores are looked up by."""
    path = written(tmp_path, AGENTS | {"games": ["MsPacman", "ALE/Pong-v5"]})
    assert study.read(path).games == ["ms_pacman", "pong"]


def test_runs_that_share_what_they_need_have_each_of_it_once(tmp_path: Path) -> None:
    """Else thirty runs of two bases each would be a thousand million commands."""
    names = [f"run_{number}" for number in range(300)]
    each = {
        name: {"config": "dqn"} | ({"init_from": names[k - 1], "teacher": names[max(0, k - 2)]}
                                   if k else {})
        for k, name in enumerate(names)
    }  # fmt: skip
    asked = study.read(written(tmp_path, AGENTS | runs(**each) | {"seeds": [0]}))
    assert asked.bases(names[-1]) == [*reversed(names[:-1])]
    crossed = {"a": {"config": "dqn", "init_from": "c", "teacher": "b"},
               "b": {"config": "dqn", "init_from": "c"}, "c": {"config": "dqn"}}  # fmt: skip
    # What made a begins with c, which b needs too.
    assert study.read(written(tmp_path, AGENTS | runs(**crossed))).bases("a") == ["b", "c"]


words = st.text(st.characters(codec="utf-8"), max_size=4) | st.sampled_from(
    ["one", "pong", "config", "settings", "init_from", "sticky:1", "all", "..", "1e9"]
)
plain = st.none() | st.booleans() | st.integers() | st.floats() | words | st.dates()
values = st.recursive(
    plain,
    lambda of: st.lists(of, max_size=3) | st.dictionaries(words | plain, of, max_size=3),
    max_leaves=6,
)
places = st.sampled_from(
    [(kind, (key,)) for kind, content in STUDIES.items() for key in content]
    + [(kind, ("runs", *rest)) for kind in STUDIES
       for rest in [("one",), ("x",), ("one", "config"), ("one", "settings"), ("one", "init_from")]]
)  # fmt: skip


@pytest.mark.slow
@settings(max_examples=60)
@given(place=places, value=values)
def test_whatever_stands_in_a_study_it_is_one_or_one_line_says_why_not(
    place: tuple[str, tuple], value: object, tmp_path_factory: pytest.TempPathFactory
) -> None:
    kind, (*above, key) = place
    content = yaml.safe_load(yaml.safe_dump(STUDIES[kind]))
    inside = content
    for name in above:
        inside = inside[name]
    inside[key] = value
    is_read(written(tmp_path_factory.mktemp("study"), content))


pieces = st.sampled_from(
    ["kind: agents\n", "runs:\n", "  one: ", "{", "}", "[", "]", "&a ", "*a", "<<: ", "- ", "? ",
     "!!set ", "!!python/object:os.system ", "%", "\0", "\t", "\x85", "---\n", "seeds: [0]\n", ": "]
)  # fmt: skip
texts = st.lists(pieces | st.text(max_size=3), max_size=12).map("".join).map(str.encode)


@given(text=st.binary(max_size=12) | texts.filter(bool))
def test_whatever_text_a_study_is_one_line_says_why_it_is_none(
    text: bytes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("study") / "mine.yaml"
    path.write_bytes(text)
    is_read(path)


def is_read(path: Path) -> None:
    """It is read, and what it asks for can be listed; or a line says what is wrong."""
    try:
        asked = study.read(path)
        study_file.check_configs(asked)
    except UserError as fault:
        said = str(fault)
    else:
        said = ""
        # Of a timed one it is decided as time goes by what runs.
        keys = [] if isinstance(asked, TimedStudy) else asked.made_by()
        assert not [key for key in keys if ".." in key.place.parts]
    assert "\n" not in said


@pytest.mark.slow
def test_a_misspelt_setting_of_any_run_ends_a_study_before_the_first_begins(
    tmp_path: Path, capfd: pytest.CaptureFixture
) -> None:
    small = {"model.init_args.hiden": 8}
    content = AGENTS | runs(one={"config": "dqn"}, other={"config": "ppo", "settings": small})
    path, out = written(tmp_path, content), tmp_path / "out"
    with pytest.raises(UserError, match=r"^the run 'other' of the study: .*'hiden'.*'hidden'"):
        study.run([str(path), "--out", str(out), "--accelerator", "cpu"])
    assert capfd.readouterr().out == "reading the settings of one, other\n"
    assert not out.exists()
