"""Run folders in; statistics, figures and the report out.

    from fovea import analysis

    for run in analysis.read_runs(["runs"]):
        print(run.name, run.record.state, run.metrics["loss"].values[-1])
    analysis.report(["runs"], "page")
    analysis.iqm(scores), analysis.interval(analysis.iqm, scores)    # (runs, games)

Nothing is imported before it is asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fovea.lazy import lazily

if TYPE_CHECKING:
    from fovea.analysis.reporting import report as report
    from fovea.analysis.runs import Run as Run
    from fovea.analysis.runs import read_runs as read_runs
    from fovea.analysis.statistics import improvement as improvement
    from fovea.analysis.statistics import interval as interval
    from fovea.analysis.statistics import iqm as iqm
    from fovea.analysis.statistics import mean as mean
    from fovea.analysis.statistics import median as median
    from fovea.analysis.statistics import optimality_gap as optimality_gap

__getattr__, __dir__ = lazily(__name__)
