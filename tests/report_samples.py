"""Run folders of realistic size, written by what writes the real ones, and pages as read."""

from __future__ import annotations

import json
from collections.abc import Iterable
from html.parser import HTMLParser
from pathlib import Path
from types import ModuleType, SimpleNamespace

import cv2
import numpy as np

from fovea import by_episode, metrics
from fovea.analysis import figures, report
from fovea.files import write_text
from fovea.probes import action as action_probe
from fovea.probes import attention as attention_probe
from fovea.probes import attribution as attribution_probe
from fovea.probes import collapse as collapse_probe
from fovea.probes import intervention as intervention_probe
from fovea.probes import map as map_probe
from fovea.probes import sparsity as sparsity_probe
from fovea.probes import state as state_probe
from fovea.probes.results import ResultFile
from fovea.results import Measured
from fovea.runs import RunWriter
from fovea.schema import Evaluation
from fovea.tables import Table

GAMES = ("pong", "breakout", "freeway")
ENCODERS = {
    "tov_vicreg": 0.50,
    "vicreg": 0.44,
    "random": 0.38,
    "pixels": 0.55,
    "pixels_pooled": 0.52,
}
CATEGORIES = (
    "agent_localization",
    "small_object_localization",
    "other_localization",
    "score_clock_lives_display",
    "misc",
)
DATA = {game: f"{k}" * 64 for k, game in enumerate(GAMES)}
Logged = Iterable[tuple[int, dict[str, float]]]
"""Steps, and what was logged at each."""


def quickstart(folder: Path) -> Path:
    """Five finished runs: two pretrainings, their probes, two agents."""
    pretraining(folder / "vicreg", "vicreg")
    pretraining(folder / "tov_vicreg", "tov_vicreg", order=True)
    probes(folder / "probes")
    agent(folder / "dqn", "dqn", seed=1)
    agent(folder / "ppo", "ppo", seed=2)
    return folder


def run(folder: Path, kind: str, logged: Logged = (), /, **fields: object) -> Path:
    """run.json, config.yaml and metrics.csv of a run that has ended, or as `fields` say."""
    writer = RunWriter(folder, kind, f"{folder.name} of three games")
    write_text(folder / "config.yaml", f"seed_everything: 0\nmodel: {folder.name}\nlr: 0.0005\n")
    writer.begin(config="config.yaml", seed=fields.get("seed", 0), steps=500, data=DATA)
    for step, values in logged:
        writer.log(step, values)
    writer.update(**{"state": "done", "step": 500} | fields)
    return folder


def pretraining(folder: Path, name: str, /, order: bool = False, **fields: object) -> Path:
    rng = np.random.default_rng(len(name))
    logged = []
    for step in range(10, 501, 10):
        fall = np.exp(-step / 120)
        values = {
            metrics.LOSS: 26 + 24 * fall,
            "loss/invariance": 9 + 3 * fall,
            "loss/variance": 15 + 16 * fall,
            "loss/covariance": 1.5 + fall,
            metrics.FEATURE_STD: 0.9 - 0.8 * fall,
            metrics.LR: 5e-4 * min(1, step / 50),
            metrics.SAMPLES_PER_SECOND: 410.0,
        }
        if order:
            accuracy = 0.97 - 0.47 * fall
            values |= {"loss/order": 0.1 + 0.6 * fall, metrics.ORDER_ACCURACY: accuracy}
        logged.append((step, {key: value * rng.normal(1, 0.02) for key, value in values.items()}))
    return run(folder, "pretrain", logged, **({"batch": 64} | fields))


def agent(folder: Path, name: str, /, seed: int, gain: float = 0, **fields: object) -> Path:
    """An agent in Pong, whose returns rise by `gain` points."""
    rng = np.random.default_rng(seed)
    logged = [
        (step, {
            metrics.RETURN: float(rng.integers(-21, -17)) + gain * (step > 2000),
            metrics.LOSS: rng.exponential(0.05),
            "epsilon": max(0.05, 1 - step / 2000),
        })
        for step in range(900, 4001, 60)
    ]  # fmt: skip
    returns = (rng.integers(-21, -17, 10) + float(gain)).tolist()
    evaluation = Evaluation(
        game="pong",
        protocol="sticky 0.25, 10 episodes, epsilon 0.01",
        trained=4000,
        episodes=10,
        returns=returns,
        lengths=[1000] * 10,
        mean=float(np.mean(returns)),
        hns=(float(np.mean(returns)) + 20.7) / 35.3,
        random=-20.7,
        human=14.6,
        video="media/evaluation.webm",
    )
    title = f"{name.upper()} in Pong, tov_vicreg frozen"
    own = {
        "title": title,
        "seed": seed,
        "step": 4000,
        "steps": 4000,
        "data": {},
        "evaluation": evaluation,
    }
    run(folder, "agent", logged, **(own | fields))
    film(folder / "media" / "evaluation.webm", screens(20))
    return folder


