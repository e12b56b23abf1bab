"""The report as a folder and as a command: what lies in it, and what it refuses."""

from __future__ import annotations

import csv
import json
import re
import resource
import subprocess
import sys
from pathlib import Path

import pytest
from selenium.webdriver.common.by import By

import report_samples as samples
from benchmarks import report as benchmark
from fovea.analysis import curves, report
from fovea.analysis.page import SCRIPTS
from fovea.command import UserError
from in_browser import drawn


def test_everything_the_page_refers_to_lies_in_its_folder(quickstart):
    text, data, out = quickstart
    links = [a.get("src") or a.get("href") for _, a in text.tags]
    files = [link for link in links if link and not link.startswith(("#", "data:"))]
    files += re.findall(r"media/[\w.-]+", json.dumps(data["pictures"]))
    assert len(files) > 20
    for file in files:
        assert (out / file).is_file(), file
        assert not Path(file).is_absolute()
        assert ".." not in file


def test_the_videos_are_copied_and_shown(quickstart):
    text, _, out = quickstart
    shown = [a["src"] for tag, a in text.tags if tag == "video"]
    assert shown == ["media/dqn-evaluation.webm", "media/ppo-evaluation.webm"]
    assert (out / shown[0]).stat().st_size > 500


def test_tables_keep_all_rows_in_their_file(quickstart):
    _, _, out = quickstart
    with open(out / "data" / "state-probes-variables.csv") as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["encoder", "game", "variable", "category", "r2", "f1", "accuracy"]
    assert len(rows) == 1 + 6 * 3 * (2 + 3 + 4 + 5)


@pytest.mark.slow
def test_names_cannot_become_markup(tmp_path):
    nasty = '<script>alert(1)</script>"><img src=x onerror=alert(2)>'
    samples.pretraining(tmp_path / "a", "a", name=nasty)
    samples.agent(tmp_path / "b", "b", seed=0, name=nasty, title=nasty, reason=nasty)
    samples.run(tmp_path / "c", "probes")
    samples.state(tmp_path / "c", {nasty: 0.5, "random": 0.4})
    text, data = samples.page(tmp_path, tmp_path / nasty.replace("/", "-"))
    assert nasty in " ".join(text.seen)
    assert [a["src"] for tag, a in text.tags if tag == "script"] == [
        "assets/plotly.min.js",
        "assets/data.js",
        *(f"assets/{name}.js" for name in SCRIPTS),
    ]
    assert not [a for _, a in text.tags if "onerror" in a]
    assert "<script>" not in json.dumps(
        [f["data"] for c in data["charts"].values() for f in c.get("", [])]
    )


def test_a_run_without_a_readable_record_is_named(tmp_path):
    samples.pretraining(tmp_path / "good", "good")
    (tmp_path / "torn").mkdir()
    (tmp_path / "torn" / "run.json").write_text('{"name": "to')
    text, _ = samples.page(tmp_path, tmp_path / "out")
    assert "torn unreadable" in text.text
    assert "run.json is damaged" in text.text


@pytest.mark.evidence
@pytest.mark.browser
def test_many_runs_make_a_page_of_bounded_size_in_which_all_can_be_found(tmp_path, browser):
    logged = [(step, {"loss": 2.0 + step % 7}) for step in range(60)]
    first = samples.run(tmp_path / "r000", "pretrain", logged)
    for k in range(1, 1000):
        folder = tmp_path / f"r{k:03}"
        folder.mkdir()
        for name in ("run.json", "metrics.csv", "config.yaml"):
            (folder / name).hardlink_to(first / name)
    text, data = samples.page(tmp_path, tmp_path / "out")
    traces = data["charts"]["pretraining"][""][0]["data"]
    assert sum(len(trace["x"]) for trace in traces) < curves.BUDGET
    assert {place for trace in traces for place in trace["meta"]["runs"]} == set(range(1000))
    assert len(data["runs"]["list"]) == 1000
    assert len([row for row in text.rows if row[1:2] == ["pretrain"]]) == 1000
    assert len((tmp_path / "out" / "data" / "runs.csv").read_text().splitlines()) == 1001
    size = sum(path.stat().st_size for path in (tmp_path / "out").rglob("*") if path.is_file())
    assert size < 15e6
    browser.get("about:blank")
    browser.get_log("browser")
    browser.get((tmp_path / "out" / "index.html").as_uri())
    drawn(browser, browser.find_element(By.CSS_SELECTOR, "#pretraining .charts"))
    rows = browser.find_elements(By.CSS_SELECTOR, "#runs tr[data-run]")
    assert len(rows) == 1000
    assert browser.get_log("browser") == []


