"""How well is the order of windows predicted in held-out episodes? By game, of finished runs.

    python -m benchmarks.held_out_order runs/quickstart/tov_vicreg

All three windows are treated alike, as they were seen, from the test episodes of the run's own
division; half of them are shown out of order, so that chance is 0.50. Beside it, the share
of samples whose windows all differ: the others have no order and do not count.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from jsonargparse import ArgumentParser
from tqdm import tqdm

from fovea.atari.frames import Frames
from fovea.command import UserError, main
from fovea.old_names import read_config
from fovea.pretrain.objectives.base import Objective
from fovea.pretrain.terms.order import OrderTask
from fovea.pretrain.training.checkpoint import newest, read
from fovea.seeding import Draws, Stream, keyed

BATCH = 250


def trained(run: Path, model: dict) -> Objective:
    """The objective of a run folder, with its encoder and order head as they were last saved.

    Args:
        run: the folder.
        model: how its config describes the objective.

    Raises UserError where there is none, or one without an order task.
    """
    checkpoint = newest(run / "checkpoints")
    if not checkpoint:
        raise UserError(f"{run} holds no checkpoint: train it with fovea pretrain fit")
    parser = ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(Objective, "model")
    parsed = parser.parse_object({"model": model})
    objective = parser.instantiate(parsed).model
    if not isinstance(getattr(objective, "task", None), OrderTask):
        raise UserError(f"{run} was not trained on order: give a run of tov_vicreg, say")
    weights = read(checkpoint)["state_dict"]
    for part in ("encoder", "task"):
        head = f"{part}."
        of_it = {k.removeprefix(head): v for k, v in weights.items() if k.startswith(head)}
        getattr(objective, part).load_state_dict(of_it)
    return objective.eval()


@torch.no_grad()
def order_accuracy(
    objective: Objective, frames: Frames, game: int, samples: int
) -> tuple[float, float]:
    """The accuracy in a game, and the share of samples whose windows all differ."""
    stack = objective.encoder.stack
    starts = frames.starts(stack, objective.offsets)
    starts = starts[frames.game[starts] == game]
    right = counted = torch.zeros(())
    batches = samples // BATCH
    for step in tqdm(range(batches), desc=frames.games[game], unit=" batches", leave=False):
        at = starts[
            torch.randint(
                len(starts), (BATCH,), generator=keyed("cpu", Stream.HELD_OUT_ORDER, game, step)
            )
        ]
        draws = Draws(Stream.HELD_OUT_VIEWS, game, step, BATCH, "cpu")
        places = objective.task.places(at, draws)
        windows = frames.windows(places.flatten(), stack)[:, 0].unflatten(0, (-1, 3))
        order, moved = objective.task.draw_order(windows, draws)
        features = objective.encode(*windows.unbind(1))
        _, share = objective.task([objective.state(one) for one in features], order, moved)
        right = right + share * moved.sum()
        counted = counted + moved.sum()
    return float(right / counted), float(counted / (batches * BATCH))


def run() -> None:
    parser = argparse.ArgumentParser(
        "python -m benchmarks.held_out_order", description=__doc__.split("\n")[0]
    )
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="run folders")
    parser.add_argument("--samples", type=int, default=2000, help="of each game (2000)")
    args = parser.parse_args()
    print(f"{'run':<24}{'game':<16}{'accuracy':>11}{'with motion':>13}")
    for folder in args.runs:
        settings = read_config(folder)
        objective = trained(folder, settings["model"])
        data, seed = settings["data"], settings["seed_everything"]
        frames = Frames.load(data["recordings"]).split(data["fractions"], seed)[2]
        for game, name in enumerate(frames.games):
            right, moving = order_accuracy(objective, frames, game, args.samples)
            print(f"{folder.name:<24}{name:<16}{right:>11.3f}{moving:>13.2f}", flush=True)


if __name__ == "__main__":
    main(run)
