"""The cells of a study as tasks of Ray."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import Future
from pathlib import Path
from threading import Event
from types import ModuleType

from fovea.analysis.study_cells import run_cell
from fovea.analysis.study_kinds import Command

RETRIES = 3
"""Times that a cell begins anew on another worker where its own was killed."""


class Tasks:
    """Runs cells on the machines of a Ray cluster, which share this folder of files.

    What a killed worker leaves running holds the lock of its cell, so that the cell goes on
    elsewhere only when that has ended. On leaving it by an exception the tasks are cancelled.

    Args:
        ray: the module, connected.
        jobs: cells at once on a machine like this one, which share its cores and a GPU.
        accelerator: where the cells run: a GPU is asked for where the cluster has some, unless it
            is "cpu".
    """

    def __init__(self, ray: ModuleType, jobs: int, accelerator: str):
        cores = int(min(os.cpu_count() or 1, max(node["Resources"].get("CPU", 0)
                    for node in ray.nodes() if node["Alive"])))  # fmt: skip
        self.ray, self.threads = ray, max(1, cores // jobs)
        gpus = 1 / jobs if accelerator != "cpu" and ray.cluster_resources().get("GPU") else 0
        self.task = ray.remote(num_cpus=self.threads, num_gpus=gpus, max_retries=RETRIES)(_run)
        self.pending: list = []

    def __enter__(self) -> Tasks:
        return self

    def __exit__(self, kind: type | None, *_: object) -> None:
        if kind and self.pending:
            for task in self.pending:
                self.ray.cancel(task)
            self.ray.wait(self.pending, num_returns=len(self.pending), timeout=60)

    def submit(self, folder: Path, commands: Sequence[Command], log: Path | None) -> Future[str]:
        task = self.task.remote(os.getcwd(), folder, commands, log, self.threads)
        self.pending.append(task)
        return task.future()


def _run(
    cwd: str, folder: Path, commands: Sequence[Command], log: Path | None, threads: int
) -> str:
    os.chdir(cwd)  # paths are relative to where the study was called
    return run_cell(folder, commands, log, threads, Event())
