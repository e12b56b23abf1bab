"""What the report shows of probes of version 0.1, which did not declare it themselves."""

from __future__ import annotations

from typing import Any

from fovea.figures import AttentionMaps, Comparison, Verdict
from fovea.results import ProbeResult

ON_MOTION = (
    "Share of a head's attention on patches that change from one screen to the next, over those "
    "patches' own share of the screen, mean over the heads of a block. At 1 a head looks at what "
    "moves no more than an even spread would."
)
R2 = {"r2": "R², higher is better"}
DECLARED: dict[str, dict[str, Any]] = {
    "state": {
        "order": 1,
        "figures": [
            Comparison(table="categories", along="category", choice="game", best=True,
                       measures={**R2, "f1": "F1, higher is better"}, low=-0.5, high=1.0),
        ],
        "verdict": Verdict(
            table="categories", measure="r2", where={"category": "mean"},
            references=["random", "pixels"],
            sentence="R² of a linear read-out of the game's memory on held-out episodes, mean of "
            "{games}, one training run each",
        ),
    },
    "tokens": {
        "order": 2,
        "figures": [
            Comparison(table="r2", along="features", choice="game", best=True, measures=R2,
                       low=-0.5, high=1.0),
        ],
    },
    "attention": {
        "order": 3,
        "figures": [
            AttentionMaps(),
            Comparison(table="heads", along="block", choice="game", kind="lines",
                       title="Attention on what moves", about=ON_MOTION,
                       measures={"on_motion / area": "On motion, over an even spread",
                                 "entropy": "Entropy, in nats, of a head's attention"}),
        ],
        "verdict": Verdict(
            table="heads", measure="on_motion", over="area",
            sentence="share of the attention on what moves, over its share of the screen",
        ),
    },
    "sparsity": {
        "order": 4,
        "figures": [
            Comparison(table="blocks", along="block", choice="game", kind="lines",
                       measures={"hoyer": "Hoyer, 0 dense to 1 sparse",
                                 "near_zero": "Near zero, share of activations",
                                 "dormant": "Dormant, share of units"}),
        ],
    },
    "collapse": {
        "order": 5,
        "figures": [
            Comparison(table="features", along="game", choice="place",
                       measures={"rankme": "RankMe, effective rank",
                                 "lidar": "LiDAR, rank beside noise",
                                 "std": "Std, of features",
                                 "cosine_random": "Cosine random, pairs of screens",
                                 "cosine_neighbours": "Cosine neighbours, in time"}),
        ],
        "verdict": Verdict(
            table="features", measure="rankme", where={"place": "summary"},
            sentence="effective rank (RankMe) of the summary",
        ),
    },
}  # fmt: skip


def completed(name: str, result: ProbeResult) -> ProbeResult:
    """The result, with the figures and the verdict that it lacks where version 0.1 wrote it."""
    result.probe = result.probe or name
    result.title = result.title or name
    if result.version.startswith("0.1."):
        for key, value in DECLARED.get(name, {}).items():
            setattr(result, key, value)
    return result
