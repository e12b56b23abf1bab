"""What would many seeds in one process save, whose heads learn side by side on one encoder?

    python -m benchmarks.heads [--seeds 10] [--rounds 15]

Times the two parts of an agent's loop on a frozen encoder that seeds could share: encoding the
screens of eight environments, and an update of a C51 head on all tokens (config `dqn_frozen` with
`features.kind: tokens`). Each is done for one seed after the other, and for all of them at once.
Emulators and replay are left out: every seed has its own.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from statistics import median

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, stack_module_state, vmap
from torch.nn.functional import cross_entropy

from benchmarks.turns import machine
from fovea import command
from fovea.pretrain.encoders.encoder import inference
from fovea.pretrain.encoders.vit import Shape, build
from fovea.tables import markdown

ENVS, BATCH, HIDDEN, ACTIONS, BINS = 8, 64, 256, 6, 51


def heads(seeds: int, width: int) -> list[nn.Module]:
    return [
        nn.Sequential(nn.Linear(width, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, ACTIONS * BINS))
        for _ in range(seeds)
    ]


def loss_of(head: nn.Module, values: dict, x: Tensor, later: Tensor, action: Tensor) -> Tensor:
    """Cross-entropy of the chosen action's distribution with the best one's of later features."""
    logits = functional_call(head, values, (x,)).unflatten(1, (ACTIONS, BINS))
    with torch.no_grad():
        then = functional_call(head, values, (later,)).unflatten(1, (ACTIONS, BINS)).softmax(2)
        bins = torch.arange(BINS, dtype=then.dtype)
        best = (then @ bins).argmax(1)
    target = torch.take_along_dim(then, best[:, None, None], 1)[:, 0]
    chosen = torch.take_along_dim(logits, action[:, None, None], 1)[:, 0]
    return cross_entropy(chosen, target)


def update_each(seeds: int, width: int) -> Callable[[], None]:
    """One head after the other learns from a batch of its own."""
    every = heads(seeds, width)
    adams = [torch.optim.Adam(head.parameters(), fused=True) for head in every]
    batches = [batch(width) for _ in every]

    def step() -> None:
        for head, adam, (x, later, action) in zip(every, adams, batches, strict=True):
            adam.zero_grad()
            loss_of(head, dict(head.named_parameters()), x, later, action).backward()
            adam.step()

    return step


def update_all(seeds: int, width: int) -> Callable[[], None]:
    """All heads learn in one batched computation."""
    every = heads(seeds, width)
    values, _ = stack_module_state(every)
    adam = torch.optim.Adam(values.values(), fused=True)
    x, later, action = (torch.stack(of) for of in zip(*(batch(width) for _ in every), strict=True))
    gradient = vmap(grad(lambda values, *of: loss_of(every[0], values, *of)))

    def step() -> None:
        of = {name: value.detach() for name, value in values.items()}
        for name, slope in gradient(of, x, later, action).items():
            values[name].grad = slope
        adam.step()

    return step


def batch(width: int) -> tuple[Tensor, Tensor, Tensor]:
    """Features now and later (BATCH, width), and actions."""
    return torch.randn(BATCH, width), torch.randn(BATCH, width), torch.randint(ACTIONS, (BATCH,))


def main() -> None:
    about = __doc__.split("\n")[0]
    parser = argparse.ArgumentParser("python -m benchmarks.heads", description=about)
    parser.add_argument("--seeds", type=int, default=10, help="(10)")
    parser.add_argument("--rounds", type=int, default=15, help="(15)")
    args = parser.parse_args()
    encoder = build(Shape(positions="sincos"))
    screens = torch.randint(0, 256, (args.seeds, ENVS, encoder.stack, 84, 84), dtype=torch.uint8)
    width = encoder.dim * encoder(screens[0]).tokens.shape[1]

    def encode_each() -> None:
        for some in screens:
            encoder(some)

    ways = {
        "encoding": (encode_each, lambda: encoder(screens.flatten(0, 1))),
        "update": (update_each(args.seeds, width), update_all(args.seeds, width)),
    }
    rows = []
    for part, both in ways.items():
        seconds: tuple[list[float], list[float]] = ([], [])
        for _ in range(args.rounds):
            for taken, step in zip(seconds, both, strict=True):
                with inference(encoder) if part == "encoding" else torch.enable_grad():
                    begin = time.perf_counter()
                    step()
                    taken.append((time.perf_counter() - begin) / args.seeds * 1000)
        each, at_once = map(median, seconds)
        ratios = [a / b for a, b in zip(*seconds, strict=True)]
        rows.append([part, f"{each:.2f}", f"{at_once:.2f}", f"{median(ratios):.2f}"])
    print(machine())
    print(
        *markdown(["part", "ms a seed, one by one", "ms a seed, all at once", "ratio"], rows),
        sep="\n",
    )


if __name__ == "__main__":
    command.main(main)