def probes(folder: Path) -> Path:
    run(folder, "probes")
    state(folder)
    attention(folder)
    attribution(folder)
    intervention(folder)
    sparsity(folder)
    collapse(folder)
    action(folder)
    embedding(folder)
    return folder


def unknown(title: str, about: str, **declared: object) -> SimpleNamespace:
    """What stands for the file of a probe that nobody knows."""
    return SimpleNamespace(TITLE=title, ABOUT=about, probe=lambda encoder, seen: None, **declared)


def write_probe(
    folder: Path,
    name: str,
    module: ModuleType | SimpleNamespace,
    encoders: dict[str, Measured],
) -> None:
    """The result of a probe, in the run folder `folder`."""
    result = ResultFile(folder, name, module, DATA, {"samples": 2000, "seed": 0})
    for encoder, measured in encoders.items():
        result.add(encoder, "weights", measured)


def state(folder: Path, levels: dict[str, float] | None = None) -> None:
    rng = np.random.default_rng(0)
    encoders = {}
    for encoder, level in (levels or ENCODERS | {"majority": 0.0}).items():
        rows, variables, overall = [], [], []
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
            overall = [["mean", len(GAMES), float(np.mean(r2s)), float(np.mean(f1s))]]
        encoders[encoder] = Measured(
            [
                Table("categories", "By category", STATE_COLUMNS["categories"], rows),
                Table("overall", "Mean over games", STATE_COLUMNS["overall"], overall),
                Table("variables", "Each variable", STATE_COLUMNS["variables"], variables),
                *label_tables(level, blocks=encoder not in figures.REFERENCES),
                *(of_variables := variable_tables(level, encoder not in WITHOUT_BLOCKS)).tables,
            ],
            of_variables.arrays,
        )
    write_probe(folder, "state", state_probe, encoders)


def label_tables(level: float, blocks: bool) -> list[Table]:
    """R2 by labels and by block, where there are blocks."""
    rng = np.random.default_rng(7)
    labels = {"100": 100, "300": 300, "all": 1400}

    def row(place: float, read_outs: tuple[str, ...]) -> list[float]:
        scores = [level * place + rng.normal(0, 0.02) for _ in read_outs]
        return scores + [0.03] * len(read_outs)

    tables = [
        Table(
            "labels",
            "By number of labelled screens",
            STATE_COLUMNS["labels"],
            [
                [game, name, count, 5, *row((k + 1) / 3, READ_OUTS)]
                for game in GAMES
                for k, (name, count) in enumerate(labels.items())
            ],
        )
    ]
    if blocks:
        rows = [
            [game, block, name, labels[name], 5, *row((block + 1) / 5, LINEAR)]
            for game in GAMES
            for block in range(5)
            for name in ("300", "all")
        ]
        tables.append(Table("blocks", "By block", STATE_COLUMNS["blocks"], rows))
    return tables


WITHOUT_BLOCKS = ("pixels", "pixels_pooled", "majority")


def variable_tables(level: float, blocks: bool) -> Measured:
    """Two variables a game by read-out, and after 5 blocks where there are blocks.

    The ball is read worse the further up, and the paddle as `level` says.
    """
    rows = {"read_out": [], "block": []}
    parts = {"read_out": [], "block": []}
    for game in GAMES:
        rng = np.random.default_rng(len(game))
        truth, off = rng.normal(size=(2, 60, 2))
        for block in range(5) if blocks else (4,):
            noise = [1 - level, 0.2 * block]
            of_it = by_episode.errors(np.repeat(np.arange(6), 10), truth, truth + noise * off)
            r2s = by_episode.r2(of_it, np.ones((1, 6)))[0].tolist()
            for read_out in READ_OUTS:
                names = [(game, "paddle_y", "agent_localization"), (game, "ball_y", "misc")]
                if block == 4:
                    rows["read_out"] += [[*n, read_out, r2s[k]] for k, n in enumerate(names)]
                    parts["read_out"].append(of_it)
                if blocks and read_out in LINEAR:
                    rows["block"] += [[*n, read_out, block, r2s[k]] for k, n in enumerate(names)]
                    parts["block"].append(of_it)
    tables, arrays = [], {}
    for name, of in rows.items():
        if of:
            key = f"variables_by_{name}"
            tables.append(Table(key, f"Each variable, by {name}", STATE_COLUMNS[key], of))
            arrays[f"{key}/errors"] = by_episode.stacked(parts[name])
    return Measured(tables, arrays)


