"""An attentive read-out that learns to read the state: learned queries, a linear head a variable.

It is the module that agents learn with `features: {kind: attention}`, trained with all heads
together by gradient descent. The heads are then fitted anew in closed form, as all other read-outs
of the probe are.

Queries and heads are linear in tokens, so that those of whitened tokens are the same functions as
those of tokens as they are; they are found sooner, since no two numbers are correlated.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss

from fovea.pretrain.encoders.encoder import inference
from fovea.pretrain.encoders.feature_norm import whitening
from fovea.pretrain.encoders.read_out import LEARNT, ReadOut
from fovea.probes.linear import Fit, linear
from fovea.seeding import Stream, seeded
from fovea.threads import one_thread

HOW = ReadOut(kind="attention")  # 8 queries of 16 numbers, as agents have it
STEPS = 300
BATCH = 128
RATE = 1e-2  # falls to zero along half a cosine
WHITENED = 1024  # stacks whose tokens are looked at for that
CHECKED = 25  # steps between two looks at validation


def attentive(
    training: Fit, validation: Fit, tokens: Tensor, draw: int = 0, *, seed: int = 0
) -> Tensor:
    """(n, V) float64: predictions for `tokens` (n, N, D) of an attentive read-out of V variables.

    Args:
        training, validation: normed tokens (n, N, D) of any precision, and labels (n, V).
        tokens: of the stacks that are asked for.
        draw, seed: of initial weights and batches.
    """
    some = training.features[:: max(1, len(training.features) // WHITENED)].flatten(0, 1).float()
    mean = some.mean(0)
    axes = whitening(some - mean)

    def whitened(tokens: Tensor) -> Tensor:
        return in_batches(lambda batch: ((batch - mean) @ axes).half(), tokens)

    training, validation = (
        Fit(whitened(fit.features), fit.labels) for fit in (training, validation)
    )
    read_out = trained(training, validation, seed=seed, draw=draw)
    with inference(read_out):
        known, held_out = (
            Fit(in_batches(read_out, fit.features), fit.labels) for fit in (training, validation)
        )
        return linear(known, held_out, in_batches(read_out, whitened(tokens)))


@one_thread()
def trained(training: Fit, validation: Fit, *, seed: int, draw: int) -> nn.Module:
    """The read-out after the steps, of those that are checked, with the least validation error."""
    x, held_out = training.features, validation.features
    labels = torch.cat([training.labels, validation.labels]).double()
    scale = labels.std(0).clamp(min=1e-6)
    mean = training.labels.double().mean(0)
    y, held_out_y = (((fit.labels - mean) / scale).float() for fit in (training, validation))
    with seeded(Stream.PROBE_READ_OUT, seed, draw):
        read_out = LEARNT["attention"](x.shape[1], x.shape[2], HOW).to(x.device)
        head = nn.Linear(HOW.queries * HOW.projection_dim, y.shape[1]).to(x.device)
        both = nn.Sequential(read_out, head)
        adam = torch.optim.Adam(both.parameters(), lr=RATE, fused=True)
        lowest = math.inf
        kept: dict[str, Tensor] = {}
        for step in range(1, STEPS + 1):
            some = torch.randint(len(x), (BATCH,)).to(x.device) if len(x) > BATCH else slice(None)
            adam.param_groups[0]["lr"] = RATE * 0.5 * (1 + math.cos(math.pi * step / STEPS))
            adam.zero_grad()
            mse_loss(both(x[some].float()), y[some]).backward()
            adam.step()
            if step % CHECKED == 0:
                with torch.no_grad():
                    error = float(mse_loss(in_batches(both, held_out), held_out_y))
                if error < lowest:
                    lowest = error
                    kept = {k: v.clone() for k, v in read_out.state_dict().items()}
    read_out.load_state_dict(kept)
    return read_out


def in_batches(function: Callable[[Tensor], Tensor], tokens: Tensor) -> Tensor:
    """What a function makes of (n, N, D) tokens of any precision, a few stacks at a time."""
    return torch.cat([function(batch.float()) for batch in tokens.split(BATCH)])
