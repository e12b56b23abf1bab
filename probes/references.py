"""What an encoder is compared with: an untrained one, raw pixels, and the most frequent answer."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from fovea.pretrain.encoders.each_screen import EachScreen
from fovea.pretrain.encoders.encoder import Encoder, Features, innermost
from fovea.pretrain.encoders.multi_query import make_read_out
from fovea.pretrain.encoders.pictures import Pictures
from fovea.pretrain.terms.principal import principal
from fovea.seeding import Stream, seeded

REFERENCES = ("random", "pixels", "pixels_pooled", "majority")
FITTED = 3000  # stacks that the components of pixels are taken from


def references(like: Encoder, seed: int) -> dict[str, Encoder]:
    """The references of a run, by name, for the stack and screen of `like`.

    The pooled pixels are as many numbers as the summary and the mean token of `like`.
    """
    return {
        "random": untrained(like, seed),
        "pixels": Pixels(like.stack, like.screen),
        "pixels_pooled": Pixels(like.stack, like.screen, like.summary_dim + like.dim, pooled=True),
        "majority": Blind(like.stack, like.screen),
    }


def untrained(like: Encoder, seed: int) -> Encoder:
    """An encoder of the same shape with its initial weights drawn from `seed`, in eval mode."""
    if isinstance(like, Pictures):
        inside = untrained(like.encoder, seed)
        return Pictures(inside, like.mean_pixel, like.std_pixel, like.stack, like.screen).eval()
    if isinstance(like, EachScreen):
        return EachScreen(untrained(like.encoder, seed), like.stack)
    like = innermost(like)  # of an agent's: what was adapted
    kind: Callable[..., Encoder] = type(like)
    with seeded(Stream.ENCODER, seed):
        encoder = kind(like.architecture, like.model_args, like.screen)
    if like.read_out:
        encoder.read_out = make_read_out(like.read_out.shape, encoder.dim, seed)
    return encoder.eval()


class Pixels(Encoder):
    """The pixels themselves, as their first `dim` principal components: `fitted` before use.

    Args:
        stack: screens stacked as channels.
        screen: height and width in pixels.
        dim: number of components.
        pooled: the components are of the training stacks of all games together, as an encoder is of
            all its games; otherwise each game has its own.
    """

    grid = None

    def __init__(
        self, stack: int, screen: tuple[int, int], dim: int = 256, *, pooled: bool = False
    ):
        super().__init__()
        self.stack, self.screen, self.dim, self.pooled = stack, screen, dim, pooled
        pixels = stack * screen[0] * screen[1]
        self.mean = nn.Parameter(torch.zeros(pixels), requires_grad=False)
        self.components = nn.Parameter(torch.zeros(pixels, dim), requires_grad=False)

    def fitted(self, screens: Tensor, most: int = FITTED) -> Pixels:
        """A copy with the components of (n, stack, H, W) uint8; `most` of them are looked at.

        Of the pixels that change at all; the sketch is drawn from a fixed seed. Directions in which
        nothing varies, as the last of fewer screens than components, are rounding, and stay zero.
        """
        some = torch.linspace(0, len(screens) - 1, min(most, len(screens)), device=screens.device)
        screens = screens[some.long()]
        changing = (screens != screens[0]).flatten(1).any(0)
        with seeded(Stream.PROBE_SKETCH, 0):
            seen = self.scale(screens).flatten(1)[:, changing]
            mean, directions, deviations = principal(seen, self.dim)
        directions = directions * (deviations > 1e-5 * deviations[:1])
        fitted = Pixels(self.stack, self.screen, directions.shape[1], pooled=self.pooled)
        fitted = fitted.to(screens.device)
        fitted.mean[changing], fitted.components[changing] = mean, directions
        return fitted

    def encode(self, pixels: Tensor) -> Features:
        summary = (pixels.flatten(1) - self.mean) @ self.components
        return Features(summary, summary.new_empty(len(summary), 0, self.dim))


class Blind(Encoder):
    """Sees nothing: every screen is one zero. All a probe can learn from it is what is frequent."""

    dim, grid = 1, None

    def __init__(self, stack: int, screen: tuple[int, int]):
        super().__init__()
        self.stack, self.screen = stack, screen
        self.nothing = nn.Parameter(torch.zeros(1), requires_grad=False)

    def encode(self, pixels: Tensor) -> Features:
        summary = self.nothing.expand(len(pixels), 1)
        return Features(summary, summary.new_empty(len(pixels), 0, 1))
