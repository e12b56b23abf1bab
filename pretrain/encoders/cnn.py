"""Convolutional encoders of the literature, as controls and baselines beside ViTs.

    nature_cnn    Mnih et al. 2015: 78 k weights, a grid of 7 x 7 places, 64 wide
    impala_cnn    Espeholt et al. 2018 (IMPALA, arXiv 1802.01561), the convolutions of its large
                  network: 98 k weights, a grid of 11 x 11 places, 32 wide
    sgi_resnet    Schwarzer et al. 2021 (SGI, arXiv 2106.04799), its medium ResNet of inverted
                  residual blocks: 136 k weights, a grid of 7 x 7 places, 64 wide

Tokens are the places of the last feature map; the summary is their mean. The papers' heads take the
whole map, that is all tokens. Blocks are the stages between which resolution or width changes.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from einops import rearrange
from torch import Tensor, nn

from fovea.pretrain.encoders.encoder import Encoder, Features, side_by_side
from fovea.seeding import Stream, seeded

LAYOUT = torch.channels_last  # of weights and maps in memory


class CNN(Encoder):
    """A convolutional network without its head.

    Args:
        architecture: a key of `BODIES`.
        model_args: `in_chans`, screens stacked as channels.
        screen: height and width of the screens it takes.
    """

    library = "fovea"
    margin = (0, 0)
    takes_crops = True

    def __init__(self, architecture: str, model_args: dict, screen: tuple[int, int]):
        super().__init__()
        self.architecture, self.model_args = architecture, model_args
        self.stack = model_args["in_chans"]
        height, width = screen
        self.screen = self.input_size = (height, width)
        # Measured on CPU: forward and backward of a Nature CNN take 30 ms instead of 35.
        self.body = BODIES[architecture](self.stack).to(memory_format=LAYOUT)
        with torch.no_grad():
            maps = self.body(torch.zeros(1, self.stack, *self.screen))
        self.dim, self.grid = maps.shape[1], (maps.shape[2], maps.shape[3])
        self.depth = len(STAGES[architecture])

    def encode(self, pixels: Tensor) -> Features:
        """The places of the last feature map, and their mean, of float pixels in [0, 1]."""
        return self.features(*_places(self.body(pixels.contiguous(memory_format=LAYOUT))))

    def encode_blocks(self, pixels: Tensor, blocks: Sequence[int]) -> Features:
        """The maps after these stages, each through what follows the last of them."""
        ends = STAGES[self.architecture]
        maps, outputs = pixels.contiguous(memory_format=LAYOUT), {}
        for number, (begin, end) in enumerate(pairwise((0, *ends)), start=1):
            if number <= max(blocks):
                maps = outputs[number] = self.body[begin:end](maps)
        rest = self.body[ends[-1] :]
        return side_by_side([_places(rest(outputs[number])) for number in blocks], blocks)

    def compile(self, **how) -> None:
        """Compile the layers in place."""
        self.body.compile(**how)


def _places(maps: Tensor) -> Features:
    """Maps (B, D, h, w) as tokens, and their mean."""
    tokens = rearrange(maps, "b d h w -> b (h w) d")
    return Features(tokens.mean(dim=1), tokens)


def build_cnn(name: str, stack: int = 4, screen: int = 84, seed: int = 0) -> CNN:
    """An untrained CNN, a key of `CNNS`, its initial weights drawn from `seed`."""
    architecture, initialise = CNNS[name]
    with seeded(Stream.ENCODER, seed):
        encoder = CNN(architecture, {"in_chans": stack}, (screen, screen))
        encoder.body.apply(initialise)
    return encoder


def nature(channels: int) -> nn.Sequential:
    """Three convolutions (Mnih et al. 2015, Nature 518, methods)."""
    layers = OrderedDict()
    for number, (width, side, stride) in enumerate([(32, 8, 4), (64, 4, 2), (64, 3, 1)], start=1):
        layers[f"conv{number}"] = nn.Conv2d(channels, width, side, stride)
        layers[f"relu{number}"] = nn.ReLU()
        channels = width
    return nn.Sequential(layers)


def sgi(channels: int) -> nn.Sequential:
    """Three groups of three blocks, then each sample's map scaled to [0, 1]."""
    groups = []
    for width, stride in [(32, 3), (64, 2), (64, 2)]:
        blocks = [(channels, stride), (width, 1), (width, 1)]
        groups.append(nn.Sequential(*(Inverted(into, width, by, 9) for into, by in blocks)))
        channels = width
    return nn.Sequential(*groups, Scaled())


