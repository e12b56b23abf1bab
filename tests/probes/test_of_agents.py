"""Every probe looks at an agent's encoder as it became, and at what the agent's heads read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from fovea import probes
from fovea.agents import DQN, L2M, FineTuned, Frozen, LoRA, ReadOut
from fovea.agents.fit import fit
from fovea.command import UserError
from fovea.pretrain.encoders.folder import export_encoder
from fovea.pretrain.encoders.vit import Shape, build
from fovea.probes.of_agents import HeadsOfAgent, OfAgent
from fovea.probes.references import untrained
from fovea.probes.state_read_outs import block_features

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def tuned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run of a PPO that changed its encoder, a little."""
    folder = tmp_path_factory.mktemp("tuned")
    encoder = export_encoder(build(Shape(patch=42), seed=1), folder / "encoder", {})
    fit([
        *("-c", str(ROOT / "agents" / "configs" / "ppo_lora.yaml"), "--run", str(folder / "ppo")),
        *("--model.init_args.encoder.init_args.encoder", str(encoder)),
        *("--data.game", "pong", "--data.num_envs", "2", "--data.total_steps", "16"),
        *("--model.init_args.num_steps", "8", "--model.init_args.hidden", "8"),
        *("--model.init_args.features.norm_samples", "16"),
    ])  # fmt: skip
    return folder / "ppo"


def screens(count: int = 3) -> torch.Tensor:
    return torch.randint(0, 256, (count, 4, 84, 84), generator=torch.manual_seed(0)).byte()


@pytest.mark.evidence
@pytest.mark.slow
def test_every_probe_takes_it(tuned: Path, recordings: Path, tmp_path: Path) -> None:
    from fovea.probes.run import run
    from fovea.results import read_result

    only = ["sparsity", "collapse", "attention", "attribution", "intervention", "state"]
    run([f"eyes={tuned}", f"heads=heads:{tuned}"], [recordings], tmp_path / "run", samples=120,
        only=only, accelerator="cpu")  # fmt: skip
    found = {name: read_result(tmp_path / "run" / "probes" / f"{name}.json") for name in only}
    assert not any("eyes" in result.left_out for result in found.values())
    assert "heads" in found["collapse"].encoders
    assert "heads" in found["sparsity"].left_out
    assert {row[1] for row in found["sparsity"].tables("eyes")["blocks"].rows} == {0, 1, 2, 3}


@pytest.mark.parametrize(
    ("adapted", "blocks"),
    [
        (LoRA, 5),
        (L2M, 1),
        pytest.param(Frozen, 5, marks=pytest.mark.evidence),
        pytest.param(FineTuned, 5, marks=pytest.mark.evidence),
    ],
)
def test_blocks_are_those_of_the_adapted_vit(adapted: Callable, blocks: int) -> None:
    agent = DQN(adapted(build(Shape(patch=42), seed=1)), 4, hidden=8).eval()
    agent.on_collect_start()
    eyes = OfAgent(agent)
    with torch.no_grad():
        if adapted is LoRA:
            for modulator in agent.extractor.encoder.modulators:
                modulator.up.normal_()
        each = list(block_features(eyes, screens()))
        whole = eyes(screens())
    assert len(each) == blocks
    assert torch.equal(each[-1].summary, whole.summary)


def test_the_target_network_acts_where_it_is_set(tmp_path: Path) -> None:
    agent = DQN(FineTuned(build(Shape(patch=42))), 4, hidden=8, act_with_target=True)
    assert OfAgent(agent).encoder is agent.target[0].encoder
    assert HeadsOfAgent(agent).extractor is agent.target[0]
    plain = DQN(FineTuned("random:nature_cnn"), 4, hidden=8, features=ReadOut("tokens"))
    assert OfAgent(plain).encoder is plain.extractor.encoder
    reference = untrained(OfAgent(plain), seed=3)
    assert reference.architecture == "nature_cnn"


def test_a_folder_that_is_no_agent_is_named(recordings: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds no agent"):
        probes.measure(f"heads:{tmp_path}", recordings, probe="collapse")
    with pytest.raises(UserError, match="SHA256SUMS"):
        probes.measure(tmp_path, recordings, probe="collapse")
