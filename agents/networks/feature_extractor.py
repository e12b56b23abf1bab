"""From screens to what is stored of them, and from that to what the heads are given."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial

import torch
from torch import Tensor, nn

from fovea.agents.adaptation.base import Adapted
from fovea.agents.networks.head_pool import HeadPool
from fovea.command import UserError
from fovea.pretrain.encoders.encoder import Features, inference
from fovea.pretrain.encoders.read_out import LEARNT, SELECTIONS, ReadOut, make_norm
from fovea.progress import bar
from fovea.seeding import Stream, seeded


class FeatureExtractor(nn.Module):
    """An encoder and what of its features the heads are given.

    Args:
        encoder: the encoder.
        read_out: which of its features, and how they are normalised and reduced.
        seed: of the initial weights of what reduces them.
        keep_screens: store screens even where features of them never change, since those that are
            learnt from are augmented.

    Attributes:
        width: F, how many numbers the heads are given.
        trunk: number of the block whose outputs are stored, where the first blocks of an encoder
            never change and later ones learn; else None.

    Raises UserError for blocks that the encoder has not, and where it does not give `Features`.
    """

    def __init__(
        self, encoder: Adapted, read_out: ReadOut, seed: int = 0, keep_screens: bool = False
    ):
        super().__init__()
        self.encoder, self.selection = encoder, SELECTIONS[read_out.kind]
        self.blocks = tuple(read_out.blocks or ())
        self.trunk = None
        if encoder.fixed_blocks is not None and not keep_screens:
            # What is computed of a block's outputs while learning needs them as they are.
            self.trunk = min(encoder.fixed_blocks, *self.blocks, encoder.depth)
        with inference(self):
            blank = torch.zeros(1, encoder.stack, *encoder.screen, dtype=torch.uint8)
            features = encoder.features_of(blank, self.blocks)
        if not isinstance(features, Features):
            raise UserError(
                f"{type(encoder).__name__} gave {type(features).__name__}: return "
                "Features(summary, tokens) from forward"
            )
        selected = self.selection.select(features)
        self.norm = make_norm(read_out, features)
        self.new_projection: Callable[[], nn.Module] = nn.Identity
        if learnt := LEARNT.get(read_out.kind):
            places, dim = selected.shape[1:]
            self.new_projection = partial(learnt, places, dim, read_out)
        self.projection = self.make_projection(seed)
        with torch.no_grad():
            self.width = self.projection(selected).shape[1]

    @property
    def stores_features(self) -> bool:
        """Whether `observe` returns features, where it would else return the screens."""
        return self.encoder.frozen or self.trunk is not None

    def make_projection(self, seed: int) -> nn.Module:
        """What learns between the encoder and the heads, with initial weights drawn from `seed`."""
        with seeded(Stream.TOKEN_PROJECTION, seed):
            return self.new_projection()

    def make_heads(self, make: Callable[[], nn.Module], keep_head_index: bool = False) -> nn.Module:
        """The head that `make` makes, or a pool of as many as the encoder chooses from.

        Args:
            make: makes a head that takes `width` features.
            keep_head_index: whether its outputs are features for other such heads, and so are to
                carry the index of the chosen head on.
        """
        if not self.encoder.head_count:
            return make()
        return HeadPool((make() for _ in range(self.encoder.head_count)), keep_head_index)

    def features(self, screens: Tensor) -> Tensor:
        """The selected features of screens (B, stack, H, W), normalised."""
        return self._read(self.encoder.features_of(screens, self.blocks))

    @torch.no_grad()
    def fit_norm(self, screens: Iterable[Tensor], count: int) -> None:
        """Take the mean and scale of features from batches of screens (B, stack, H, W).

        Args:
            screens: the batches.
            count: about how many screens they hold, for the progress bar.
        """
        mode = self.encoder.training
        self.encoder.eval()  # nothing is learnt here
        selected = []
        with bar("measuring features", "screens", count, delay=2) as shown:
            for batch in screens:
                selected.append(self.selection.select(self.encoder.features_of(batch, self.blocks)))
                shown.update(len(batch))
        self.encoder.train(mode)
        self.norm.fit(torch.cat(selected))

    @torch.no_grad()
    def observe(self, screens: Tensor) -> Tensor:
        """What rollouts and replay store of screens (B, stack, H, W) uint8.

        Of a frozen encoder its features (B, F), of kinds that learn from tokens (B, N, D). Of one
        whose last blocks learn the outputs (B, T, D) of the last block that does not change, in
        the network's own precision: they are not normalised yet, and rounded to half of it they
        would be off by 8 % of what tells two moments apart (standard deviations of a recipe's
        tokens, 2,048 screens of Pong). The screens themselves where all of the encoder learns.
        """
        if self.encoder.frozen:
            return self.features(screens).to(self.selection.storage or self.norm.mean.dtype)
        return screens if self.trunk is None else self.encoder.trunk(screens, self.trunk)

    def forward(self, obs: Tensor) -> Tensor:
        """(B, F) what the heads are given, of what `observe` returned."""
        if self.encoder.frozen:
            return self.projection(obs.to(self.norm.mean.dtype))
        if self.trunk is None:
            features = self.features(obs)
        else:
            features = self._read(self.encoder.attend(obs, self.trunk, self.blocks))
        return self.encoder.append_head_index(self.projection(features))

    def of_screens(self, screens: Tensor) -> Tensor:
        """(B, F) what the heads are given of screens (B, stack, H, W).

        Of uint8 screens as an agent acts on them, without gradients; of float pixels in [0, 1] with
        gradients to these, and without rounding to what is stored (1e-3 of a feature).
        """
        if not screens.is_floating_point():
            with torch.no_grad():
                return self.forward(self.observe(screens))
        features = self._read(self.encoder.encode_pixels(screens, self.blocks))
        return self.encoder.append_head_index(self.projection(features))

    def _read(self, features: Features) -> Tensor:
        return self.norm(self.selection.select(features))
