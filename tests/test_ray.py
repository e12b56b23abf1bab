"""On a Ray cluster of two nodes, what a killed worker or node did is done again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest
import yaml

ray = pytest.importorskip("ray", reason="pip install 'fovea-rl[ray]'")
from ray.cluster_utils import Cluster  # noqa: E402

from fovea.analysis import study_results  # noqa: E402
from fovea.analysis.study_cells import lock_of, log_of, run_cells  # noqa: E402
from fovea.analysis.study_kinds import Command  # noqa: E402
from fovea.analysis.study_ray import Tasks  # noqa: E402
from fovea.atari.collect import collect  # noqa: E402
from fovea.cluster import LOCAL, connected  # noqa: E402
from fovea.command import UserError  # noqa: E402
from fovea.files import in_use  # noqa: E402
from fovea.runs import read_run  # noqa: E402

pytestmark = [pytest.mark.evidence, pytest.mark.timeout(900)]
ROOT = Path(__file__).parents[1]
SETTINGS = "--steps", "2400", "--shard-steps", "600"


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    """Two nodes of one CPU each beside a head that runs no tasks, all processes of this machine."""
    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
    for _ in range(2):
        made.add_node(num_cpus=1)
    yield made
    made.shutdown()


def until(true: Callable[[], object], seconds: float = 300) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it took too long"
        time.sleep(0.1)


def playing(cluster: Cluster) -> list[int]:
    """The processes of the cluster that play a shard."""
    raylets = {node.all_processes["raylet"][0].process.pid for node in cluster.worker_nodes}
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((path / "stat").read_text().rpartition(")")[2].split()[1])
            if parent in raylets and b"_shard" in (path / "cmdline").read_bytes():
                found.append(int(path.name))
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found


def small_study(folder: Path, runs: Iterable[str] = ("one",), **changes: object) -> Path:
    """The file of a study of VICReg under some names, for 8 samples but where it says otherwise."""
    content = {
        "kind": "encoders", "title": "Small", "games": ["breakout"], "steps": 1200, "samples": 8,
        "batch": 8, "stacks": 9, "seeds": [0], "differences": [],
        "runs": {name: {"config": "vicreg"} for name in runs},
    }  # fmt: skip
    path = folder / "small.yaml"
    path.write_text(yaml.safe_dump(content | changes))
    return path


def study(*words: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "fovea", "analysis", "study", *map(str, words)]
    return subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)


def everything(folder: Path) -> dict[str, bytes]:
    paths = (path for path in folder.rglob("*") if path.is_file() and path.name != ".lock")
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


def test_a_worker_that_is_killed_costs_its_shard_which_is_played_again_to_the_same_bytes(
    cluster: Cluster, tmp_path: Path
) -> None:
    command = [sys.executable, "-m", "fovea", "atari", "collect", "breakout", *SETTINGS]
    run = subprocess.Popen(
        [*command, "--out", str(tmp_path / "ray"), "--ray", cluster.address],
        cwd=ROOT, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    until(lambda: run.poll() is not None or playing(cluster))
    os.kill(playing(cluster)[0], signal.SIGKILL)
    _, said = run.communicate()
    assert run.returncode == 0, said
    collect(["breakout"], tmp_path / "here", steps=2400, shard_steps=600, workers=1)
    assert everything(tmp_path / "ray") == everything(tmp_path / "here")


def test_without_an_address_a_ray_of_its_own_records_the_same_bytes(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "fovea", "atari", "collect", "breakout", *SETTINGS]
    out = tmp_path / "ray"
    subprocess.run([*command, "--out", str(out), "--ray", "--workers", "2"], cwd=ROOT, check=True)
    collect(["breakout"], tmp_path / "here", steps=2400, shard_steps=600, workers=1)
    assert everything(out) == everything(tmp_path / "here")


def test_a_study_whose_node_is_killed_ends_with_every_cell_once(
    cluster: Cluster, tmp_path: Path
) -> None:
    """And with the numbers of a study on one machine: what was begun goes on elsewhere."""
    path = small_study(tmp_path, steps=1200, samples=1600, runs=["one", "two"])
    on_ray, here = tmp_path / "ray", tmp_path / "here"
    cells = [on_ray / "seed-0" / name for name in ("one", "two")]
    run = study(path, "--out", on_ray, "--ray", cluster.address)
    until(lambda: run.poll() is not None or all((one / "metrics.csv").exists() for one in cells))
    assert all(in_use(lock_of(one)) for one in cells)  # each node runs one
    cluster.remove_node(next(iter(cluster.worker_nodes)), allow_graceful=False)
    _, said = run.communicate()
    assert run.returncode == 0, said
    for folder in cells:
        assert read_run(folder).state == "done"
        log = log_of(folder).read_text()
        assert log.count("encoder: ") == 1
        assert "is in use by process" not in log  # what a dead node began ended before
    alone = study(path, "--out", here, "--jobs", "2")
    _, said = alone.communicate()
    assert alone.returncode == 0, said
    scores = [
        {key: result.scores for key, result in study_results.read(out).items()}
        for out in (on_ray, here)
    ]
    assert {key.run for key in scores[1]} >= {"one", "two"}
    assert scores[0] == scores[1]


def test_a_ray_of_ones_own_says_what_failed_in_one_line(tmp_path: Path) -> None:
    cells: dict[Path, list[Command]] = {tmp_path / "one": [["atari", "ls", tmp_path / "no"]]}
    with (
        pytest.raises(UserError, match=r"ended with 2: see the last line of .*/one\.log, mend"),
        connected(LOCAL, 1) as module,
        Tasks(module, 1, "cpu") as tasks,
    ):
        run_cells(cells, tasks, "seed 0", logs=True)
    assert "no recordings in" in (tmp_path / "one.log").read_text()


def test_a_cluster_that_does_not_answer_is_said() -> None:
    with pytest.raises(UserError, match="no Ray cluster answers at auto"), connected("auto"):
        pass


def test_a_study_on_ray_that_is_stopped_leaves_no_process(tmp_path: Path) -> None:
    out = tmp_path / "out"
    run = study(small_study(tmp_path, steps=10**6), "--out", out, "--ray")
    until(lambda: run.poll() is not None or (out / "recordings" / ".lock").exists())
    run.terminate()
    _, said = run.communicate()
    assert run.returncode == 143, said
    assert said.splitlines()[-1] == "terminated: run the same command again to go on"
    left = subprocess.run(["pgrep", "-f", str(out)], capture_output=True, check=False)
    assert left.returncode == 1, left.stdout
