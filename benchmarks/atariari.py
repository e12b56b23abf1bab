"""Does the probe say of a random CNN what AtariARI says of it?

    python -m benchmarks.atariari pong breakout boxing ms_pacman seaquest \\
        --results docs/results/atariari

Follows the paper (Anand et al. 2019, arXiv 1906.08226) where this project does otherwise: a single
grey frame of 210 x 160 pixels, a random policy that never rests, a lost life as the end of an
episode, episodes of 64 steps or more, 50,000 steps a game. A CNN with random orthogonal weights
reads each frame once, and its 256 numbers are read by heads that are trained in two ways: as in the
paper, on the numbers as they are, until accuracy on validation has not risen for 15 epochs
(`plain`), and to convergence on their principal axes, as the probe `state` does it. Of the paper's
way one thing differs: heads are tested on each frame once, not on frames drawn by their episodes.

Prints F1 (mean of categories) beside the paper's, and keeps each game and seed as soon as it is
there: the same command again goes on.
"""

from __future__ import annotations

import argparse
import csv
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from tqdm import tqdm

from fovea import checkout, command
from fovea.atari.emulator import Emulator, Settings
from fovea.atari.games import find
from fovea.atari.ram import Variable, varied
from fovea.files import write_text
from fovea.probes.linear import Axes, Fit
from fovea.probes.softmax import softmax_heads
from fovea.probes.state import by_category, weighted_f1
from fovea.tables import aligned

# The columns "majority" and "random CNN" of the paper's table of F1 on random play.
PUBLISHED = {
    "asteroids": (0.28, 0.34), "berzerk": (0.18, 0.43), "bowling": (0.33, 0.48),
    "boxing": (0.01, 0.19), "breakout": (0.17, 0.51), "demon_attack": (0.16, 0.26),
    "freeway": (0.01, 0.50), "frostbite": (0.08, 0.57), "hero": (0.22, 0.75),
    "montezuma_revenge": (0.08, 0.68), "ms_pacman": (0.10, 0.49), "pitfall": (0.07, 0.34),
    "pong": (0.10, 0.17), "private_eye": (0.23, 0.70), "qbert": (0.29, 0.49),
    "riverraid": (0.04, 0.34), "seaquest": (0.29, 0.57), "space_invaders": (0.14, 0.41),
    "tennis": (0.09, 0.41), "venture": (0.09, 0.36), "video_pinball": (0.09, 0.37),
    "yars_revenge": (0.01, 0.22),
}  # fmt: skip
SHARES = (0.7, 0.8)  # of the episodes, where those of validation and of the test begin
SHORTEST = 64  # steps of an episode
BATCH = 64  # frames that are encoded at once, and that a step of the plain heads learns from
EPOCHS, RATE, LOWEST, EPSILON = 100, 3e-4, 1e-5, 1e-5  # of these
SLOWER, PATIENCE, STOP = 0.2, 5, 15  # epochs without a higher accuracy: a lower rate, and the end
BYTES = 256
COLUMNS = "game", "seed", "steps", "majority", "plain", "converged", "commit"


class Episode(NamedTuple):
    """A life that a random policy played."""

    frames: np.ndarray
    """(N, 210, 160) uint8."""
    ram: np.ndarray
    """(N, 128) uint8."""


def random_cnn(seed: int) -> nn.Module:
    """AtariARI's encoder, of 210 x 160 pixels, with orthogonal weights."""
    torch.manual_seed(seed)
    shapes = [(1, 32, 8, 4), (32, 64, 4, 2), (64, 128, 4, 2), (128, 64, 3, 1)]
    layers: list[nn.Module] = []
    for channels, features, size, stride in shapes:
        layers += [nn.Conv2d(channels, features, size, stride), nn.ReLU()]
    network = nn.Sequential(*layers, nn.Flatten(), nn.Linear(64 * 9 * 6, 256))
    for layer in network:
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.orthogonal_(layer.weight, nn.init.calculate_gain("relu"))
            nn.init.zeros_(layer.bias)
    return network


