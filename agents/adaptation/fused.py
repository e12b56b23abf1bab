"""Two frozen encoders side by side, after BLIP-FusePPO (arXiv 2510.22370)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import pad

from fovea.agents.adaptation.base import Frozen
from fovea.command import UserError
from fovea.pretrain.encoders.encoder import Encoder, Features, inference
from fovea.pretrain.encoders.pictures import load
from fovea.seeding import Stream, uniform_by_index

SECOND: dict[str, Callable[[Features], Tensor]] = {
    "cls": lambda features: features.summary,
    "mean": lambda features: features.tokens.mean(dim=1),
    "cls_and_mean": lambda features: torch.cat([features.summary, features.tokens.mean(dim=1)], 1),
    "tokens": lambda features: features.tokens.flatten(1),
}
BANK = 256  # screens whose features stand in for others' where they are shuffled


class Fused(Frozen):
    """A frozen encoder with the features of a second frozen one beside its own.

    The features of the second are put behind the summary of the first, and also behind its tokens,
    as more tokens of the same width (the last filled with zeros). So heads take both by the kinds
    `cls`, `tokens`, `projected_tokens` ..., each number by its own norm, and rollouts and replay
    hold both. `mean` and `cls_and_mean` would mix the two in the mean token.

    Args:
        encoder: a reference or an encoder.
        second: a reference, an encoder, or `timm:NAME`, a model of timm with published weights,
            which sees the newest screen as a grey picture.
        second_features: what of the second's features is taken.
        control: `none`; `zeros`, which leaves nothing of the second but its room, or `shuffled`,
            where its features are those of another screen, chosen by a checksum of this one, among
            the first 256: whatever the second adds must be more than these.
    """

    def __init__(
        self,
        encoder: str | Encoder,
        second: str | Encoder,
        second_features: Literal["cls", "mean", "cls_and_mean", "tokens"] = "cls_and_mean",
        control: Literal["none", "zeros", "shuffled"] = "none",
    ):
        super().__init__(encoder)
        self.second = load(second) if isinstance(second, str) else second
        self.second_features, self.control = second_features, control
        ours, theirs = ((of.stack, tuple(of.screen)) for of in (self.encoder, self.second))
        if ours != theirs:
            raise UserError(
                f"the second encoder takes stacks of {theirs[0]} screens of {theirs[1]} and the "
                f"first of {ours[0]} of {ours[1]}: take two for the same screens"
            )
        with inference(self):
            blank = torch.zeros(1, self.stack, *self.screen, dtype=torch.uint8)
            self.beside = SECOND[second_features](self.second(blank)).shape[1]
        if control == "shuffled":
            self.register_buffer("bank", torch.zeros(BANK, self.beside))
            self.register_buffer("banked", torch.tensor(0))
        self.requires_grad_(False)
        self.eval()

    @property
    def summary_dim(self) -> int:
        return self.encoder.summary_dim + self.beside

    def forward(self, screens: Tensor, blocks: Sequence[int] = ()) -> Features:
        first = super().forward(screens, blocks)
        with torch.set_grad_enabled(torch.is_grad_enabled() and screens.requires_grad):
            second = SECOND[self.second_features](self.second(screens)).to(first.summary.dtype)
        if self.control == "zeros":
            second = torch.zeros_like(second)
        if self.control == "shuffled":
            second = self.of_others(second, screens)
        dim = first.tokens.shape[2]
        more = pad(second, (0, -second.shape[1] % dim)).unflatten(1, (-1, dim))
        return Features(
            torch.cat([first.summary, second], dim=1), torch.cat([first.tokens, more], dim=1)
        )

    @torch.no_grad()
    def of_others(self, features: Tensor, screens: Tensor) -> Tensor:
        """(B, F) for each screen the features of one of those that were seen first."""
        whole = screens if screens.dtype == torch.uint8 else (screens * 255).round()
        flat = whole.flatten(1).long()
        sums = (flat * torch.arange(1, flat.shape[1] + 1, device=flat.device)).sum(dim=1)
        seen = int(self.banked)
        if seen < BANK and len(new := features[sums > 0][: BANK - seen]):  # none of black screens
            self.bank[seen : seen + len(new)] = new
            self.banked += len(new)
        share = uniform_by_index(sums, Stream.SHUFFLED_FEATURES, 0)
        return self.bank[(share * max(int(self.banked), 1)).long()].to(features.dtype)
