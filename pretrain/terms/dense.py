"""Dense prediction: what each place of the screen will look like after some actions."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class DensePredictor(nn.Module):
    """Predicts later tokens, each from the token now at its place and the state after the actions.

    A loss on the summary alone leaves the tokens free, and agents read tokens. What moves into a
    place comes from its neighbours: a final token has attended to them, and the predicted state
    says what the actions do.

    Args:
        dim: D, width of a token.
        state: S, width of a state.
        width: hidden width.
    """

    def __init__(self, dim: int, state: int, width: int = 256):
        super().__init__()
        self.of_token, self.of_state = nn.Linear(dim, width), nn.Linear(state, width, bias=False)
        self.out = nn.Linear(width, dim)

    def forward(self, tokens: Tensor, state: Tensor) -> Tensor:
        """(B, N, D) later tokens, of tokens (B, N, D) now and the states (B, S) predicted then."""
        hidden = self.of_token(tokens) + self.of_state(state)[:, None]
        return self.out(torch.nn.functional.gelu(hidden))
