"""Run folders in; statistics, figures and the report out.

from fovea import analysis
for run in analysis.read_runs(["runs"]):
    print(run.name, run.record.state, run.metrics["loss"].values[-1])
analysis.report(["runs"], "page")
analysis.iqm(scores), analysis.interval(analysis.iqm, scores)    # (runs, games)
"""

from __future__ import annotations

from fovea.lazy import lazily

STATISTICS = ("mean", "median", "iqm", "optimality_gap", "improvement", "interval")

__getattr__, __dir__ = lazily(
    __name__,
    {
        "Run": "fovea.analysis.runs",
        "read_runs": "fovea.analysis.runs",
        "report": "fovea.analysis.reporting",
        **dict.fromkeys(STATISTICS, "fovea.analysis.statistics"),
    },
)
