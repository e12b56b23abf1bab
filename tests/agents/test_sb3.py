"""stable-baselines3's own DQN and PPO, in real games, see with an encoder of ours."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from fovea.command import UserError
from fovea.pretrain.encoders.encoder import Encoder
from fovea.pretrain.encoders.folder import load_encoder
from fovea.pretrain.encoders.read_out import ReadOut

sb3 = pytest.importorskip("stable_baselines3")

import ale_py  # noqa: E402
import gymnasium  # noqa: E402
from stable_baselines3.common.env_util import make_atari_env  # noqa: E402
from stable_baselines3.common.vec_env import VecFrameStack  # noqa: E402

from fovea.agents.sb3 import EncoderExtractor, policy_kwargs  # noqa: E402

gymnasium.register_envs(ale_py)

SMALL = {
    "DQN": {"buffer_size": 500, "learning_starts": 60, "target_update_interval": 20,
            "batch_size": 8},
    "PPO": {"n_steps": 32, "batch_size": 16, "n_epochs": 1},
}  # fmt: skip
MODELS = pytest.mark.parametrize("name", SMALL)
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


@pytest.fixture(scope="module")
def envs():
    made = VecFrameStack(make_atari_env("PongNoFrameskip-v4", n_envs=2, seed=0), n_stack=4)
    yield made
    made.close()


def model(name: str, envs, encoder: Path, features: ReadOut = ReadOut(), **how):
    settings = policy_kwargs(encoder, features, **how)
    return getattr(sb3, name)("CnnPolicy", envs, policy_kwargs=settings, device="cpu", seed=0,
                              **SMALL[name])  # fmt: skip


def extractors(trained) -> list[EncoderExtractor]:
    policy = trained.policy
    nets = [policy.q_net, policy.q_net_target] if trained.__class__.__name__ == "DQN" else [policy]
    return [net.features_extractor for net in nets]


def encoder_of(extractor: EncoderExtractor) -> Encoder:
    return (extractor._shared[0] if extractor._shared else extractor.features).encoder


def same(one: Encoder, other: Encoder) -> bool:
    pairs = zip(one.state_dict().items(), other.state_dict().items(), strict=True)
    return all(name == its and torch.equal(w, v) for (name, w), (its, v) in pairs)


@pytest.mark.slow
@MODELS
def test_a_frozen_encoder_stays_as_it_is_and_is_one(
    name: str, encoder: Path, envs, tmp_path: Path
) -> None:
    given = load_encoder(encoder)
    folder = shutil.copytree(encoder, tmp_path / "eyes")
    trained = model(name, envs, folder, ReadOut("projected_tokens", projection_dim=4))
    eyes = [encoder_of(extractor) for extractor in extractors(trained)]
    assert all(one is eyes[0] for one in eyes)
    assert same(eyes[0], given)
    mine = {id(parameter) for parameter in eyes[0].parameters()}
    assert not mine & {id(parameter) for parameter in trained.policy.parameters()}
    before = [p.clone() for p in trained.policy.parameters()]
    trained.learn(300)
    assert any(
        not torch.equal(a, b) for a, b in zip(before, trained.policy.parameters(), strict=True)
    )
    assert same(eyes[0], given)
    assert not any(part.training for part in eyes[0].modules())

    trained.save(tmp_path / "model.zip")
    shutil.rmtree(folder)
    again = getattr(sb3, name).load(tmp_path / "model.zip", env=envs, device="cpu")
    assert same(encoder_of(extractors(again)[0]), given)
    observations = envs.reset()
    actions = [each.predict(observations, deterministic=True)[0] for each in (trained, again)]
    assert np.array_equal(*actions)
    again.learn(64)
    assert same(encoder_of(extractors(again)[0]), given)


@pytest.mark.slow
@MODELS
def test_a_learning_encoder_starts_from_its_folder_and_learns(
    name: str, encoder: Path, envs, tmp_path: Path
) -> None:
    given = load_encoder(encoder)
    trained = model(name, envs, encoder, lr_scale=0.1)
    eyes = [encoder_of(extractor) for extractor in extractors(trained)]
    assert all(same(one, given) for one in eyes)
    assert len({id(one) for one in eyes}) == len(eyes)
    trained.learn(150)
    assert not same(eyes[0], given)
    trained.save(tmp_path / "model.zip")
    again = getattr(sb3, name).load(tmp_path / "model.zip", env=envs, device="cpu")
    for mine, its in zip(extractors(trained), extractors(again), strict=True):
        assert same(encoder_of(mine), encoder_of(its))


@pytest.mark.slow
def test_an_encoder_learns_at_a_rate_of_its_own(encoder: Path, envs) -> None:
    """The first step of Adam moves every weight that has a gradient by about the rate."""
    trained = model("PPO", envs, encoder, lr_scale=0.01)
    before = {name: p.clone() for name, p in trained.policy.named_parameters()}
    trained.policy.optimizer.zero_grad()
    for parameter in trained.policy.parameters():
        parameter.grad = torch.ones_like(parameter)
    trained.policy.optimizer.step()
    moved = {
        name: (before[name] - p).mean().item() for name, p in trained.policy.named_parameters()
    }
    inner = [moved[name] for name in moved if ".encoder." in name]
    outer = [moved[name] for name in moved if ".encoder." not in name]
    assert len(inner) > 10
    assert len(outer) > 4
    rate = trained.policy.optimizer.param_groups[0]["lr"]
    assert np.allclose(inner, 0.01 * rate, rtol=0.05)
    assert np.allclose(outer, rate, rtol=0.05)


@pytest.mark.slow
def test_what_heads_are_given_is_what_the_encoder_gives(encoder: Path, envs) -> None:
    screens = np.transpose(envs.reset(), (0, 3, 1, 2))
    norm = np.random.default_rng(0).integers(0, 256, (20, 4, 84, 84), dtype=np.uint8)
    trained = model("DQN", envs, encoder, ReadOut("tokens", norm="standard"), norm_screens=norm)
    given = load_encoder(encoder)
    tokens, fitted = (given.encode_array(s).tokens.flatten(1) for s in (screens, norm))
    std = fitted.std(dim=0)
    expected = (tokens - fitted.mean(dim=0)) / std.clamp(min=0.1 * std.mean())
    found = trained.policy.extract_features(torch.as_tensor(screens), extractors(trained)[0])
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.slow
def test_mistakes_are_one_line(encoder: Path, envs) -> None:
    with pytest.raises(UserError, match="go together"):
        policy_kwargs(encoder, ReadOut(norm="whiten"))
    flat = make_atari_env("PongNoFrameskip-v4", n_envs=1)
    with pytest.raises(UserError, match="takes uint8 screens"):
        sb3.DQN("CnnPolicy", flat, policy_kwargs=policy_kwargs(encoder), buffer_size=10)
    scaled = policy_kwargs(encoder) | {"normalize_images": True}
    trained = sb3.PPO("CnnPolicy", envs, policy_kwargs=scaled, device="cpu", **SMALL["PPO"])
    with pytest.raises(UserError, match="normalize_images=False"):
        trained.predict(envs.reset())
