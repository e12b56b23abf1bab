"""Run folders of realistic size, written through their formats as the other rooms write them."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np

GAMES = ("pong", "breakout", "freeway")
ENCODERS = {"tov_vicreg": 0.50, "vicreg": 0.44, "random": 0.38, "pixels": 0.55}
CATEGORIES = (
    "agent_localization",
    "small_object_localization",
    "other_localization",
    "score_clock_lives_display",
    "misc",
)


def quickstart(folder: Path) -> Path:
    """Five finished runs: two pretrainings, their probes, two agents."""
    pretraining(folder / "vicreg", "vicreg")
    pretraining(folder / "tov_vicreg", "tov_vicreg", order=True)
    probes(folder / "probes")
    agent(folder / "dqn", "dqn", seed=1)
    agent(folder / "ppo", "ppo", seed=2)
    return folder


def run(folder: Path, kind: str, metrics: list[str] = (), /, **fields: object) -> Path:
    """run.json, config.yaml and metrics.csv."""
    folder.mkdir(parents=True)
    record = {
        "name": folder.name,
        "kind": kind,
        "title": f"{folder.name} of three games",
        "state": "done",
        "reason": None,
        "step": 500,
        "steps": 500,
        "started": "2026-11-24T10:00:00+0000",
        "updated": "2026-11-24T10:02:00+0000",
        "seconds": 121.4,
        "command": f"python -m {kind} fit -c {folder.name}.yaml",
        "versions": {"fovea-rl": "0.1.0", "torch": "2.14.1", "timm": "1.0.31"},
        "seed": 0,
        "data": {game: f"{k}" * 64 for k, game in enumerate(GAMES)},
        "config": "config.yaml",
    }
    (folder / "run.json").write_text(json.dumps(record | fields))
    (folder / "config.yaml").write_text(f"seed_everything: 0\nmodel: {folder.name}\nlr: 0.0005\n")
    if metrics:
        (folder / "metrics.csv").write_text("step,name,value\n" + "".join(metrics))
    return folder


def pretraining(folder: Path, name: str, /, order: bool = False, **fields: object) -> Path:
    rng = np.random.default_rng(len(name))
    lines = []
    for step in range(10, 501, 10):
        fall = np.exp(-step / 120)
        values = {
            "loss": 26 + 24 * fall,
            "loss/invariance": 9 + 3 * fall,
            "loss/variance": 15 + 16 * fall,
            "loss/covariance": 1.5 + fall,
            "feature_std": 0.9 - 0.8 * fall,
            "lr": 5e-4 * min(1, step / 50),
            "samples_per_second": 410.0,
        }
        if order:
            values |= {"loss/order": 0.1 + 0.6 * fall, "order_accuracy": 0.97 - 0.47 * fall}
        lines += [f"{step},{k},{float(v * rng.normal(1, 0.02))!r}\n" for k, v in values.items()]
    return run(folder, "pretrain", lines, **fields)


def agent(folder: Path, name: str, /, seed: int, **fields: object) -> Path:
    rng = np.random.default_rng(seed)
    lines = []
    for step in range(900, 4001, 60):
        lines.append(f"{step},return,{float(rng.integers(-21, -17))!r}\n")
        lines.append(f"{step},loss,{float(rng.exponential(0.05))!r}\n")
        lines.append(f"{step},epsilon,{max(0.05, 1 - step / 2000)!r}\n")
    returns = rng.integers(-21, -17, 10).astype(float).tolist()
    evaluation = {
        "game": "pong",
        "protocol": "sticky 0.25, 10 episodes, epsilon 0.01",
        "episodes": 10,
        "returns": returns,
        "lengths": [1000] * 10,
        "mean": float(np.mean(returns)),
        "hns": (float(np.mean(returns)) + 20.7) / 35.3,
        "random": -20.7,
        "human": 14.6,
        "video": "media/evaluation.webm",
    }
    title = f"{name.upper()} in Pong, tov_vicreg frozen"
    size = {"step": 4000, "steps": 4000, "data": {}, "evaluation": evaluation}
    run(folder, "agent", lines, **(size | {"title": title} | fields))
    film(folder / "media" / "evaluation.webm", screens(20))
    return folder


def probes(folder: Path) -> Path:
    run(folder, "probes")
    state(folder)
    attention(folder)
    sparsity(folder)
    collapse(folder)
    return folder


def write_probe(
    folder: Path, name: str, title: str, about: str, encoders: dict[str, list[dict]], **arrays
) -> None:
    (folder / "probes").mkdir(exist_ok=True)
    found = {
        "probe": name,
        "title": title,
        "about": about,
        "settings": {"screens": 2000, "seed": 0},
        "encoders": {encoder: {"tables": tables} for encoder, tables in encoders.items()},
    }
    (folder / "probes" / f"{name}.json").write_text(json.dumps(found))
    if arrays:
        np.savez_compressed(folder / "probes" / f"{name}.npz", **arrays)


def table(name: str, title: str, columns: list[str], rows: list[list], note: str = "") -> dict:
    return {"name": name, "title": title, "columns": columns, "rows": rows, "note": note}


def state(folder: Path, levels: dict[str, float] | None = None) -> None:
    rng = np.random.default_rng(0)
    encoders = {}
    for encoder, level in (levels or ENCODERS | {"majority": 0.0}).items():
        rows, variables = [], []
        for game in GAMES:
            r2s, f1s = [], []
            for k, category in enumerate(CATEGORIES[:4]):
                r2 = (
                    float(np.clip(level + rng.normal(0.1 - 0.1 * k, 0.05), -0.8, 1))
                    if level
                    else 0.0
                )
                f1 = float(np.clip(level + 0.2 - 0.05 * k + rng.normal(0, 0.03), 0.05, 1))
                rows.append([game, category, k + 2, r2, f1])
                variables += [[game, f"byte_{k}_{v}", category, r2, f1, f1] for v in range(k + 2)]
                r2s.append(r2)
                f1s.append(f1)
            rows.append([game, "mean", 14, float(np.mean(r2s)), float(np.mean(f1s))])
        encoders[encoder] = [
            table("categories", "By category", ["game", "category", "variables", "r2", "f1"], rows),
            table(
                "variables",
                "By variable",
                ["game", "variable", "category", "r2", "f1", "accuracy"],
                variables,
            ),
        ]
    about = "How much of the game's memory a linear read-out recovers on held-out episodes."
    write_probe(folder, "state", "State", about, encoders)


def screens(count: int) -> np.ndarray:
    """Something like Pong, (count, 84, 84) uint8."""
    shown = np.full((count, 84, 84), 87, np.uint8)
    shown[:, :14] = shown[:, 77:] = 147
    for k, screen in enumerate(shown):
        screen[20 + k % 40 : 27 + k % 40, 8:10] = 148
        screen[60 - k % 35 : 67 - k % 35, 74:76] = 147
        screen[25 + 2 * k % 45 :, 12 + 3 * k % 60 :][:2, :2] = 236
    return shown


def attention(folder: Path, blocks: int = 4, heads: int = 3, count: int = 9) -> None:
    rng = np.random.default_rng(3)
    encoders, arrays = {}, {}
    for encoder in ("tov_vicreg", "vicreg", "random"):
        sharp = 0.1 if encoder == "random" else 1.5
        logits = sharp * rng.normal(0, 1, (blocks, heads, count, 6, 6))
        maps = np.exp(logits) / np.exp(logits).sum((-1, -2), keepdims=True)
        rollout = maps.mean((0, 1))
        arrays |= {
            f"{encoder}/screens": screens(count),
            f"{encoder}/maps": maps.astype(np.float32),
            f"{encoder}/rollout": rollout.astype(np.float32),
            f"{encoder}/game": np.array([GAMES[k * 3 // count] for k in range(count)]),
        }
        rows = [
            [game, block, head, 3.0, float(0.08 + sharp * rng.uniform(0, 0.08)), 0.08]
            for game in GAMES
            for block in range(blocks)
            for head in range(heads)
        ]
        columns = ["game", "block", "head", "entropy", "on_motion", "area"]
        encoders[encoder] = [table("heads", "By head", columns, rows)]
    about = "Where the summary token of each head looks, and how much of that is on what moves."
    write_probe(folder, "attention", "Attention", about, encoders, **arrays)


def sparsity(folder: Path, blocks: int = 4) -> None:
    rng = np.random.default_rng(4)
    encoders = {
        encoder: [
            table(
                "blocks",
                "By block",
                ["game", "block", "hoyer", "near_zero", "dormant"],
                [
                    [game, b, *(float(v) for v in 0.1 + 0.08 * b + 0.05 * rng.random(3))]
                    for game in GAMES
                    for b in range(blocks)
                ],
            )
        ]
        for encoder in ("tov_vicreg", "vicreg", "random")
    }
    about = "How few units carry a block's activations after its non-linearity."
    write_probe(folder, "sparsity", "Sparsity", about, encoders)


def collapse(folder: Path) -> None:
    rng = np.random.default_rng(5)
    columns = ["game", "place", "std", "rankme", "lidar", "cosine_random", "cosine_neighbours"]
    encoders = {
        encoder: [
            table(
                "features",
                "Features",
                columns,
                [
                    [game, place, 0.4, *rng.uniform(5, 40, 2).tolist(), 0.6, 0.95]
                    for game in GAMES
                    for place in ("summary", "mean token")
                ],
            )
        ]
        for encoder in ("tov_vicreg", "vicreg", "random")
    }
    about = "Whether features still differ: one that has collapsed gives the same for every screen."
    write_probe(folder, "collapse", "Collapse", about, encoders)


def film(path: Path, shown: np.ndarray) -> None:
    """A WebM video of screens (N, H, W) uint8."""
    path.parent.mkdir(parents=True, exist_ok=True)
    size = (2 * shown.shape[2], 2 * shown.shape[1])
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"VP90"), 15, size)
    for screen in shown:
        writer.write(cv2.cvtColor(cv2.resize(screen, size), cv2.COLOR_GRAY2BGR))
    writer.release()
