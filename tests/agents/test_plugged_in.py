"""A run says and proves which encoder it is plugged into; a mismatch ends it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from fovea.agents import DQN, PPO, AtariTask, FineTuned, Frozen, LoRA, ReadOut, train
from fovea.agents.algorithms.base import Agent
from fovea.agents.loading import load_agent
from fovea.agents.plugged_in import Watch, frozen_sha256, heads_read, parts_of, plugged_in
from fovea.command import UserError
from fovea.files import sha256
from fovea.pretrain.encoders.fingerprint import fingerprint
from fovea.pretrain.encoders.folder import load_encoder
from fovea.probes.of_agents import agent_of, load
from fovea.probes.of_blocks import OfBlocks
from fovea.runs import RunWriter, read_run

ROOT = Path(__file__).parents[2]


def fitted(command: Callable[..., int], encoder: Path, run: Path, *more: object) -> int:
    return command(
        *("fit", "-c", "ppo_lora", "--run", run, "--data.game", "pong", "--data.num_envs", 2),
        *("--model.init_args.encoder.init_args.encoder", encoder),
        *("--model.init_args.num_steps", 4, "--model.init_args.hidden", 8),
        *("--model.init_args.features.norm_samples", 8, "--data.total_steps", 16, *more),
    )


@pytest.mark.slow
def test_a_run_says_what_it_learns_with(
    encoder: Path, tmp_path: Path, command: Callable[..., int], capsys: pytest.CaptureFixture
) -> None:
    run = tmp_path / "ppo"
    assert fitted(command, encoder, run) == 0
    said, found = capsys.readouterr().out, read_run(run).plugged_in
    assert found.encoder == "LoRA of vit_tiny_patch16_224, 96 wide, 4 blocks"
    assert found.source == str(encoder)
    assert found.weights == sha256(encoder / "model.safetensors")
    assert f"weights    sha256 {found.weights}" in said
    whole = sum(weight.numel() for weight in load_encoder(encoder).body.parameters())
    assert (found.parts["encoder"].learn, found.parts["encoder"].frozen) == (0, whole)
    assert found.parts["adaptation"].learn == 4 * 8 * (96 + 96 + 96 + 96 + 96 + 4 * 96)
    assert found.parts["heads"].learn > 0
    assert found.updates == 8
    assert found.frozen_unchanged
    assert found.not_read == []
    learnt = sum(
        weight.requires_grad
        for part in parts_of(PPO(LoRA(str(encoder)), 6, hidden=8)).values()
        for weight in part.values()
    )
    assert found.got_gradient == learnt
    assert f"after 8 updates {learnt} tensors got a gradient" in said
    eyes_are_those_of(run)


def eyes_are_those_of(run: Path) -> None:
    """What probes look at when they are given the run: its encoder as adapted, and its heads."""
    agent, eyes, heads = load_agent(run).agent, load(run), load(f"heads:{run}")
    screens = torch.randint(0, 256, (2, 4, 84, 84), generator=torch.manual_seed(0)).byte()
    with torch.no_grad():
        adapted, read = eyes(screens), heads(screens)
        assert torch.equal(adapted.tokens, agent.extractor.encoder(screens).tokens)
        assert torch.equal(read.summary, agent.extractor(agent.observe(screens)))
        for modulator in agent.extractor.encoder.modulators:
            modulator.entry = None
        assert not torch.equal(adapted.tokens, agent.extractor.encoder(screens).tokens)
    assert read.tokens.shape == (2, 0, agent.extractor.width)
    assert isinstance(agent_of(OfBlocks(eyes, [1])), PPO)
    assert fingerprint(heads) != fingerprint(eyes)


@pytest.mark.evidence
@pytest.mark.slow
def test_a_run_that_is_done_says_nothing_and_one_that_is_handed_on_says_so(
    encoder: Path, tmp_path: Path, command: Callable[..., int], capsys: pytest.CaptureFixture
) -> None:
    run, other = tmp_path / "ppo", tmp_path / "other"
    assert fitted(command, encoder, run) == 0
    capsys.readouterr()
    assert fitted(command, encoder, run) == 0
    assert "sha256" not in capsys.readouterr().out
    assert fitted(command, encoder, other, "--init_from", run) == 0
    assert read_run(other).plugged_in.source == f"{run}, by --init_from"


def watched(agent: Agent, folder: Path, steps: int = 64) -> Watch:
    """An agent that has learnt a little, and what was seen of it."""
    run = RunWriter(folder, "agent", "")
    run.record.plugged_in = plugged_in(agent, None, None)
    watch = Watch(run, agent)
    task = AtariTask("pong", num_envs=2, total_steps=steps)
    train(agent, task, accelerator="cpu", callbacks=[watch])
    return watch


def dqn(encoder: object, **settings: object) -> DQN:
    return DQN(encoder, 6, hidden=8, buffer_size=64, learning_starts=16, batch_size=2,
               **{"train_freq": 4} | settings)  # fmt: skip


class Detached(FineTuned):
    """Something that should learn, and is cut off."""

    def forward(self, screens, blocks=()):
        with torch.no_grad():
            return super().forward(screens, blocks)


class Leaking(Frozen):
    """Something that should be frozen, and is not."""

    def forward(self, screens, blocks=()):
        with torch.no_grad():
            self.encoder.vit.cls_token.add_(1e-6)
        return super().forward(screens, blocks)


class Dead(nn.Module):
    """A head that multiplies by zero."""

    def __init__(self, width: int):
        super().__init__()
        self.layer = nn.Linear(width, 6)

    def forward(self, x):
        return 0 * self.layer(x)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda ref: dqn(Detached(ref)), "nothing of the encoder got a gradient in 8 updates"),
        pytest.param(
            lambda ref: dqn(Leaking(ref)),
            "weights of the encoder that are frozen changed",
            marks=pytest.mark.evidence,
        ),
    ],
)
def test_a_mismatch_ends_the_run(
    make: Callable[[str], Agent], message: str, encoder: Path, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=message):
        watched(make(str(encoder)), tmp_path)


@pytest.mark.evidence
def test_a_gradient_of_nothing_but_zeros_ends_the_run(encoder: Path, tmp_path: Path) -> None:
    agent = dqn(Frozen(str(encoder)), dueling=False)
    agent.head = Dead(agent.extractor.width)
    agent.target[1] = Dead(agent.extractor.width).requires_grad_(False)
    with pytest.raises(UserError, match="head"):
        watched(agent, tmp_path)


@pytest.mark.evidence
def test_what_heads_do_not_read_is_named(encoder: Path, tmp_path: Path) -> None:
    agent = dqn(FineTuned(str(encoder)), features=ReadOut("cls", blocks=[2]))
    found = watched(agent, tmp_path).run.record.plugged_in
    assert found.not_read
    assert {name.split(".")[4:6][1] for name in found.not_read} == {"2", "3"}
    assert found.heads_read == heads_read(agent) == "cls of block 2, as they are"


def test_weights_that_are_not_the_files_are_refused(encoder: Path) -> None:
    agent = dqn(Frozen(str(encoder)))
    assert plugged_in(agent, str(encoder), None).weights == sha256(encoder / "model.safetensors")
    before = frozen_sha256(agent)
    with torch.no_grad():
        agent.extractor.encoder.encoder.vit.cls_token.add_(1)
    assert frozen_sha256(agent) != before
    with pytest.raises(UserError, match="weight cls_token is not that of"):
        plugged_in(agent, str(encoder), None)
