import csv
import json
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import plotly.graph_objects
import pytest

import report_samples as samples
from fovea.analysis import attention, curves, figures, html, report
from fovea.command import UserError
from fovea.figures import Comparison, Verdict
from fovea.metrics import Curve
from fovea.probes import state
from fovea.results import Measured
from fovea.tables import Table


class Text(HTMLParser):
    """What a reader sees, the cells of each row apart, and every attribute."""

    def __init__(self, source):
        super().__init__()
        self.seen, self.tags, self.rows = [], [], []
        self.feed(source)
        self.text = " ".join(" ".join(self.seen).split())

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag == "tr":
            self.rows.append([])

    def handle_data(self, data):
        self.seen.append(data)
        if self.rows and data.strip():
            self.rows[-1].append(data)


def page(folder, out):
    index, _ = report([folder], out)
    script = (out / "assets" / "data.js").read_text()
    data = json.loads(script.removeprefix("window.fovea = ").removesuffix(";\n"))
    return Text(index.read_text()), data


@pytest.fixture(scope="module")
def quickstart(tmp_path_factory):
    folder = samples.quickstart(tmp_path_factory.mktemp("runs"))
    out = folder / "report"
    return *page(folder, out), out


def test_everything_the_page_refers_to_lies_in_its_folder(quickstart):
    text, data, out = quickstart
    links = [a.get("src") or a.get("href") for _, a in text.tags]
    files = [link for link in links if link and not link.startswith(("#", "data:"))]
    files += [
        e[k] for p in data["pictures"].values() for e in p["encoders"].values() for k in SHEETS
    ]
    assert len(files) > 20
    for file in files:
        assert (out / file).is_file(), file
        assert not Path(file).is_absolute()
        assert ".." not in file


SHEETS = ("screens", "sheet")
BEFORE_0_2 = Path(__file__).parents[1] / "before_0_2"


def test_every_figure_is_one_that_plotly_takes(quickstart):
    _, data, _ = quickstart
    drawn = [f for choices in data["charts"].values() for fs in choices.values() for f in fs]
    assert len(drawn) > 30
    for figure in drawn:
        plotly.graph_objects.Figure(figure)


def test_the_verdict_holds_the_encoders_against_random_and_raw_pixels(tmp_path):
    samples.run(tmp_path / "p", "probes")
    samples.state(tmp_path / "p", {"good": 0.7, "bad": 0.1, "random": 0.35, "pixels": 0.9})
    text, _ = page(tmp_path, tmp_path / "out")
    verdict = text.text[text.text.index("R² of a linear read-out") :]
    assert "An untrained encoder of the same shape: 0.3" in verdict
    assert "(above it: good)" in verdict
    assert "(above it: none)" in verdict


def test_the_verdict_is_the_mean_over_games_of_the_rows_that_say_mean(tmp_path):
    samples.run(tmp_path / "p", "probes")
    columns = ["game", "category", "variables", "r2", "f1"]
    rows = [["pong", "misc", 1, 0.9, 0.9], ["pong", "mean", 1, 0.2, 0.1]]
    rows += [["freeway", "misc", 1, 0.9, 0.9], ["freeway", "mean", 1, 0.4, 0.1]]
    found = Measured([Table("categories", "By category", columns, rows)])
    samples.write_probe(tmp_path / "p", "state", state, {"mine": found})
    text, _ = page(tmp_path, tmp_path / "out")
    assert "mean of 2 games, one training run each: mine 0.30." in text.text


def test_a_short_run_of_an_agent_is_said_to_show_no_skill(quickstart, tmp_path):
    text, _, _ = quickstart
    assert "dqn (4,000 steps) and ppo (4,000 steps) learned for much less than" in text.text
    assert "this shows the way and no skill" in text.text
    samples.agent(tmp_path / "long", "long", seed=0, step=400_000, steps=400_000)
    text, _ = page(tmp_path, tmp_path / "out")
    assert "no skill" not in text.text


def test_an_encoder_has_one_colour_on_every_figure_and_references_are_grey(quickstart):
    _, data, _ = quickstart
    colours = {}
    for choices in data["charts"].values():
        for trace in (t for fs in choices.values() for f in fs for t in f["data"]):
            colours.setdefault(trace["name"], set()).add(
                trace["marker" if "marker" in trace else "line"]["color"]
            )
    assert all(len(found) == 1 for found in colours.values()), colours
    own = [found for name, found in colours.items() if name not in figures.REFERENCES]
    assert len(set().union(*own)) == len(own) == 4