def impala(channels: int) -> nn.Sequential:
    """Three sections, each a convolution, a pooling to half the side and two residual blocks."""
    sections = []
    for width in (16, 32, 32):
        sections.append(
            nn.Sequential(
                nn.Conv2d(channels, width, 3, padding=1),
                nn.MaxPool2d(3, stride=2, padding=1),
                Residual(width),
                Residual(width),
            )
        )
        channels = width
    return nn.Sequential(*sections, nn.ReLU())


class Residual(nn.Module):
    """Two convolutions of the rectified map, added to the map.

    Args:
        width: its channels.
    """

    def __init__(self, width: int):
        super().__init__()
        self.conv = nn.Sequential(
            *(nn.ReLU(), nn.Conv2d(width, width, 3, padding=1)),
            *(nn.ReLU(), nn.Conv2d(width, width, 3, padding=1)),
        )

    def forward(self, maps: Tensor) -> Tensor:
        return maps + self.conv(maps)


class Inverted(nn.Module):
    """An inverted residual block (Sandler et al. 2018, arXiv 1801.04381) that expands by 2.

    Convolutions start smaller the more blocks there are (Fixup, Zhang et al. 2019, arXiv
    1901.09321), and the last normalisation from 0: untrained, a block is its shortcut.

    Args:
        channels: of the input.
        width: channels of the output.
        stride: of the middle convolution; where it is not 1, the shortcut is a convolution too.
        blocks: number of blocks in the whole network.
    """

    def __init__(self, channels: int, width: int, stride: int, blocks: int):
        super().__init__()
        wide = 2 * channels
        convolutions = [
            nn.Conv2d(channels, wide, 1),
            nn.Conv2d(wide, wide, 3, stride, padding=1, groups=wide),
            nn.Conv2d(wide, width, 1),
        ]
        for layer in convolutions:
            kaiming(layer, blocks**-0.25)
        first, middle, last = convolutions
        self.conv = nn.Sequential(
            *(first, Norm(wide), nn.ReLU()),
            *(middle, Norm(wide), nn.ReLU()),
            *(last, Norm(width)),
        )
        nn.init.zeros_(self.conv[-1].weight)
        self.shortcut = nn.Identity()
        if stride != 1:
            self.shortcut = nn.Conv2d(channels, width, stride, stride)
            kaiming(self.shortcut, 1.0)

    def forward(self, maps: Tensor) -> Tensor:
        return self.shortcut(maps) + self.conv(maps)


class Norm(nn.BatchNorm2d):
    """Batch normalisation that uses and records a batch's statistics only under gradients.

    An agent acts on a few similar screens, and targets are computed without gradients: both use the
    running statistics, and neither changes them.
    """

    def forward(self, maps: Tensor) -> Tensor:
        if self.training and torch.is_grad_enabled():
            return super().forward(maps)
        statistics = self.running_mean, self.running_var
        return nn.functional.batch_norm(maps, *statistics, self.weight, self.bias, eps=self.eps)


class Scaled(nn.Module):
    """Scales each sample's map to [0, 1] by its minimum and maximum."""

    def forward(self, maps: Tensor) -> Tensor:
        least, most = maps.amin((1, 2, 3), keepdim=True), maps.amax((1, 2, 3), keepdim=True)
        return (maps - least) / (most - least + 1e-5)


def kaiming(layer: nn.Conv2d, gain: float) -> None:
    """Normal weights of variance 2 gain^2 / (output channels times kernel area)."""
    outputs = layer.out_channels * layer.kernel_size[0] * layer.kernel_size[1]
    nn.init.normal_(layer.weight, std=gain * (2 / outputs) ** 0.5)


def orthogonal(layer: nn.Module) -> None:
    """Orthogonal weights of gain sqrt 2 and zero bias, as PPO's Atari experiments start from."""
    if isinstance(layer, nn.Conv2d):
        plain = torch.empty(layer.weight.shape)  # the initialisation wants the usual layout
        layer.weight.data.copy_(nn.init.orthogonal_(plain, 2**0.5))
        nn.init.zeros_(layer.bias)


def as_built(layer: nn.Module) -> None:
    """Keep PyTorch's default initialisation."""


BODIES: dict[str, Callable[[int], nn.Sequential]] = {
    "nature_cnn": nature,
    "impala_cnn": impala,
    "sgi_resnet": sgi,
}
# How many layers of a body there are up to the end of each of its blocks.
STAGES = {"nature_cnn": (2, 4, 6), "impala_cnn": (1, 2, 3), "sgi_resnet": (1, 2, 3)}
# What `random:NAME` may name: the architecture, and the initialisation of its layers.
CNNS: dict[str, tuple[str, Callable[[nn.Module], None]]] = {
    "nature_cnn": ("nature_cnn", as_built),
    "nature_cnn_orthogonal": ("nature_cnn", orthogonal),
    "impala_cnn": ("impala_cnn", as_built),
    "sgi_resnet": ("sgi_resnet", as_built),
}