@pytest.mark.evidence
@pytest.mark.browser
def test_two_hundred_runs_of_ten_thousand_points_stay_below_15_mb_and_are_drawn(tmp_path, browser):
    """How long it takes: python -m benchmarks.report."""
    benchmark.runs(tmp_path / "runs", 200, 10_000)
    index, _ = report([tmp_path / "runs"], tmp_path / "page")
    assert benchmark.size(tmp_path / "page") < 15
    browser.get("about:blank")
    browser.get_log("browser")
    browser.get(index.as_uri())
    lines = "return arguments[0].querySelector('.chart').data.length"
    for group in browser.find_elements(By.CSS_SELECTOR, ".charts"):
        assert browser.execute_script(lines, drawn(browser, group)) > 0
    assert len(browser.find_elements(By.CSS_SELECTOR, "#runs tr[data-run]")) == 200
    said = browser.find_element(By.TAG_NAME, "main").get_attribute("textContent")
    assert "the lowest and the highest of each of" in said  # what the lines leave out
    assert browser.get_log("browser") == []


def test_running_it_again_replaces_the_page_and_leaves_nothing_else(tmp_path):
    samples.pretraining(tmp_path / "runs" / "first", "first")
    out = tmp_path / "out"
    report([tmp_path / "runs"], out)
    (out / "media" / "stale.png").write_bytes(b"of before")
    samples.pretraining(tmp_path / "runs" / "second", "second")
    text, _ = samples.page(tmp_path / "runs", out)
    assert "2 runs" in text.text
    assert not (out / "media" / "stale.png").exists()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out", "runs"]


def test_a_folder_that_holds_something_else_is_never_replaced(tmp_path):
    samples.pretraining(tmp_path / "runs" / "r", "r")
    for out in (tmp_path / "runs", tmp_path / "runs" / "r"):
        with pytest.raises(UserError, match="holds something else than a report"):
            report([tmp_path / "runs"], out)
    assert (tmp_path / "runs" / "r" / "metrics.csv").exists()


def test_a_page_that_cannot_be_made_leaves_the_old_one(tmp_path):
    samples.agent(tmp_path / "runs" / "r", "r", seed=0)
    out = tmp_path / "out"
    report([tmp_path / "runs"], out)
    before = (out / "index.html").read_text()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**20, limits[1]))  # less than plotly takes
    try:
        with pytest.raises(OSError, match="File too large"):
            report([tmp_path / "runs"], out)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert (out / "index.html").read_text() == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out", "runs"]


def test_the_command_ends_with_the_path_of_the_page(tmp_path):
    samples.quickstart(tmp_path / "runs")
    done = command("report", tmp_path / "runs", "--out", tmp_path / "out", "--title", "Two of them")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].startswith("5 runs: ")
    assert lines[-1] == str(tmp_path / "out" / "index.html")
    assert "<h1>Two of them</h1>" in Path(lines[-1]).read_text()


def test_no_run_ends_with_one_line_and_exit_code_2(tmp_path):
    done = command("report", tmp_path, "--out", tmp_path / "out")
    assert done.returncode == 2
    assert done.stderr.startswith("error: no run (a folder with run.json) in")
    assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_help_teaches_and_needs_neither_torch_nor_a_plotting_library():
    probe = (
        "import sys, runpy; sys.argv[1:] = ['report', '--help']\n"
        "try: runpy.run_module('fovea.analysis', run_name='__main__')\n"
        "except SystemExit: pass\n"
        "print(sorted({'torch', 'lightning', 'numpy', 'plotly', 'cv2'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
    assert "fovea analysis report runs/quickstart --out" in done.stdout


def command(*args):
    return subprocess.run(
        [sys.executable, "-m", "fovea", "analysis", *map(str, args)], capture_output=True, text=True
    )
