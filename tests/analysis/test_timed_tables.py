"""What a timed study keeps says what ran, how fast, and what was left out."""

from __future__ import annotations

import csv
from pathlib import Path

from fovea.analysis import study
from fovea.analysis.timed_study import Plan
from fovea.analysis.timed_tables import probed, write_tables
from fovea.configs import locate
from fovea.results import ProbeResult
from fovea.runs import RunWriter
from fovea.tables import Table

NAMES = ["vicreg", "tov_vicreg", "recipe"]


def test_tables_of_what_has_run_so_far(tmp_path: Path) -> None:
    asked = study.read(locate("gpu", *study.STUDIES))
    plan = Plan(rates={"vicreg": 20_000}, starts={"vicreg": 10}, steps={"vicreg": 900})
    plan.speeds = [["vicreg", "fit", 20_000.0, "samples/s"]]
    notes = ["pretraining recipe: left out, it takes 70 s, 40 remain."]
    kept = tmp_path / "export"
    run = RunWriter(tmp_path / "seed-0" / "vicreg", "pretrain", "VICReg")
    run.log(899, {"loss": 12.5, "samples_per_second": 21_000})
    run.update(state="done", step=900)

    write_tables(asked, tmp_path, NAMES, 0, plan, notes)
    assert probed(tmp_path, 0) == set()
    text = (kept / "study.md").read_text()
    assert text.startswith("# ViT-Ti/14 in the minutes of one call\n\n## Runs\n")
    assert "| vicreg | done | 900 | 900 | 921,600 | 21,000 | 20,000 | 12.5 |  |" in text
    assert "| recipe | not begun | 0 | 0 | 0 |  |  |  |  |" in text
    assert "| vicreg | fit | 20,000.0 | samples/s |" in text
    assert text.endswith(
        "## Left out\n\n* pretraining recipe: left out, it takes 70 s, 40 remain.\n"
    )
    with open(kept / "curves.csv", newline="") as file:
        assert next(iter(csv.DictReader(file))) == {
            "run": "vicreg", "samples": str(899 * 1024), "metric": "loss", "value": "12.5"
        }  # fmt: skip
    assert not (kept / "scores.csv").exists()

    probes = tmp_path / "seed-0" / "probes" / "probes"
    probes.mkdir(parents=True)
    RunWriter(probes.parent, "probes", "Probes").update(state="done")
    scores = {"vicreg": 0.6, "random": 0.4}
    ProbeResult(encoders={
        name: [Table("categories", "", ["game", "category", "variables", "r2", "f1"],
                     [["pong", "mean", 3, v, v / 2]]),
               Table("overall", "", ["category", "games", "r2", "f1"], [["misc", 1, v, v]])]
        for name, v in scores.items()
    }).write(probes / "state.json")  # fmt: skip
    ProbeResult(encoders={
        name: [Table("features", "", ["game", "place", "rankme"], [["pong", "summary", 10 * v]])]
        for name, v in scores.items()
    }).write(probes / "collapse.json")  # fmt: skip
    write_tables(asked, tmp_path, NAMES, 0, plan, [])
    assert probed(tmp_path, 0) == {"vicreg", "random"}
    text = (kept / "study.md").read_text()
    assert "| vicreg | 0.600" in text
    assert "\n## Runs\n" in text
    assert "Left out" not in text
    assert "tov_vicreg - vicreg" not in text
    with open(kept / "scores.csv", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["measure"] == "r2"]
    assert [(row["run"], row["value"]) for row in rows] == [("random", "0.4"), ("vicreg", "0.6")]
