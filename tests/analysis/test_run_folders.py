import json

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import report_samples as samples
from fovea.analysis import read_runs
from fovea.command import UserError


def only(folder):
    (found,) = read_runs([folder])
    return found


def test_runs_are_found_at_any_depth_in_the_order_in_which_they_began(tmp_path):
    samples.run(tmp_path / "a" / "late", "pretrain", started="2026-11-24T11:00:00+0000")
    samples.run(tmp_path / "a" / "b" / "early", "agent", started="2026-11-24T09:00:00+0000")
    (tmp_path / "recordings" / "pong").mkdir(parents=True)
    assert [run.name for run in read_runs([tmp_path])] == ["early", "late"]


def test_a_run_given_twice_is_read_once_and_runs_of_one_name_keep_apart(tmp_path):
    for parent in "ab":
        samples.run(tmp_path / parent / "dqn", "agent")
    found = read_runs([tmp_path, tmp_path / "a"])
    assert sorted(run.slug for run in found) == ["dqn", "dqn.2"]


def test_no_run_is_a_mistake_that_names_the_place(tmp_path):
    with pytest.raises(UserError, match=r"no run .* in .*: give the folder"):
        read_runs([tmp_path])
    with pytest.raises(UserError, match="nowhere is no folder"):
        read_runs([tmp_path / "nowhere"])


def test_curves_come_ordered_and_the_last_row_of_a_step_counts(tmp_path):
    logged = [(2, {"loss": 5.0}), (1, {"loss": 7.0, "loss/order": 0.5}), (2, {"loss": 4.0})]
    curve = only(samples.run(tmp_path / "r", "pretrain", logged)).metrics["loss"]
    assert curve.steps.tolist() == [1, 2]
    assert curve.values.tolist() == [7.0, 4.0]


def test_a_line_that_is_being_written_is_left_out(tmp_path):
    folder = samples.run(tmp_path / "r", "agent", [(1, {"loss": 7.0}), (2, {"loss": 6.5})])
    with open(folder / "metrics.csv", "a") as file:
        file.write("3,loss,6.")
    assert only(folder).metrics["loss"].steps.tolist() == [1, 2]


def test_values_that_are_no_numbers_are_kept_as_nan(tmp_path):
    run = only(samples.run(tmp_path / "r", "agent", [(1, {"loss": np.nan}), (2, {"loss": np.inf})]))
    assert np.isnan(run.metrics["loss"].values[0])
    assert np.isinf(run.metrics["loss"].values[1])


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=200))
def test_any_bytes_in_any_file_of_a_run_are_survived(tmp_path, junk):
    folder = tmp_path / "r"
    (folder / "probes").mkdir(parents=True, exist_ok=True)
    for name in ("run.json", "config.yaml", "metrics.csv", "probes/state.json", "probes/state.npz"):
        (folder / name).write_bytes(junk)
    run = only(folder)
    assert run.probes == {}
    assert run.problems
    assert isinstance(run.config, str)
    assert all(len(c.steps) == len(c.values) for c in run.metrics.values())


@pytest.mark.slow
@pytest.mark.parametrize("keep", [0.3, 0.9])
def test_a_damaged_probe_is_named_and_the_others_are_read(tmp_path, keep):
    folder = samples.probes(tmp_path / "probes")
    path = folder / "probes" / "state.json"
    text = path.read_text()
    path.write_text(text[: int(keep * len(text))])
    run = only(folder)
    assert set(run.probes) == {
        *("action", "attention", "attribution", "collapse", "intervention", "map", "sparsity"),
    }
    assert "probes/state.json is damaged" in run.problems[0]


@pytest.mark.slow
def test_a_probe_whose_arrays_are_damaged_is_named(tmp_path):
    folder = samples.probes(tmp_path / "probes")
    (folder / "probes" / "attention.npz").write_bytes(b"PK\x03\x04 torn")
    run = only(folder)
    assert "attention" not in run.probes
    assert "probes/attention.json is damaged" in run.problems[0]


@pytest.mark.slow
def test_tables_of_all_encoders_are_joined_with_the_encoder_first(tmp_path):
    table = only(samples.probes(tmp_path / "p")).probes["sparsity"].result.joined()["blocks"]
    assert table.columns[:5] == ["encoder", "game", "block", "token", "hoyer"]
    assert len(table.rows) == 3 * 3 * 4 * 3
    assert {row[0] for row in table.rows} == {"tov_vicreg", "vicreg", "random"}


def test_media_that_point_out_of_the_run_are_left_aside(tmp_path):
    secret = tmp_path / "secret.png"
    secret.write_bytes(b"not yours")
    folder = samples.agent(tmp_path / "r", "dqn", seed=0)
    (folder / "media" / "leak.png").symlink_to(secret)
    (folder / "media" / "notes.txt").write_text("no picture")
    assert [path.name for path in only(folder).media] == ["evaluation.webm"]


def test_a_record_that_is_no_object_is_a_problem_and_no_crash(tmp_path):
    (tmp_path / "run.json").write_text(json.dumps([1, 2]))
    run = only(tmp_path)
    assert (run.state, run.name) == ("unreadable", tmp_path.name)
    assert "run.json is damaged" in run.problems[0]