def test_the_evaluation_table_gives_hns_and_an_interval_around_the_mean(quickstart):
    _, _, out = quickstart
    with open(out / "data" / "evaluation.csv") as file:
        rows = list(csv.DictReader(file))
    assert [row["run"] for row in rows] == ["dqn", "ppo"]
    for row in rows:
        assert float(row["95 % low"]) < float(row["mean return"]) < float(row["95 % high"])
        assert float(row["HNS"]) == pytest.approx((float(row["mean return"]) + 20.7) / 35.3)
        assert row["game"] == "Pong"


def test_an_evaluation_is_of_the_steps_it_was_made_after_and_whole_episodes_alone_have_hns(
    tmp_path,
):
    dqn = samples.agent(tmp_path / "dqn", "dqn", 0)
    record = json.loads((dqn / "run.json").read_text())
    record["step"] = 9000
    record["evaluation"]["max_frames"] = 600
    (dqn / "run.json").write_text(json.dumps(record))
    text, _ = page(tmp_path, tmp_path / "out")
    with open(tmp_path / "out" / "data" / "evaluation.csv") as file:
        (row,) = csv.DictReader(file)
    assert (row["steps"], row["HNS"]) == ("4000", "")
    assert "dqn was evaluated after 4,000 of the 9,000 steps it has learned for and in" in text.text
    assert "episodes cut at 600 frames, which have no HNS" in text.text


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
    assert len(rows) == 1 + 5 * 3 * (2 + 3 + 4 + 5)


LUCK = [["pong", 0.25], ["freeway", None]]


def test_a_probe_that_declares_no_figure_is_shown_by_its_tables(tmp_path):
    samples.run(tmp_path / "p", "probes")
    found = Measured([Table("guesses", "Guesses", ["game", "luck"], LUCK, "More is luckier.")])
    fortune = samples.unknown("Fortune", "How lucky it is.")
    samples.write_probe(tmp_path / "p", "fortune", fortune, {"mine": found})
    text, _ = page(tmp_path, tmp_path / "out")
    assert ["mine", "pong", "0.250"] in [row[:3] for row in text.rows]
    assert ["mine", "freeway", "–"] in [row[:3] for row in text.rows]
    for shown in ("Fortune", "How lucky it is.", "More is luckier.", "Guesses (2 rows)"):
        assert shown in text.text


def test_a_probe_brings_its_own_figure_verdict_and_place(tmp_path):
    samples.probes(tmp_path / "p")
    fortune = samples.unknown(
        "Fortune", "How lucky it is.", ORDER=2,
        FIGURES=[Comparison(table="guesses", along="try", choice="game", kind="lines",
                            measures={"luck / tries": "Luck, a try"}, title="Luck by try")],
        VERDICT=Verdict(table="guesses", measure="luck", sentence="luck in {games}"),
    )  # fmt: skip
    columns = ["game", "try", "luck", "tries"]
    for encoder, luck in (("mine", 0.5), ("random", 0.25)):
        rows = [["pong", 1, luck, 2], ["pong", 2, None, 2], ["freeway", 1, luck, 4]]
        found = Measured([Table("guesses", "Guesses", columns, rows)])
        samples.write_probe(tmp_path / "p", "fortune", fortune, {encoder: found})
    text, data = page(tmp_path, tmp_path / "out")
    (pong,) = data["charts"]["fortune-p"]["Pong"]
    assert pong["layout"]["title"]["text"] == "Luck, a try"
    lines = {trace["name"]: (trace["x"], trace["y"]) for trace in pong["data"]}
    assert lines == {"mine": ([1, 2], [0.25, None]), "random": ([1, 2], [0.125, None])}
    verdict = text.text[text.text.index("Fortune: luck in 2 games: mine 0.50.") :]
    assert "An untrained encoder of the same shape: 0.25 (above it: mine)." in verdict
    sections = [a["id"] for tag, a in text.tags if tag == "section" and "probe" in a["id"]]
    places = [sections.index(f"probe-{name}") for name in ("state", "fortune", "attention")]
    assert places == [0, 1, 2]


