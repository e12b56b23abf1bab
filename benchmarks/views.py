"""How alike are two views of a stack of screens, beside other stacks of its game?

    python -m benchmarks.views runs/quickstart/recordings [--samples 256]

Prints the correlation of an untrained vit_micro's summaries of two views, over all stacks and mean
over features: as they are, and less the mean of their game. Where it is near 0 within a game,
whatever compares views has nothing but the game to go by until it sees past the augmentation.
"""

from __future__ import annotations

import argparse

import torch
from torch import Tensor
from torch.nn.functional import batch_norm

from fovea import command
from fovea.atari.frames import Frames
from fovea.pretrain.augment import Chain, augment
from fovea.pretrain.encoders.encoder import inference
from fovea.pretrain.encoders.vit import Shape, build
from fovea.pretrain.terms.centering import center_per_game
from fovea.seeding import Draws, Stream, keyed

VIEWS: dict[str, tuple[Chain, int]] = {  # augmentations of both views, steps from first to second
    "intensity 5 %": ([{"name": "intensity", "scale": 0.05}], 0),
    "shift 1 px": ([{"name": "shift", "pixels": 1}], 0),
    "shift 2 px": ([{"name": "shift", "pixels": 2}], 0),
    "shift 4 px": ([{"name": "shift", "pixels": 4}], 0),
    "1 step later": ([], 1),
    "4 steps later": ([], 4),
}


def correlation(x: Tensor, y: Tensor) -> float:
    """The correlation of x and y (B, D) over the batch, mean over features."""
    x, y = (batch_norm(z, None, None, training=True) for z in (x, y))
    return float((x * y).mean())


def main() -> None:
    about = __doc__.split("\n")[0]
    parser = argparse.ArgumentParser("python -m benchmarks.views", description=about)
    parser.add_argument("recordings", nargs="+", metavar="FOLDER")
    parser.add_argument("--samples", type=int, default=256, help="stacks of all games (256)")
    args = parser.parse_args()
    frames, encoder = Frames.load(args.recordings), build(Shape(positions="sincos"))
    starts = frames.starts(encoder.stack, (0, 4))
    order = torch.randperm(len(starts), generator=keyed("cpu", Stream.ORDER, 0))
    at = starts[order[: args.samples]]
    game = frames.game[at]
    draws = Draws(Stream.VIEWS, 0, 0, len(at), "cpu")
    print(f"{'two views':<15}{'as they are':>13}{'within a game':>15}")
    for name, (chain, later) in VIEWS.items():
        windows = frames.windows(at, encoder.stack, (0, later)).unbind(1)
        with inference(encoder):
            first, second = (encoder(augment(one, draws, chain)).summary for one in windows)
        within = correlation(*(center_per_game(view, game) for view in (first, second)))
        print(f"{name:<15}{correlation(first, second):>13.2f}{within:>15.2f}")


if __name__ == "__main__":
    command.main(main)
