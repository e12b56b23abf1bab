"""What an agent learnt from recordings lasts when it begins to play."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from lightning import Callback

from fovea.agents.adaptation.base import Frozen
from fovea.agents.adaptation.lora import LoRA
from fovea.agents.algorithms.cal_ql import gap
from fovea.agents.algorithms.dqn import DQN
from fovea.agents.algorithms.ppo import PPO
from fovea.agents.experience.off_policy import joined
from fovea.agents.experience.replay import Transitions
from fovea.agents.plugged_in import Watch, plugged_in
from fovea.agents.task import AtariTask
from fovea.agents.training import train
from fovea.command import UserError
from fovea.pretrain.encoders.read_out import ReadOut
from fovea.pretrain.encoders.vit import Shape, build
from fovea.runs import RunWriter

RAW = ReadOut("cls", norm="none")


class Kept(Callback):
    """The weights after each update."""

    def __init__(self):
        self.weights: list[dict] = []

    def on_train_batch_end(self, trainer, module, *_) -> None:
        self.weights.append({k: v.clone() for k, v in module.state_dict().items()})


@pytest.mark.slow
@pytest.mark.parametrize(
    "way", [LoRA, pytest.param(Frozen, marks=pytest.mark.evidence)], ids=lambda way: way.__name__
)
def test_only_the_value_learns_while_a_ppo_warms_up(way: type, tmp_path: Path) -> None:
    """Two rollouts of 8 steps are the least for 9 steps; then three updates learn all."""
    task = AtariTask("pong", num_envs=2, total_steps=8 * 8)
    ppo = PPO(way(build(Shape(patch=42))), task.action_count, features=RAW, hidden=8, num_steps=4,
              update_epochs=2, num_minibatches=1, critic_warmup=9)  # fmt: skip
    run, kept = RunWriter(tmp_path, "agent", ""), Kept()
    run.record.plugged_in = plugged_in(ppo, None, None)
    before = {k: v.clone() for k, v in ppo.state_dict().items()}
    train(ppo, task, accelerator="cpu", callbacks=[kept, Watch(run, ppo)])
    assert ppo.warmup_updates == 4
    moved = [
        {name.partition(".")[0] for name in after if not torch.equal(after[name], before[name])}
        for after in kept.weights
    ]
    assert moved[:4] == [{"value"}] * 4
    learn = {"value", "policy", "hidden_layer"} | ({"extractor"} if way is LoRA else set())
    assert moved[-1] == learn
    # What is plugged in is looked at once all of it should learn.
    assert run.record.plugged_in.updates == 8
    assert run.record.plugged_in.frozen_unchanged


@pytest.mark.slow
def test_a_share_of_every_batch_is_recorded(recordings: Path) -> None:
    task = AtariTask("breakout", num_envs=2, total_steps=64)
    settings = {"features": RAW, "hidden": 8, "n_step": 2, "buffer_size": 64, "batch_size": 8,
                "learning_starts": 32, "train_freq": 4}  # fmt: skip
    encoder = build(Shape(patch=42)).eval()
    dqn = DQN(Frozen(encoder), task.action_count, recordings=str(recordings), offline_ratio=0.25,
              per_alpha=0.5, **settings)  # fmt: skip
    task.attach(dqn)
    batch = task.experience.batch(0)
    remembered = task.experience.offline.memory[0].held["obs"][:, 0]
    held = task.experience.replay.held["obs"].flatten(0, 1)

    def among(rows: torch.Tensor) -> list[bool]:
        return [bool((row == rows).all(dim=1).any()) for row in batch.obs]

    assert among(held) == [True] * 6 + [False] * 2
    assert among(remembered)[6:] == [True] * 2
    assert batch.weight[6:].tolist() == [1, 1]
    # Priorities are those of what was played.
    dqn.losses(batch)
    dqn.feed_back(task.experience)
    assert len(task.experience.td_errors) == 6
    again = task.experience.batch(1)
    assert not torch.equal(again.obs[6:], batch.obs[6:])
    for ratio, given in ((0.25, None), (1.0, str(recordings)), (0.01, str(recordings))):
        with pytest.raises(UserError, match=f"offline_ratio {ratio:g} of batches of 8: name the"):
            task.attach(DQN(Frozen(encoder), task.action_count, recordings=given,
                            offline_ratio=ratio, **settings))  # fmt: skip


def test_batches_are_joined_row_by_row() -> None:
    def steps(first: int, count: int) -> Transitions:
        numbers = torch.arange(first, first + count).float()
        return Transitions(numbers[:, None], numbers.long(), numbers, numbers, numbers[:, None])

    played = steps(0, 2)._replace(weight=torch.tensor([0.5, 0.25]))
    both = joined(played, steps(2, 1))
    assert both.obs.flatten().tolist() == both.action.tolist() == [0, 1, 2]
    assert both.weight.tolist() == [0.5, 0.25, 1]
    assert joined(steps(0, 2), steps(2, 1)).weight.tolist() == [1, 1, 1]


def test_values_that_are_not_calibrated_are_pushed_without_an_end() -> None:
    """CQL: the soft maximum of 1, 3 and 0 less the value of the recorded action."""
    values = torch.tensor([[1.0, 3.0, 0.0]], requires_grad=True)
    free = torch.full((1,), -torch.inf)
    pushed = gap(values, torch.tensor([2]), free)
    torch.testing.assert_close(pushed, values.detach().logsumexp(1))
    pushed.sum().backward()
    torch.testing.assert_close(
        values.grad, values.detach().softmax(1) - torch.tensor([[0.0, 0.0, 1.0]])
    )
