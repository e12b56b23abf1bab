"""Agents that learn to play on top of an encoder, frozen or adapted."""

from __future__ import annotations

from fovea.lazy import lazily

__getattr__, __dir__ = lazily(
    __name__,
    {
        "Adapted": "fovea.agents.adaptation.base",
        "Adapters": "fovea.agents.adaptation.adapters",
        "Agent": "fovea.agents.algorithms.base",
        "BitFit": "fovea.agents.adaptation.partial",
        "CalQL": "fovea.agents.algorithms.cal_ql",
        "Cloned": "fovea.agents.algorithms.cloned",
        "DQN": "fovea.agents.algorithms.dqn",
        "EWC": "fovea.agents.adaptation.ewc",
        "FineTuned": "fovea.agents.adaptation.base",
        "Frozen": "fovea.agents.adaptation.base",
        "IA3": "fovea.agents.adaptation.ia3",
        "L2M": "fovea.agents.adaptation.l2m",
        "L2P": "fovea.agents.adaptation.l2p",
        "LayerNormOnly": "fovea.agents.adaptation.partial",
        "LoRA": "fovea.agents.adaptation.lora",
        "PPO": "fovea.agents.algorithms.ppo",
        "Prompts": "fovea.agents.adaptation.prompts",
    },
)
