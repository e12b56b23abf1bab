"""When is temporal order learned: with the mean of a sample's windows left in, or taken out?

    python -m benchmarks.order runs/quickstart/recordings [--samples 12800]

Trains a vit_micro on the order term of TOV-VICReg alone, from the same weights and on the same
windows, with the head given the windows' features as they are or less their mean over the sample.
Prints the accuracy, over the samples since the line before; 0.50 is chance.
"""

from __future__ import annotations

import argparse

import torch
from torch import Tensor
from tqdm import tqdm

from fovea import command
from fovea.atari.frames import Frames
from fovea.pretrain.objectives.temporal_order import TemporalOrder
from fovea.pretrain.terms.centering import center_per_sample
from fovea.pretrain.terms.order import accuracy, order_logits, order_loss
from fovea.seeding import Draws, Stream, keyed

LINES = 10
WAYS = {"as they are": lambda windows: windows, "centred per sample": center_per_sample}


def learn(frames: Frames, way: str, samples: int, batch: int, gaps: tuple[int, ...]) -> list[float]:
    """Accuracies of LINES equal parts of the training on `samples` samples."""
    objective = TemporalOrder(gaps=gaps)
    optimiser = torch.optim.AdamW(objective.parameters(), lr=1e-3, weight_decay=0.05)
    starts = frames.starts(objective.encoder.stack, objective.offsets)
    right: list[Tensor] = []
    steps = samples // batch
    for step in tqdm(range(steps), desc=way, unit=" batches"):
        at = starts[
            torch.randint(len(starts), (batch,), generator=keyed("cpu", Stream.ORDER, 0, step))
        ]
        draws = Draws(Stream.VIEWS, 0, step, batch, "cpu")
        places = objective.places(at, frames, draws)
        windows = frames.windows(places.flatten(), objective.encoder.stack).unflatten(0, (-1, 3))
        three, order, moved = objective.views(windows[:, :, 0], draws)
        features = torch.stack(
            [objective.state(window) for window in objective.encode(*three.unbind(1))], 1
        )
        logits = order_logits(objective.task.head, WAYS[way](features), order)
        shuffled = (order != torch.arange(3)).any(1)
        optimiser.zero_grad()
        order_loss(logits, shuffled, moved).backward()
        optimiser.step()
        right.append(accuracy(logits, shuffled, moved))
    parts = torch.stack(right)[: steps - steps % LINES].view(LINES, -1)
    return parts.mean(1).tolist()


def main() -> None:
    parser = argparse.ArgumentParser(
        "python -m benchmarks.order", description=__doc__.split("\n")[0]
    )
    parser.add_argument("recordings", nargs="+", metavar="FOLDER")
    parser.add_argument("--games", nargs="+", help="only these (all)")
    parser.add_argument("--samples", type=int, default=12_800, help="of training (12800)")
    parser.add_argument("--batch", type=int, default=64, help="(64)")
    parser.add_argument("--gaps", type=int, nargs="+", default=[4], help="agent steps (4)")
    args = parser.parse_args()
    frames = Frames.load(args.recordings, games=args.games)
    columns = [learn(frames, way, args.samples, args.batch, tuple(args.gaps)) for way in WAYS]
    print(f"{'samples':>8}" + "".join(f"{way:>20}" for way in WAYS))
    for line, row in enumerate(zip(*columns, strict=True), start=1):
        print(f"{line * args.samples // LINES:>8}" + "".join(f"{value:>20.2f}" for value in row))


if __name__ == "__main__":
    command.main(main)