def episodes(game: str, seed: int) -> Iterator[Episode]:
    """Lives without end."""
    rng = np.random.default_rng([seed, 0])
    emulator = Emulator(game, Settings(sticky=0.0, noop_max=31, fire_reset=True), seed)
    while True:
        emulator.reset(int(rng.integers(31)))
        over = False
        while not over:
            frames, rams, lives = [], [], emulator.lives
            while not over and emulator.lives >= lives:
                frames.append(emulator.frame.copy())
                rams.append(emulator.ram)
                _, terminal, truncated = emulator.step(int(rng.integers(1, len(emulator.actions))))
                over = terminal or truncated
            if len(frames) >= SHORTEST:
                yield Episode(np.stack(frames), np.stack(rams))


@torch.inference_mode()
def encoded(encoder: nn.Module, frames: np.ndarray) -> Tensor:
    """(N, 256) of (N, 210, 160)."""
    return torch.cat(
        [encoder(some[:, None] / 255) for some in torch.from_numpy(frames).split(BATCH)]
    )


class Scores(NamedTuple):
    """F1, mean of categories: of always the most frequent byte, and of heads on a random CNN."""

    majority: float
    plain: float
    """As AtariARI trains them."""
    converged: float


def plain_heads(
    x: Sequence[Tensor], labels: Sequence[Tensor], lengths: Tensor, seed: int
) -> nn.ModuleList:
    """A 256-way softmax of each variable, trained as in the paper.

    Args:
        x: numbers (n, 256) of training and validation.
        labels: bytes (n, V) of both.
        lengths: (E,) of the training episodes, of which each is seen as often as any other.
        seed: of the weights and the order.

    Returns V heads, with the weights that training stopped with.
    """
    torch.manual_seed(seed)
    heads = nn.ModuleList(nn.Linear(x[0].shape[1], BYTES) for _ in labels[0].T)
    every = [Learning.of(head) for head in heads]
    begins = lengths.cumsum(0) - lengths
    for _ in tqdm(range(EPOCHS), desc="plain heads", unit=" epochs"):
        going = [number for number, one in enumerate(every) if one.since < STOP]
        if not going:
            break
        for drawn in torch.randint(len(lengths), (len(x[0]),)).split(BATCH):
            some = begins[drawn] + (torch.rand(len(drawn)) * lengths[drawn]).long()
            features, truth = x[0][some], labels[0][some]
            for number in going:
                loss = cross_entropy(heads[number](features), truth[:, number])
                every[number].adam.zero_grad()
                loss.backward()
                every[number].adam.step()
        with torch.inference_mode():
            for number in going:
                said = heads[number](x[1]).argmax(1)
                every[number].look(float((said == labels[1][:, number]).float().mean()))
    return heads


@dataclass
class Learning:
    """How a head learns, and for how long it has not become better."""

    adam: torch.optim.Adam
    slower: torch.optim.lr_scheduler.ReduceLROnPlateau
    best: float = -1.0
    """Accuracy on validation."""
    since: int = 0
    """Epochs since then."""

    @classmethod
    def of(cls, head: nn.Linear) -> Learning:
        adam = torch.optim.Adam(head.parameters(), lr=RATE, eps=EPSILON, fused=True)
        plateau = torch.optim.lr_scheduler.ReduceLROnPlateau
        return cls(adam, plateau(adam, "max", SLOWER, PATIENCE, min_lr=LOWEST))

    def look(self, accuracy: float) -> None:
        self.since = 0 if accuracy > self.best else self.since + 1
        self.best = max(self.best, accuracy)
        self.slower.step(accuracy)


