"""Agents that learn to play on top of an encoder, frozen or adapted.

In a few lines, without a run folder:

    from fovea.agents import DQN, AtariTask, Frozen, evaluate, train

    task = AtariTask("pong", total_steps=5000)
    agent = DQN(Frozen("runs/mine"), task.action_count, learning_starts=1000)
    train(agent, task)
    returns = evaluate(agent, task, episodes=3)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fovea.lazy import lazily

if TYPE_CHECKING:
    from fovea.agents.adaptation.adapters import Adapters as Adapters
    from fovea.agents.adaptation.base import Adapted as Adapted
    from fovea.agents.adaptation.base import FineTuned as FineTuned
    from fovea.agents.adaptation.base import Frozen as Frozen
    from fovea.agents.adaptation.ewc import EWC as EWC
    from fovea.agents.adaptation.fused import Fused as Fused
    from fovea.agents.adaptation.ia3 import IA3 as IA3
    from fovea.agents.adaptation.l2m import L2M as L2M
    from fovea.agents.adaptation.l2p import L2P as L2P
    from fovea.agents.adaptation.lora import LoRA as LoRA
    from fovea.agents.adaptation.partial import BitFit as BitFit
    from fovea.agents.adaptation.partial import LayerNormOnly as LayerNormOnly
    from fovea.agents.adaptation.prompts import Prompts as Prompts
    from fovea.agents.algorithms.base import Agent as Agent
    from fovea.agents.algorithms.cal_ql import CalQL as CalQL
    from fovea.agents.algorithms.cloned import Cloned as Cloned
    from fovea.agents.algorithms.dpt import DPT as DPT
    from fovea.agents.algorithms.dqn import DQN as DQN
    from fovea.agents.algorithms.one_step_fb import OneStepFB as OneStepFB
    from fovea.agents.algorithms.ppo import PPO as PPO
    from fovea.agents.distilled import Distilled as Distilled
    from fovea.agents.evaluation import evaluate as evaluate
    from fovea.agents.loading import load_agent as load_agent
    from fovea.agents.task import AtariTask as AtariTask
    from fovea.agents.training import train as train
    from fovea.pretrain.encoders.read_out import ReadOut as ReadOut

__getattr__, __dir__ = lazily(__name__)
