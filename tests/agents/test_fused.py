"""Two frozen encoders side by side: what heads are given, and the controls."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from fovea.agents.adaptation.fused import Fused
from fovea.agents.algorithms.dqn import DQN
from fovea.agents.fit import fit
from fovea.agents.loading import load_agent
from fovea.agents.task import AtariTask
from fovea.command import UserError
from fovea.pretrain.encoders.folder import export_encoder, load_encoder
from fovea.pretrain.encoders.read_out import ReadOut
from fovea.pretrain.encoders.vit import Shape, build

VIT = Shape(patch=42)  # 4 tokens of 96
SECOND = "random:nature_cnn"


def screens(count: int = 3, seed: int = 0) -> torch.Tensor:
    return torch.randint(1, 256, (count, 4, 84, 84), generator=torch.manual_seed(seed)).byte()


def test_the_second_stands_behind_the_summary_and_the_tokens() -> None:
    first, second = build(VIT).eval(), load_encoder(SECOND)
    both = Fused(first, second, "mean")
    ours, theirs, fused = (of(screens()) for of in (first, second, both))
    mean = theirs.tokens.mean(dim=1)
    assert mean.shape == (3, 64)
    assert torch.equal(fused.summary, torch.cat([ours.summary, mean], dim=1))
    assert torch.equal(fused.tokens[:, :4], ours.tokens)
    assert torch.equal(fused.tokens[:, 4], torch.cat([mean, torch.zeros(3, 32)], dim=1))
    assert both.summary_dim == fused.summary.shape[1] == 160
    wide = Fused(first, second, "tokens")(screens())
    assert torch.equal(wide.tokens[:, 4:].flatten(1)[:, : 49 * 64], theirs.tokens.flatten(1))
    assert not any(weight.requires_grad for weight in both.parameters())
    with pytest.raises(UserError, match=r"takes stacks of 3 screens .* and the first of 4"):
        Fused(first, build(Shape(patch=42, stack=3)))


@pytest.mark.slow
def test_controls_have_the_room_of_the_second_and_nothing_of_what_it_says() -> None:
    first, second = build(VIT).eval(), load_encoder(SECOND)
    of_second = second(screens(40)).summary
    zeros = Fused(first, second, "cls", control="zeros")(screens())
    assert not zeros.summary[:, 96:].any()
    shuffled = Fused(first, second, "cls", control="shuffled")
    shuffled(torch.zeros(1, 4, 84, 84, dtype=torch.uint8))
    assert int(shuffled.banked) == 0
    for seed in range(7):
        shuffled(screens(40, seed))
    assert int(shuffled.banked) == 256
    bank = shuffled.bank.clone()
    assert torch.equal(bank[:40], of_second)
    found = shuffled(screens(40)).summary[:, 96:]
    assert torch.equal(shuffled.bank, bank)
    assert torch.equal(found, shuffled(screens(40)).summary[:, 96:])
    at = (found[:, None] == bank).all(dim=2).float().argmax(dim=1)
    assert torch.equal(bank[at], found)
    assert (at == torch.arange(40)).sum() < 4
    assert len(at.unique()) > 25


@pytest.mark.slow
def test_the_replay_holds_both_each_on_its_own_scale() -> None:
    task = AtariTask("pong", num_envs=2, total_steps=48)
    dqn = DQN(Fused(build(VIT), SECOND, "mean"), task.action_count, hidden=8, learning_starts=32,
              features=ReadOut("cls", norm="standard", norm_samples=40), batch_size=4,
              train_freq=8, buffer_size=64)  # fmt: skip
    task.attach(dqn)
    dqn.prepare([task.experience])
    batch = task.experience.batch(0)
    assert batch.obs.shape == (4, 160)
    held = task.experience.replay.held["obs"][:20].flatten(0, 1)
    spread = held.std(dim=0)  # units of the CNN that are always 0 stay so
    assert all(0.3 < part.max() < 5 for part in (spread[:96], spread[96:]))


@pytest.mark.evidence
@pytest.mark.slow
def test_an_agent_on_two_encoders_is_loaded_without_their_folders(tmp_path: Path) -> None:
    folders = [export_encoder(build(VIT, seed), tmp_path / name, {}) for seed, name in
               enumerate(("first", "second"))]  # fmt: skip
    run = tmp_path / "run"
    fit(["--model", "PPO", "--model.encoder", "Fused", "--model.encoder.encoder", str(folders[0]),
         "--model.encoder.second", str(folders[1]), "--model.encoder.control", "shuffled",
         "--model.features.kind", "cls", "--model.num_steps", "16", "--model.hidden", "8",
         "--data.game", "pong", "--data.num_envs", "2", "--data.total_steps", "32",
         "--run", str(run)])  # fmt: skip
    expected = [load_encoder(folder).state_dict() for folder in folders]
    for folder in folders:
        folder.rename(folder.with_name(f"{folder.name}_gone"))
    eyes = load_agent(run).agent.extractor.encoder
    for part, weights in zip((eyes.encoder, eyes.second), expected, strict=True):
        assert all(torch.equal(one, weights[name]) for name, one in part.state_dict().items())
    assert int(eyes.banked) == 2 * (1 + 16)  # of two environments the first screens and 16 more
