"""How long the report of many long runs takes to make and to open, and how large it is.

    python -m benchmarks.report --runs 200 --points 10000

Runs are of agents in two games, five seeds a method, with a return and a loss at each point.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from selenium.webdriver.common.by import By

from benchmarks.chromium import chromium, draw_all, drawn, resize
from fovea.analysis import report
from fovea.command import UserError
from fovea.files import write_json
from fovea.schema import RunRecord

SEEDS, GAMES = 5, ("pong", "breakout")
LAST = 400_000  # step


def run(folder: Path, method: int, seed: int, points: int) -> None:
    """Write a run folder of `points` points."""
    rng = np.random.default_rng((method, seed))
    steps = np.sort(rng.choice(LAST, points, replace=False))
    curves = {
        "return": method * np.tanh(steps / 1e5) + rng.normal(0, 3, points),
        "loss": np.exp(-steps / 1e5) + rng.exponential(0.1, points),
    }
    folder.mkdir(parents=True)
    with open(folder / "metrics.csv", "w") as file:
        file.write("step,name,value\n")
        for name, values in curves.items():
            file.writelines(
                f"{s},{name},{v!r}\n" for s, v in zip(steps, values.tolist(), strict=True)
            )
    record = RunRecord(
        name=f"method-{method}", kind="agent", title="an agent", state="done", seed=seed,
        step=LAST, steps=LAST, seconds=1000.0, game=GAMES[method % 2], config="config.yaml",
    )  # fmt: skip
    write_json(folder / "run.json", record.plain())
    (folder / "config.yaml").write_text(f"model:\n  lr: {1e-4 * (1 + method)}\nseed: {seed}\n")


def runs(place: Path, count: int, points: int) -> None:
    """Write `count` run folders below `place`."""
    for k in range(count):
        method, seed = divmod(k, SEEDS)
        game = GAMES[method % 2]
        run(place / f"seed-{seed}" / game / f"method-{method}", method, seed, points)


def size(page: Path) -> float:
    """Of all files of a page, in MB."""
    return sum(path.stat().st_size for path in page.rglob("*") if path.is_file()) / 1e6


def opened(index: Path) -> Iterator[str]:
    """What a browser needs for a page, as text."""
    with chromium() as browser:
        resize(browser, 1440)
        began = time.monotonic()
        browser.get(index.as_uri())
        drawn(browser, browser.find_element(By.CSS_SELECTOR, ".charts"))
        yield f"open, with its first figure drawn: {time.monotonic() - began:.1f} s"
        began = time.monotonic()
        count = draw_all(browser)
        yield f"all {count} groups of figures: {time.monotonic() - began:.1f} s"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--points", type=int, default=10_000)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        place, page = Path(folder, "runs"), Path(folder, "page")
        runs(place, args.runs, args.points)
        began, worked = time.monotonic(), time.process_time()
        report([place], page)
        seconds, work = time.monotonic() - began, time.process_time() - worked
        print(
            f"{args.runs} runs of {args.points:,} points: {seconds:.1f} s, {work:.1f} s of a core"
        )
        print(f"page: {size(page):.1f} MB")
        try:
            print(", ".join(opened(page / "index.html")))
        except UserError as reason:
            print(f"not opened: {reason}")


if __name__ == "__main__":
    main()