def measure(game: str, seed: int, steps: int) -> Scores:
    """Play, encode, and train both kinds of heads."""
    encoder = random_cnn(seed)
    features, rams, hashes = [], [], []
    with tqdm(total=steps, desc=f"{game}, seed {seed}", unit=" steps") as shown:
        for played in episodes(game, seed):
            features.append(encoded(encoder, played.frames))
            rams.append(torch.from_numpy(played.ram.astype(np.int64)))
            hashes.append([hash(frame.tobytes()) for frame in played.frames])
            shown.update(len(played.ram))
            if shown.n >= steps:
                break
    order = np.random.default_rng([seed, 1]).permutation(len(features))
    parts = np.split(order, [round(share * len(order)) for share in SHARES])
    asked = varied(game, torch.cat(rams).numpy())
    x, y = ([torch.cat([of[k] for k in part]) for part in parts] for of in (features, rams))
    y = [ram[:, [variable.byte for variable in asked]] for ram in y]
    seen = {one for part in parts[:2] for k in part for one in hashes[k]}
    new = torch.tensor([one not in seen for k in parts[2] for one in hashes[k]])
    x[2], y[2] = x[2][new], y[2][new]
    axes = Axes.of(x[0])
    white = [axes.whiten(some) for some in x]
    heads = softmax_heads(Fit(white[0], y[0]), Fit(white[1], y[1]), seed=seed)
    lengths = torch.tensor([len(rams[k]) for k in parts[0]])
    plain = plain_heads(x[:2], y[:2], lengths, seed)
    with torch.inference_mode():
        likeliest = torch.stack([head(x[2]).argmax(1) for head in plain], 1)
    answers = {
        "majority": y[0].mode(0).values.expand_as(y[2]),
        "plain": likeliest,
        "converged": torch.stack([head.predict(white[2]) for head in heads], 1),
    }
    return Scores(**{name: f1(asked, y[2], of) for name, of in answers.items()})


def f1(asked: list[Variable], labels: Tensor, answers: Tensor) -> float:
    """Weighted F1 of each variable, mean of those of a category, mean of categories."""
    scores = [(weighted_f1(*pair),) * 2 for pair in zip(labels.T, answers.T, strict=True)]
    return by_category(asked, scores)[-1][-1]


def main() -> None:
    asked = argparse.ArgumentParser("python -m benchmarks.atariari", description=__doc__)
    asked.formatter_class = argparse.RawDescriptionHelpFormatter
    asked.add_argument("games", nargs="+", type=lambda name: find(name).rom_id)
    asked.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2], help="(0 1 2)")
    asked.add_argument("--steps", type=command.positive, default=50_000, help="a game (50000)")
    asked.add_argument("--results", type=Path, help="folder that keeps scores.csv")
    args = asked.parse_args()
    kept = args.results / "scores.csv" if args.results else None
    rows: list[dict[str, str]] = []
    if kept and kept.exists():
        rows = list(csv.DictReader(kept.read_text(encoding="utf-8").splitlines()))
    for game in args.games:
        for seed in args.seeds:
            key = [game, str(seed), str(args.steps)]
            if any([row[name] for name in COLUMNS[:3]] == key for row in rows):
                continue
            scores = [f"{score:.4f}" for score in measure(game, seed, args.steps)]
            rows.append(dict(zip(COLUMNS, [*key, *scores, checkout.commit() or ""], strict=True)))
            if kept:
                kept.parent.mkdir(parents=True, exist_ok=True)
                lines = [",".join(COLUMNS), *(",".join(row.values()) for row in rows)]
                write_text(kept, "\n".join(lines) + "\n")
    found = defaultdict(list)
    for row in rows:
        if row["steps"] == str(args.steps):
            found[row["game"]].append(Scores(*(float(row[name]) for name in Scores._fields)))
    table = [["game", "majority", "the paper's", "plain", "the paper's", "converged", "each seed"]]
    for game, scores in found.items():
        majority, plain, converged = np.mean(scores, axis=0)
        theirs = PUBLISHED.get(game, (np.nan, np.nan))
        numbers = [f"{number:.2f}" for number in (majority, theirs[0], plain, theirs[1], converged)]
        each = ", ".join(f"{of.plain:.2f} and {of.converged:.2f}" for of in scores)
        table.append([game, *numbers, each])
    print(*aligned(table, range(1, 6)), sep="\n")


if __name__ == "__main__":
    main()
