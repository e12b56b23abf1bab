"""Heads: from an encoder's features to outputs for every action."""

from __future__ import annotations

from functools import partial

from torch import Tensor, nn

from fovea.agents.networks.noisy import NoisyLinear


def head(
    width: int,
    hidden: int,
    actions: int,
    outputs: int = 1,
    *,
    dueling: bool = False,
    noisy: float = 0.0,
) -> nn.Module:
    """A network from (B, width) features to (B, actions * outputs).

    The outputs of an action lie side by side.

    Args:
        width: F, number of features.
        hidden: units of the hidden layer.
        actions: number of actions.
        outputs: K, outputs per action.
        dueling: state values and advantages are separate streams (see `Dueling`).
        noisy: initial noise of its layers (see `networks.noisy`); 0 makes plain linear layers.
    """
    layer = partial(NoisyLinear, sigma=noisy) if noisy else nn.Linear

    def stream(numbers: int) -> nn.Sequential:
        return nn.Sequential(layer(width, hidden), nn.ReLU(), layer(hidden, numbers))

    if not dueling:
        return stream(actions * outputs)
    return Dueling(stream(outputs), stream(actions * outputs), actions)


class Dueling(nn.Module):
    """The value of a state and the advantages of its actions (Wang et al. 2016, 1511.06581, eq. 9).

    Args:
        value: (B, F) to (B, K).
        advantage: (B, F) to (B, actions * K).
        actions: number of actions.
    """

    def __init__(self, value: nn.Module, advantage: nn.Module, actions: int):
        super().__init__()
        self.value, self.advantage, self.actions = value, advantage, actions

    def forward(self, features: Tensor) -> Tensor:
        advantage = self.advantage(features).unflatten(1, (self.actions, -1))
        advantage = advantage - advantage.mean(dim=1, keepdim=True)
        return (self.value(features)[:, None] + advantage).flatten(1)
