"""How long the state of a game takes to read from cached features, all variables together?

    python -m benchmarks.state runs/quickstart/recordings --game pong [--screens 50000]

Encodes the screens of one game with an untrained ViT-Ti (summary and mean token, 384 numbers; its
patches are large, since features are all that counts here) and times the probe's ridge regressions
and its 256-way softmax heads: those of all variables together, as the probe trains them, and one
variable at a time; and, where it is installed (extra `bench`), scikit-learn's Ridge
and LogisticRegression. Prints seconds and the scores, which are to agree: R2 to rounding with
scikit-learn's, F1 about, since its regression is penalised, where ours stops when validation
no longer improves.
"""

from __future__ import annotations

import argparse
import time
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch

from fovea import command
from fovea.atari.frames import Frames
from fovea.pretrain.encoders.build import build_encoder
from fovea.pretrain.encoders.vit import Shape
from fovea.probes import state
from fovea.probes.feature_cache import cached
from fovea.probes.features import Splits, draw
from fovea.probes.linear import RIDGES, Axes, Fit, ridge
from fovea.probes.softmax import softmax_head


def one_at_a_time(splits: Splits, asked: list) -> list[tuple[float, float]]:
    """R2 and weighted F1 of each variable, whose axes, ridge and head are its own."""
    scores = []
    for variable in asked:
        x = [split.summary_and_mean for split in splits]
        y = [split.ram[:, variable.byte] for split in splits]
        axes = Axes.of(x[0])
        fits = [Fit(axes.whiten(a), b) for a, b in zip(x, y, strict=True)]
        head = softmax_head(*fits[:2])
        read = ridge(axes, Fit(x[0], y[0][:, None]), Fit(x[1], y[1][:, None]), x[2])[:, 0]
        predicted = head.predict(fits[2].features)
        scores.append((state.r2(y[2], read), state.weighted_f1(y[2], predicted)))
    return scores


def together(splits: Splits, asked: list) -> list[tuple[float, float]]:
    """The same, as the probe does it."""
    return [score[:2] for score in state.measure(splits, asked)]


def scikit_learn(splits: Splits, asked: list) -> list[tuple[float, float]]:
    """The same by scikit-learn: a Ridge of all variables for each penalty, then a head for each."""
    from sklearn.linear_model import LogisticRegression, Ridge
    from sklearn.preprocessing import StandardScaler

    scaler = StandardScaler().fit(splits.training.summary_and_mean.double().numpy())
    x = [scaler.transform(split.summary_and_mean.double().numpy()) for split in splits]
    y = [split.ram[:, [variable.byte for variable in asked]].numpy() for split in splits]
    ridges = [Ridge(alpha=penalty * len(x[0])).fit(x[0], y[0]) for penalty in RIDGES]
    errors = [np.square(one.predict(x[1]) - y[1]).sum(0) for one in ridges]
    read = np.stack([one.predict(x[2]) for one in ridges])[
        np.argmin(errors, 0), :, range(len(asked))
    ]
    axes = Axes.of(splits.training.summary_and_mean)
    white = [axes.whiten(split.summary_and_mean).numpy() for split in splits]
    scores = []
    for number, truth in enumerate(splits.test.ram[:, [one.byte for one in asked]].T):
        head = LogisticRegression(max_iter=200).fit(white[0], y[0][:, number])
        predicted = torch.from_numpy(head.predict(white[2]))
        scores.append(
            (state.r2(truth, torch.from_numpy(read[number])), state.weighted_f1(truth, predicted))
        )
    return scores


WAYS = {"together": together, "one at a time": one_at_a_time}
if find_spec("sklearn"):
    WAYS["scikit-learn"] = scikit_learn


def main() -> None:
    parser = argparse.ArgumentParser(
        "python -m benchmarks.state", description=__doc__.split("\n")[0]
    )
    parser.add_argument("recordings", nargs="+")
    parser.add_argument("--game", default="pong")
    parser.add_argument("--cache", type=Path, help="folder that keeps the features")
    parser.add_argument("--screens", type=command.positive, default=50_000)
    args = parser.parse_args()
    frames = Frames.load(args.recordings, [args.game])
    encoder = build_encoder(Shape(size="vit_tiny", patch=42)).eval()
    splits = cached(encoder, draw(frames, encoder.stack, samples=args.screens), args.cache)[
        args.game
    ]
    asked = state.scored_variables(args.game, splits)
    counts = ", ".join(f"{len(split.at):,}" for split in splits)
    numbers = splits.test.summary_and_mean.shape[1]
    print(f"{len(asked)} variables of {args.game}, {counts} stacks, {numbers} numbers each")
    for name, way in WAYS.items():
        began, busy = time.perf_counter(), time.process_time()
        scores = way(splits, asked)
        seconds, worked = time.perf_counter() - began, time.process_time() - busy
        r2, f1 = (sum(of) / len(of) for of in zip(*scores, strict=True))
        print(
            f"{name:<14} {seconds:6.1f} s, {worked:6.1f} s of processors, "
            f"mean R2 {r2:.4f}, mean F1 {f1:.4f}"
        )


if __name__ == "__main__":
    main()
