"""L2M: which samples choose what, what they learn, and what stays as it was."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from fovea.agents.adaptation.l2m import L2M
from fovea.agents.adaptation.l2p import L2P
from fovea.agents.adaptation.pool import Pool
from fovea.agents.algorithms.dqn import DQN
from fovea.agents.algorithms.ppo import PPO
from fovea.agents.experience.replay import Transitions
from fovea.agents.fit import fit
from fovea.agents.loading import load_agent
from fovea.agents.networks.head_pool import HeadPool
from fovea.agents.task import AtariTask
from fovea.command import UserError
from fovea.pretrain.encoders.vit import Shape, build
from fovea.pretrain.training.checkpoint import newest

ROOT = Path(__file__).parents[2]


def small(**settings) -> L2M:
    return L2M(build(Shape(patch=42)), size=4, rank=2, **settings)


def screens(count: int = 4) -> Tensor:
    """Screens so unlike each other that their queries are."""
    generator = torch.Generator().manual_seed(0)
    levels = torch.linspace(0, 255, count)[:, None, None, None]
    noise = torch.randint(0, 60, (count, 4, 84, 84), generator=generator)
    return (levels.expand(-1, 4, 84, 84) + noise).clamp(0, 255).to(torch.uint8)


@torch.no_grad()
def answering(adapted: L2M, stacks: Tensor) -> L2M:
    """The same with key i the query of stack i, and all modulators moved at random."""
    tokens = adapted.encoder.embed(adapted.encoder.scale(stacks))
    queries = adapted.queries(tokens)
    adapted.pool.centre(queries)
    adapted.pool.keys.copy_(adapted.pool.centred(queries))
    adapted.on_collect_start()
    generator = torch.Generator().manual_seed(1)
    for weights in adapted.modulators.parameters():
        weights += 0.1 * torch.randn(weights.shape, generator=generator)
    return adapted


def test_each_sample_is_changed_by_its_own_entry_alone() -> None:
    stacks = screens()
    for modulators in ("lora", "ia3"):
        adapted = answering(small(modulators=modulators), stacks)
        together = adapted(stacks).tokens
        assert adapted.picked.flatten().tolist() == [0, 1, 2, 3]
        plain = adapted.encoder
        for number in range(4):
            adapted.enter(torch.full((1, 1), number))
            alone = plain(stacks[number : number + 1]).tokens[0]
            torch.testing.assert_close(together[number], alone, rtol=1e-3, atol=1e-4)
            adapted.enter(torch.full((1, 1), (number + 1) % 4))
            other = plain(stacks[number : number + 1]).tokens[0]
            assert not torch.allclose(together[number], other, atol=1e-2)


def test_a_prompt_is_taken_by_who_picked_it() -> None:
    stacks = screens()
    adapted = answering(L2P(build(Shape(patch=42)), size=4, picks=2, length=3), stacks)
    together = adapted(stacks).tokens
    picked = adapted.picked
    assert picked[:, 0].tolist() == [0, 1, 2, 3]
    assert picked.shape == (4, 2)
    for number in range(4):
        adapted.enter(picked[number : number + 1])
        alone = adapted.encoder(stacks[number : number + 1]).tokens[0]
        torch.testing.assert_close(together[number], alone, rtol=1e-3, atol=1e-4)


def transitions(stacks: Tensor) -> Transitions:
    count = len(stacks)
    return Transitions(
        stacks, torch.zeros(count, dtype=torch.int64), torch.ones(count),
        torch.full((count,), 0.9), stacks.roll(1, 0),
    )  # fmt: skip


@pytest.mark.parametrize("modulators", ["lora", "ia3"])
def test_gradients_reach_the_picked_entries_and_no_others(modulators: str) -> None:
    stacks = screens()
    dqn = DQN(encoder=answering(small(modulators=modulators), stacks), actions=3, hidden=8)
    adapted = dqn.extractor.encoder
    answering(adapted, stacks)
    before = {name: weights.clone() for name, weights in dqn.state_dict().items()}
    optimiser = torch.optim.Adam([w for w in dqn.parameters() if w.requires_grad], lr=0.1)
    losses = dqn.losses(transitions(stacks[[1, 3, 1]])) | adapted.penalties()
    torch.stack(list(losses.values())).sum().backward()
    optimiser.step()
    yes = [False, True, False, True]
    after = dqn.state_dict()
    for name, weights in adapted.named_parameters():
        if name.startswith(("modulators.", "pool.")):
            moved = (weights != before[f"extractor.encoder.{name}"]).flatten(1).any(dim=1)
            assert moved.tolist() == (weights.grad != 0).flatten(1).any(dim=1).tolist() == yes
    for number, head in enumerate(dqn.head.heads):
        assert all((weights.grad is not None) == yes[number] for weights in head.parameters())
        same = [torch.equal(after[n], before[n]) for n in after if f"head.heads.{number}." in n]
        assert all(same) != yes[number]


def test_the_target_network_picks_as_the_online_one() -> None:
    """With keys that have moved, in a second game, where used ones count less."""
    stacks = screens()
    dqn = DQN(encoder=answering(small(), stacks), actions=3, hidden=8)
    online, target = dqn.extractor.encoder, dqn.target[0].encoder
    for moved in (False, True):
        if moved:
            torch.nn.init.uniform_(online.pool.keys, -1, 1)
            online.on_task_start()
            online.on_collect_start()
        dqn.losses(transitions(stacks))
        online(stacks)
        target(stacks)
        assert torch.equal(online.picked, target.picked)
        assert not any(weights.requires_grad for weights in dqn.target.parameters())
        assert online.pool.keys.requires_grad
        online.penalties()


@pytest.mark.slow
def test_ppo_learns_with_the_choice_that_it_played_with() -> None:
    task = AtariTask("breakout", num_envs=2, total_steps=16)
    ppo = PPO(encoder=small(), actions=task.action_count, hidden=8, num_steps=8)
    task.attach(ppo)
    adapted = ppo.extractor.encoder
    rollout = task.experience.collect()
    ppo.extractor(rollout.obs)
    played = adapted.picked
    with torch.no_grad():
        # What an optimiser might do to the keys between two epochs: the best are now the worst.
        adapted.pool.keys.neg_()
    logp, value = ppo.policy_and_value(rollout.obs)
    assert torch.equal(adapted.picked, played)
    taken = logp.gather(1, rollout.action[:, None])[:, 0]
    torch.testing.assert_close(taken, rollout.logp, rtol=0, atol=1e-5)
    torch.testing.assert_close(value, rollout.value, rtol=0, atol=1e-5)
    task.experience.collect()
    ppo.extractor(rollout.obs)
    assert not torch.equal(adapted.picked, played)


def test_a_new_game_gets_other_keys_but_not_in_an_evaluation() -> None:
    stacks = screens()
    adapted, unpenalised = (answering(small(penalty=p), stacks) for p in (True, False))
    for each in (adapted, unpenalised):
        each(stacks[:2])
        each.penalties()
        each.on_task_start()
    adapted(stacks[:2])
    assert set(adapted.picked.flatten().tolist()) <= {2, 3}
    assert adapted.pool.choice.weights.sum().item() == pytest.approx(1)
    adapted.eval()(stacks[:2])
    assert adapted.picked.flatten().tolist() == [0, 1]
    unpenalised.train()(stacks[:2])
    assert unpenalised.picked.flatten().tolist() == [0, 1]


def test_usage_is_the_mean_share_over_updates() -> None:
    pool = Pool(3, 2, picks=1, pull=0.5, penalty=True, scale=1)
    for picked in ([[0], [0], [0], [2]], [[1], [2], [2], [2]]):
        pool.count(torch.tensor(picked))
    assert pool.choice.usage.tolist() == pytest.approx([3 / 8, 1 / 8, 4 / 8])


def test_the_pull_moves_a_key_towards_its_queries_and_leaves_its_gradient_small() -> None:
    for scale in (1e-3, 10.0):
        pool = Pool(2, 3, picks=1, pull=0.5, penalty=True, scale=scale)
        queries, picked = torch.eye(3), torch.zeros(3, 1, dtype=torch.int64)
        loss = pool.loss(queries, picked)
        loss.backward()
        key = pool.keys[0].detach()
        cosine = (queries @ key / key.norm()).mean()
        assert loss.item() == pytest.approx(-0.5 * (cosine * key.norm()).item(), rel=1e-4)
        assert pool.keys.grad[0].norm() <= 0.5
        after = key - 0.01 * scale * pool.keys.grad[0]
        assert (queries @ after / after.norm()).mean() > cosine
        assert torch.equal(pool.keys.grad[1], torch.zeros(3))


@pytest.mark.slow
@given(st.integers(2, 40), st.integers(0, 2**31))
def test_a_choice_does_not_depend_on_the_rest_of_the_batch(count: int, seed: int) -> None:
    pool = Pool(6, 16, picks=1, pull=0.5, penalty=True, scale=0.02)
    queries = torch.randn(count, 16, generator=torch.Generator().manual_seed(seed))
    alone = torch.cat([pool(queries[row : row + 1]) for row in range(count)])
    assert torch.equal(pool(queries), alone)


def test_more_picks_than_keys_are_refused() -> None:
    with pytest.raises(UserError, match="picks 5 of a pool of 3: take fewer"):
        L2P(build(Shape(patch=42)), size=3)


def test_each_row_gets_its_own_head() -> None:
    heads = [nn.Linear(2, 3) for _ in range(4)]
    features, index = torch.randn(5, 2), torch.tensor([[3.0], [0], [3], [1], [0]])
    expected = torch.stack([heads[int(m)](row) for row, m in zip(features, index, strict=True)])
    indexed = torch.cat([features, index], dim=1)
    torch.testing.assert_close(HeadPool(heads, keep_head_index=False)(indexed), expected)
    torch.testing.assert_close(
        HeadPool(heads, keep_head_index=True)(indexed), torch.cat([expected, index], dim=1)
    )


@pytest.mark.slow
def test_screens_of_a_game_find_the_keys_it_was_learnt_with(recordings: Path) -> None:
    """Each game learns one key by itself, named by nothing but its screens."""
    pool, played = small().pool, {}
    optimiser = torch.optim.Adam([pool.keys], lr=3e-4)
    for game in ("breakout", "pong"):
        queries = small(recordings=[str(recordings / game)]).recorded()[:256]
        for _ in range(200):
            pool.on_collect_start()
            picked = pool(queries)
            optimiser.zero_grad()
            pool.loss(queries, picked).backward()
            optimiser.step()
            pool.count(picked)
        played[game] = queries, picked.unique()
        pool.on_task_start()
    pool.on_collect_start()
    assert len(torch.cat([keys for _, keys in played.values()]).unique()) == 2
    for queries, keys in played.values():
        assert torch.isin(pool.eval()(queries), keys).double().mean() > 0.99


@pytest.mark.slow
def test_queries_are_centred_with_recordings_once(recordings: Path, tmp_path: Path) -> None:
    adapted = small(recordings=[str(recordings)])
    queries = adapted.recorded()
    assert 1000 < len(queries) <= 2048
    adapted.on_collect_start()
    centred = adapted.pool.centred(queries)
    torch.testing.assert_close(centred.mean(dim=0), torch.zeros(96), rtol=0, atol=1e-3)
    torch.testing.assert_close(centred.std(dim=0), torch.ones(96), rtol=0, atol=1e-3)
    moved = small(recordings=[str(tmp_path / "gone")])
    moved.load_state_dict(adapted.state_dict())
    moved.on_collect_start()
    assert torch.equal(moved.pool.centred(queries), centred)
    with pytest.raises(UserError, match="gone"):
        small(recordings=[str(tmp_path / "gone")]).on_collect_start()


def arguments(encoder: Path, run: Path) -> list[str]:
    settings = {
        "model.init_args.encoder.init_args": {"encoder": encoder, "size": 4},
        "model.init_args.features": {"norm_samples": 64},
        "model.init_args": {"hidden": 8, "batch_size": 8,
                            "buffer_size": 200, "learning_starts": 64, "train_freq": 4,
                            "epsilon_initial": 0.5},
        "data": {"num_envs": 2, "total_steps": 144},
    }  # fmt: skip
    pairs = [
        (f"--{prefix}.{key}", str(value))
        for prefix, own in settings.items()
        for key, value in own.items()
    ]
    config = ROOT / "agents" / "configs" / "dqn_l2m.yaml"
    return [
        *("-c", str(config), "--run", str(run), "--checkpoint_every", "7"),
        *("--trainer.log_every_n_steps", "5"),
        *(word for pair in pairs for word in pair),
    ]


REFUSED = {
    "no recordings": ({"recordings": "[nowhere]"}, "no recordings in nowhere: make some with"),
    "a misspelt setting of every pool": ({"pulll": 1}, "unknown setting 'pulll'"),
    "a wrong one": ({"query": "first"}, "first"),
}


@pytest.mark.slow
@pytest.mark.parametrize("mistake", REFUSED)
def test_a_mistake_is_refused_before_anything_is_played_and_leaves_nothing_behind(
    mistake: str, encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, message = REFUSED[mistake]
    more = [
        word
        for key, value in settings.items()
        for word in (f"--model.init_args.encoder.init_args.{key}", str(value))
    ]
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError) as refused:
        fit([*arguments(encoder, tmp_path / "run"), *more])
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_damaged_recordings_are_refused_by_name(
    encoder: Path, recordings: Path, tmp_path: Path
) -> None:
    pong = shutil.copytree(recordings / "pong", tmp_path / "pong")
    (pong / "shard-00001.parquet").write_bytes(b"damaged")
    setting = ("--model.init_args.encoder.init_args.recordings", f"[{pong}]")
    with pytest.raises(UserError, match=r"pong/shard-00001\.parquet: it cannot be read"):
        fit([*arguments(encoder, tmp_path / "run"), *setting])
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_an_agent_needs_its_recordings_only_to_begin(
    encoder: Path, recordings: Path, tmp_path: Path
) -> None:
    """Whoever asks again or loads it finds in the checkpoint what they said."""
    pong, run = shutil.copytree(recordings / "pong", tmp_path / "pong"), tmp_path / "run"
    setting = ("--model.init_args.encoder.init_args.recordings", f"[{pong}]")
    command = [*arguments(encoder, run), *setting, "--data.total_steps", "72"]
    fit(command)
    shutil.rmtree(pong)
    fit(command)
    assert load_agent(run).agent.extractor.encoder.pool.choice.centred


@pytest.mark.evidence
@pytest.mark.slow
def test_an_interrupted_run_ends_as_the_run_that_was_not_usage_and_keys_included(
    encoder: Path, tmp_path: Path, failing: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three updates after its checkpoint, with 74 of its 144 steps played."""
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    fit(arguments(encoder, whole))
    measured = 64 // 2  # steps of the emulator for the feature norm; then two agent steps each
    failing(KeyboardInterrupt(), measured + 53)
    with pytest.raises((KeyboardInterrupt, SystemExit)):
        fit(arguments(encoder, broken))
    assert newest(broken / "checkpoints").name == "step-000000007.ckpt"
    monkeypatch.undo()
    fit(arguments(encoder, broken))
    ours, theirs = (
        torch.load(newest(run / "checkpoints"), weights_only=True)["state_dict"]
        for run in (whole, broken)
    )
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    choice = {
        name.rpartition(".")[2]: ours[name] for name in ours if "extractor.encoder.pool." in name
    }
    assert choice["updates"] == 20
    assert choice["usage"].sum().item() == pytest.approx(1)
    logged = {line.split(",")[1] for line in (whole / "metrics.csv").read_text().splitlines()}
    assert {"loss/pull", "keys"} <= logged