LINEAR = ("cls", "mean", "cls_and_mean", "tokens")
READ_OUTS = (*LINEAR, "attention")
LABELLED = ["labels", "stacks", "draws"]
STATE_COLUMNS = {
    "labels": ["game", *LABELLED, *READ_OUTS, *(f"{r}_std" for r in READ_OUTS)],
    "blocks": ["game", "block", *LABELLED, *LINEAR, *(f"{r}_std" for r in LINEAR)],
    "categories": ["game", "category", "variables", "r2", "f1"],
    "overall": ["category", "games", "r2", "f1"],
    "variables": ["game", "variable", "category", "r2", "f1", "accuracy"],
    "variables_by_read_out": ["game", "variable", "category", "read_out", "r2"],
    "variables_by_block": ["game", "variable", "category", "read_out", "block", "r2"],
}


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
    encoders = {}
    for encoder in ("tov_vicreg", "vicreg", "random"):
        sharp = 0.1 if encoder == "random" else 1.5
        logits = sharp * rng.normal(0, 1, (blocks, heads, count, 6, 6))
        maps = np.exp(logits) / np.exp(logits).sum((-1, -2), keepdims=True)
        arrays = {
            "screens": screens(count),
            "maps": maps.astype(np.float32),
            "rollout": maps.mean((0, 1)).astype(np.float32),
            "game": [GAMES[k * 3 // count] for k in range(count)],
        }
        rows = [
            [
                game,
                block,
                head,
                3.0,
                float(0.08 + sharp * rng.uniform(0, 0.08)),
                0.08,
                0.1,
                0.05,
                30.0,
            ]
            for game in GAMES
            for block in range(blocks)
            for head in range(heads)
        ]
        columns = [
            *("game", "block", "head", "entropy", "on_motion", "area"),
            *("on_objects", "object_area", "distance"),
        ]
        encoders[encoder] = Measured([Table("heads", "Heads", columns, rows)], arrays)
    write_probe(folder, "attention", attention_probe, encoders)


def attribution(folder: Path, count: int = 6) -> None:
    rng = np.random.default_rng(6)
    methods = ("relevance", "occlusion", "integrated_gradients", "random")
    encoders = {}
    for encoder in ("tov_vicreg", "vicreg", "random"):
        rows = [
            [game, method, float(0.1 + 0.2 * rng.random()), 0.1, 0.2, 0.15, 0.6, 0.5]
            for game in GAMES
            for method in methods
        ]
        arrays = {
            "screens": screens(count),
            "maps": rng.random((len(methods), 1, count, 12, 12), np.float32),
            "labels": [method.replace("_", " ") for method in methods],
            "game": [GAMES[k * 3 // count] for k in range(count)],
        }
        columns = ["game", "method", "on_objects", "object_area", "on_motion", "motion_area"]
        columns += ["deletion", "insertion"]
        encoders[encoder] = Measured([Table("methods", "Methods", columns, rows)], arrays)
    write_probe(folder, "attribution", attribution_probe, encoders)


def intervention(folder: Path) -> None:
    rng = np.random.default_rng(7)
    encoders = {}
    for encoder in ("tov_vicreg", "vicreg", "random"):
        rows = [
            [game, edit, by, 1.0, float(rng.random()), follows, None, None]
            for game in GAMES
            for edit, by, follows in (
                ("ball_x", "memory", float(rng.random())),
                ("ball removed", "pasted", None),
            )
        ]
        columns = ["game", "edit", "by", "shown", "change", "follows", "scores", "other_action"]
        encoders[encoder] = Measured([Table("edits", "Edits", columns, rows)])
    write_probe(folder, "intervention", intervention_probe, encoders)


def sparsity(folder: Path, blocks: int = 4) -> None:
    rng = np.random.default_rng(4)
    measures = sparsity_probe.MEASURES
    columns = ["game", "block", "token", *measures]
    encoders = {}
    for encoder in ("tov_vicreg", "vicreg", "random"):
        rows = [
            [game, b, token, *(0.1 + 0.08 * b + 0.05 * rng.random(len(measures))).tolist()]
            for game in GAMES
            for b in range(blocks)
            for token in ("all", "cls", "patches")
        ]
        encoders[encoder] = Measured([Table("blocks", "Blocks", columns, rows)])
    write_probe(folder, "sparsity", sparsity_probe, encoders)


def collapse(folder: Path) -> None:
    rng = np.random.default_rng(5)
    columns = ["game", "place", "std", "rankme", "lidar", "cosine_random", "cosine_neighbours"]
    encoders = {}
    for encoder in ("tov_vicreg", "vicreg", "random"):
        rows = [
            [game, place, 0.4, *rng.uniform(5, 40, 2).tolist(), 0.6, 0.95]
            for game in GAMES
            for place in ("summary", "mean token")
        ]
        ratios = [
            [game, place, *np.sort(rng.uniform(1, 30, 3)).tolist()]
            for game in (*GAMES, "all games")
            for place in ("summary", "mean token", "tokens")
        ]
        of_ratios = ["game", "place", "before", "standardised", "whitened"]
        of_spread = ["game", "place", "centred", *collapse_probe.SPREAD]
        spread = [
            [game, place, centred, *rng.uniform(0, 1, len(collapse_probe.SPREAD)).tolist()]
            for game in (*GAMES, "all games")
            for place in ("summary", "mean token")
            for centred in ("no", "yes")
        ]
        of_blocks = ["game", "place", "block", "std", "rankme", "cosine_random"]
        by_block = [
            [game, place, block, *rng.uniform(0.1, 1, 3).tolist()]
            for game in (*GAMES, "all games")
            for place in ("summary", "mean token")
            for block in range(5)
        ]
        encoders[encoder] = Measured(
            [
                Table("features", "Features by game", columns, rows),
                Table("spread", "Spread", of_spread, spread),
                Table("participation", "Participation ratio", of_ratios, ratios),
                Table("blocks", "By block", of_blocks, by_block),
            ]
        )
    write_probe(folder, "collapse", collapse_probe, encoders)


def action(folder: Path) -> None:
    rng = np.random.default_rng(6)
    columns = ["game", "screen", "weighted_f1", "macro_f1", "accuracy"]
    encoders = {}
    for encoder in ("tov_vicreg", "vicreg", "random", "majority"):
        rows = [
            [game, screen, *rng.uniform(0.1, 0.4, 3).tolist()]
            for game in GAMES
            for screen in ("newest", "oldest")
        ]
        encoders[encoder] = Measured([Table("actions", "Actions", columns, rows)])
    write_probe(folder, "action", action_probe, encoders)


def embedding(folder: Path, count: int = 30) -> None:
    rng = np.random.default_rng(8)
    ram = rng.integers(0, 200, (len(GAMES) * count, 128)).astype(np.uint8)
    encoders = {}
    for encoder in ("tov_vicreg", "vicreg", "random"):
        rows = [[game, axis, 0.5 / axis] for game in GAMES for axis in (1, 2)]
        arrays = {
            "place": rng.normal(0, 1, (len(ram), 2)).astype(np.float32),
            "together": rng.normal(0, 1, (len(ram), 2)).astype(np.float32),
            "screens": np.concatenate([screens(count)[:, ::2, ::2]] * len(GAMES)),
            "game": [game for game in GAMES for _ in range(count)],
            "episode": np.arange(len(ram)) // 10,
            "step": np.arange(len(ram)) % 10,
            "reward": (np.arange(len(ram)) % 7 == 3).astype(np.float32),
            "ram": ram,
        }
        if encoder != "random":  # umap-learn was installed when these were probed
            arrays["umap"] = rng.normal(0, 1, (len(ram), 2)).astype(np.float32)
        table = Table("axes", "Axes", ["game", "axis", "share"], rows)
        encoders[encoder] = Measured([table], arrays)
    write_probe(folder, "map", map_probe, encoders)


def film(path: Path, shown: np.ndarray) -> None:
    """A WebM video of screens (N, H, W) uint8."""
    path.parent.mkdir(parents=True, exist_ok=True)
    size = (2 * shown.shape[2], 2 * shown.shape[1])
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"VP90"), 15, size)
    for screen in shown:
        writer.write(cv2.cvtColor(cv2.resize(screen, size), cv2.COLOR_GRAY2BGR))
    writer.release()


class Text(HTMLParser):
    """What a reader sees, the cells of each row apart, and every attribute."""

    def __init__(self, source: str):
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


def page(folder: Path, out: Path) -> tuple[Text, dict]:
    """The page of a report on `folder`, which is made in `out`, and the data of its charts."""
    index, _ = report([folder], out)
    script = (out / "assets" / "data.js").read_text()
    data = json.loads(script.removeprefix("window.fovea = ").removesuffix(";\n"))
    return Text(index.read_text()), data