def test_a_figure_of_a_newer_version_is_left_to_the_tables(tmp_path):
    samples.run(tmp_path / "p", "probes")
    fortune = samples.unknown("Fortune", "How lucky it is.")
    found = Measured([Table("guesses", "Guesses", ["game", "luck"], LUCK)])
    samples.write_probe(tmp_path / "p", "fortune", fortune, {"mine": found})
    path = tmp_path / "p" / "probes" / "fortune.json"
    newer = json.loads(path.read_text()) | {"figures": [{"kind": "hologram", "depth": 3}], "new": 1}
    path.write_text(json.dumps(newer))
    text, data = page(tmp_path, tmp_path / "out")
    assert "Guesses (2 rows)" in text.text
    assert data["charts"] == {}


def test_folders_of_version_0_1_are_shown_with_their_figures(tmp_path):
    text, data = page(BEFORE_0_2, tmp_path / "out")
    assert "damaged" not in text.text
    assert {"state-probes", "attention-probes-2"} <= set(data["charts"])
    assert list(data["pictures"]["attention-probes"]["encoders"]) == ["tov", "random"]
    assert "R² of a linear read-out of the game's memory on held-out episodes" in text.text
    assert "mean return of the evaluation in Pong: dqn −2 and ppo_lora −2." in text.text


def test_a_known_probe_with_other_columns_is_shown_by_its_tables(tmp_path):
    samples.run(tmp_path / "p", "probes")
    found = Measured([Table("categories", "Renamed", ["level", "score"], [["pong", 0.5]])])
    samples.write_probe(tmp_path / "p", "state", state, {"mine": found})
    text, data = page(tmp_path, tmp_path / "out")
    assert "Renamed" in text.text
    assert data["charts"] == {}


def test_a_run_that_still_trains_is_shown_as_far_as_it_got(tmp_path):
    logged = [(10, {"loss": 3.0}), (20, {"loss": 2.0})]
    samples.run(tmp_path / "r", "pretrain", logged, state="running", step=20, steps=900)
    with open(tmp_path / "r" / "metrics.csv", "a") as file:
        file.write("30,lo")
    text, data = page(tmp_path, tmp_path / "out")
    assert "Still running: r (step 20 of 900)" in text.text
    assert data["charts"]["pretraining"][""][0]["data"][0]["y"] == [3.0, 2.0]


def test_a_number_that_was_measured_once_is_a_mark_and_not_a_line_without_length(tmp_path):
    logged = [(9, {"loss": 3.0}), (19, {"loss": 2.0, "held_out/loss": 2.5})]
    samples.run(tmp_path / "r", "pretrain", logged)
    _, data = page(tmp_path, tmp_path / "out")
    modes = {
        panel["layout"]["title"]["text"]: panel["data"][0]["mode"]
        for panel in data["charts"]["pretraining"][""]
    }
    assert modes == {"loss": "lines", "held out: loss": "lines+markers"}


def test_a_run_that_has_just_begun_has_no_curves_yet(tmp_path):
    samples.run(tmp_path / "r", "agent", state="running", step=0)
    text, data = page(tmp_path, tmp_path / "out")
    assert "No metrics were logged yet." in text.text
    assert "No agent has been evaluated yet." in text.text
    assert data["charts"] == {}


def test_an_agent_whose_episodes_all_go_on_is_said_to_have_no_returns_yet(tmp_path):
    samples.run(tmp_path / "r", "agent", [(100, {"loss": 1.0})], step=100)
    text, data = page(tmp_path, tmp_path / "out")
    assert "No episode has ended while the agents learned." in text.text
    assert "returns" not in data["charts"]


def test_the_steps_of_curves_are_said_to_be_of_the_optimiser_or_of_the_game(quickstart):
    _, data, _ = quickstart
    titles = {
        name: {figure["layout"]["xaxis"]["title"]["text"] for figure in data["charts"][name][""]}
        for name in ("pretraining", "returns", "agents-learning")
    }
    assert titles.pop("pretraining") == {"optimiser steps"}
    assert set().union(*titles.values()) == {"environment steps"}


def test_a_run_that_failed_is_named_with_its_reason_first(tmp_path):
    samples.quickstart(tmp_path)
    reason = "the features collapsed at step 120: std 0.001"
    samples.pretraining(tmp_path / "broken", "broken", state="failed", reason=reason, step=120)
    text, _ = page(tmp_path, tmp_path / "out")
    short = text.text[text.text.index("In short", text.text.index("Report on")) :]
    assert f"broken failed at step 120: {reason}" in short
    assert short.index(reason) < short.index("R² of a linear read-out")


