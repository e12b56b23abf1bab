"""The agent of one-step FB: what it learns from, what it reads off rewards, how it acts."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from fovea.agents.adaptation.base import Frozen
from fovea.agents.algorithms.one_step_fb import OneStepFB
from fovea.agents.task import AtariTask
from fovea.agents.training import train
from fovea.pretrain.encoders.read_out import ReadOut
from fovea.pretrain.terms.forward_backward import task_vector


@pytest.mark.slow
def test_a_policy_is_read_off_the_rewards_of_recorded_steps(recordings: Path) -> None:
    task = AtariTask("breakout", num_envs=1, total_steps=320)
    fb = OneStepFB(str(recordings), Frozen("random:patches42"), task.action_count, labelled=600,
                   features=ReadOut("mean"), hidden=8, dim=4, batch_size=32)  # fmt: skip
    train(fb, task, accelerator="cpu", gradient_clip_val=10.0)
    experience = task.experience
    batch = experience.batch(3)
    replay, _ = experience.steps.memory
    # Every step's successor is there with what was done on it.
    row = (batch.obs[:, None] == replay.held["obs"][:, 0]).all(dim=2).float().argmax(dim=1)
    unique = (batch.obs[:, None] == replay.held["obs"][:, 0]).all(dim=2).sum(dim=1) == 1
    goes_on = unique & (batch.discount > 0)
    assert goes_on.sum() > 10
    assert torch.equal(
        batch.next_action[goes_on], replay.held["action"][row + 1, 0][goes_on].long()
    )
    # The task vector is that of the last weights, whenever it is read.
    read = fb.task_vector.clone()
    assert read.norm().item() == pytest.approx(2)
    fb.read_rewards(experience)
    assert torch.equal(fb.task_vector, read)
    row, env = experience.steps.draw(600, torch.Generator().manual_seed(1))
    obs, reward = experience.steps.labelled(row, env)
    assert torch.equal(obs, replay.held["obs"][row, 0])
    assert torch.equal(reward, replay.held["reward"][row, 0])
    assert reward.sum() > 0
    with torch.no_grad():
        backward = fb.backward_of(fb.extractor(obs))
        values = fb.values(fb.extractor(obs))
        cosine = torch.cosine_similarity(task_vector(backward, reward), read, dim=0)
        forward = fb.measures(fb.onward, fb.extractor(obs)).mean(dim=0)
    assert cosine > 0.8  # of other labelled steps nearly the same
    torch.testing.assert_close(values, torch.einsum("nad,d->na", forward, read))
    actions = fb.act(obs[:200], torch.Generator().manual_seed(0))
    assert (actions == values[:200].argmax(dim=1)).float().mean() > 0.98