def test_a_curve_of_nothing_but_nan_says_so(tmp_path):
    logged = [(step, {"loss": float("nan")}) for step in range(5)]
    samples.run(tmp_path / "r", "pretrain", logged, state="failed", reason="loss is NaN")
    _, data = page(tmp_path, tmp_path / "out")
    (figure,) = data["charts"]["pretraining"][""]
    assert figure["data"][0]["y"] == [None] * 5
    assert figure["layout"]["annotations"][0]["text"] == "no finite value was logged"


def test_names_cannot_become_markup(tmp_path):
    nasty = '<script>alert(1)</script>"><img src=x onerror=alert(2)>'
    samples.pretraining(tmp_path / "a", "a", name=nasty)
    samples.agent(tmp_path / "b", "b", seed=0, name=nasty, title=nasty, reason=nasty)
    samples.run(tmp_path / "c", "probes")
    samples.state(tmp_path / "c", {nasty: 0.5, "random": 0.4})
    text, data = page(tmp_path, tmp_path / nasty.replace("/", "-"))
    assert nasty in " ".join(text.seen)
    assert [a["src"] for tag, a in text.tags if tag == "script"] == [
        "assets/plotly.min.js",
        "assets/data.js",
        "assets/page.js",
    ]
    assert not [a for _, a in text.tags if "onerror" in a]
    assert "<script>" not in json.dumps(
        [f["data"] for c in data["charts"].values() for f in c.get("", [])]
    )


def test_a_run_without_a_readable_record_is_named(tmp_path):
    samples.pretraining(tmp_path / "good", "good")
    (tmp_path / "torn").mkdir()
    (tmp_path / "torn" / "run.json").write_text('{"name": "to')
    text, _ = page(tmp_path, tmp_path / "out")
    assert "torn unreadable" in text.text
    assert "run.json is damaged" in text.text


def test_many_runs_make_a_page_of_bounded_size(tmp_path):
    first = samples.run(tmp_path / "r000", "pretrain", [(1, {"loss": 2.0})])
    for k in range(1, 400):
        shutil.copytree(first, tmp_path / f"r{k:03}")
    text, data = page(tmp_path, tmp_path / "out")
    assert len(data["charts"]["pretraining"][""][0]["data"]) == curves.LINES
    assert "The first 300 of 400 rows" in text.text
    assert len((tmp_path / "out" / "data" / "runs.csv").read_text().splitlines()) == 401


def test_running_it_again_replaces_the_page_and_leaves_nothing_else(tmp_path):
    samples.pretraining(tmp_path / "runs" / "first", "first")
    out = tmp_path / "out"
    report([tmp_path / "runs"], out)
    (out / "media" / "stale.png").write_bytes(b"of before")
    samples.pretraining(tmp_path / "runs" / "second", "second")
    text, _ = page(tmp_path / "runs", out)
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
    (tmp_path / "runs" / "r" / "media" / "gone.webm").symlink_to("missing.webm")
    with pytest.raises(OSError, match=r"gone\.webm"):
        report([tmp_path / "runs"], out)
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


def test_attention_is_scaled_to_the_strongest_patch_and_none_is_clear():
    maps = np.array([[[0.0, 0.1], [0.2, np.nan]]])
    drawn = attention.transparent(maps)
    assert drawn.shape == (1, 2, 2, 4)
    assert drawn[0, ..., 3].tolist() == [[0, 102], [204, 0]]


def test_long_curves_are_thinned_to_means_and_keep_their_last_step():
    curve = Curve(np.arange(1000), np.where(np.arange(1000) < 500, np.nan, 2.0))
    steps, values = curves.thinned(curve, 100)
    assert (len(steps), steps[-1]) == (100, 999)
    assert np.isnan(values[:50]).all()
    assert (values[50:] == 2).all()


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (0, "0"),
        (-20.7, "−20.7"),
        (4000, "4,000"),
        (1234.5, "1,234"),
        (0.43219, "0.432"),
        (0.00005, "5.0e−5"),
        (float("nan"), "–"),
        (None, "–"),
    ],
)
def test_numbers_are_written_as_people_read_them(value, written):
    assert html.number(value) == written


def command(*args):
    return subprocess.run(
        [sys.executable, "-m", "fovea", "analysis", *map(str, args)], capture_output=True, text=True
    )
