"""Numbers that are too large, too small or all the same."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from fovea.agents.fit import fit as agents_fit
from fovea.atari.import_numpy import import_numpy
from fovea.command import UserError
from fovea.pretrain.encoders.folder import export_encoder, load_encoder
from fovea.pretrain.encoders.vit import Shape, build
from fovea.pretrain.training.checkpoint import newest, read
from fovea.probes.collapse import spread_of
from fovea.probes.run import run
from fovea.probes.spread import lidar
from fovea.results import read_result
from fovea.runs import read_run


def test_constant_features_fill_no_space() -> None:
    """Fault 6: a constant and its rounding have a rank of about 1, or none."""
    constant = torch.full((64, 96), 0.3).double()
    assert lidar(constant, views=2) == 1.0
    assert lidar(constant + 1e-9 * torch.randn(64, 96), views=2) == 1.0
    rows = dict(spread_of({"pong": torch.full((64, 96), 0.3)}, {"pong": torch.arange(63)}, True))
    ranks = torch.tensor(rows["pong"][1:6])
    assert not (ranks > 1.001).any()


@pytest.mark.slow
def test_an_encoder_that_breaks_one_probe_leaves_the_others(short: Path, tmp_path: Path) -> None:
    """Fault 21: features as large as these have no eigenvalues."""
    encoder = build(Shape(patch=42))
    with torch.no_grad():
        encoder.vit.norm.weight.fill_(1e30)
    folder = export_encoder(encoder, tmp_path / "encoder", {})
    lacking = run([f"mine={folder}"], [str(short)], tmp_path, only=["sparsity", "collapse"],
                  samples=60)  # fmt: skip
    assert any("collapse of mine" in line and "no solution" in line for line in lacking)
    result = read_result(tmp_path / "probes" / "collapse.json")
    assert "random" in result.encoders
    assert "its features have no solution here" in result.left_out["mine"]
    assert "mine" in read_result(tmp_path / "probes" / "sparsity.json").encoders


@pytest.mark.slow
@pytest.mark.parametrize(
    ("every", "kept"), [(1, 2), pytest.param(100, None, marks=pytest.mark.evidence)]
)
@pytest.mark.parametrize("room", ["pretrain", "agents"])
def test_a_gradient_that_is_no_number_ends_the_run_at_its_step(
    room: str,
    every: int,
    kept: int | None,
    vicreg,
    dqn,
    short: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture,
) -> None:
    """The third step's; its loss was finite still, and no checkpoint is written of its weights."""
    more = ("--checkpoint_every", every, "--trainer.callbacks", "[spoils.SpoilGradients]")
    learn = dqn if room == "agents" else partial(vicreg, short)
    with pytest.raises(SystemExit) as ended:
        learn(tmp_path, *more)
    assert ended.value.code == 1
    record = read_run(tmp_path)
    assert record.state == "failed"
    assert "not finite" in record.reason
    assert ("step 3" if every == 1 else "step 4") in record.reason
    last = newest(tmp_path / "checkpoints")
    assert (last and last.name) == (kept and f"step-{kept:09d}.ckpt")
    if last:
        assert all(torch.isfinite(weight).all() for weight in read(last)["state_dict"].values())
        assert str(last) in capsys.readouterr().err


Made = Callable[..., Path]


@pytest.fixture
def made(tmp_path: Path) -> Made:
    """Recordings of Pong that are imported: episodes of so many screens, noise or all equal."""

    def make(lengths: list[int], equal: bool = False, reward: float = 0) -> Path:
        random = np.random.default_rng(0)
        (tmp_path / "files").mkdir()
        for number, length in enumerate(lengths):
            shape = (length, 84, 84)
            screen = np.full(shape, 87) if equal else random.integers(0, 256, shape)
            np.savez(
                tmp_path / "files" / f"{number}.npz",
                screen=screen.astype(np.uint8),
                action=random.integers(0, 6, length),
                reward=np.full(length, reward),
            )
        import_numpy(tmp_path / "files", tmp_path / "recordings", game="pong")
        return tmp_path / "recordings"

    return make


@pytest.mark.parametrize("reward", [np.nan, np.inf, 0.5, 2.0**31])
def test_rewards_that_no_game_gives_are_refused_where_they_come_in(
    reward: float, made: Made, tmp_path: Path
) -> None:
    """So that no agent learns from them: recordings hold whole numbers."""
    with pytest.raises(UserError, match="rewards that are no whole numbers, as no game's") as said:
        made([10], reward=reward)
    assert "\n" not in str(said.value)
    assert not list((tmp_path / "recordings").rglob("_dataset.json"))


ODD = {
    "a game without motion": ([40] * 10, True, ["--trainer.limit_val_batches", 0]),
    "fewer windows than a batch": ([6] * 10, False, ["--data.batch_size", 64]),
    "batches of two": ([20] * 10, False, ["--data.batch_size", 2]),
    "few long episodes among episodes of one screen": ([1] * 20 + [20] * 20, False, []),
}


@pytest.mark.slow
@pytest.mark.parametrize("case", ODD)
def test_odd_recordings_are_trained_on(case: str, made: Made, vicreg, tmp_path: Path) -> None:
    lengths, equal, more = ODD[case]
    record = vicreg(made(lengths, equal), tmp_path / "run", *more)
    assert (record.state, record.step) == ("done", 4)
    weights = load_encoder(tmp_path / "run").state_dict().values()
    assert all(torch.isfinite(weight).all() for weight in weights)


@pytest.mark.slow
def test_a_game_without_motion_has_no_screens_to_hold_out(
    made: Made, vicreg, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match="validation episode, apart from screens that training sh"):
        vicreg(made([40] * 10, equal=True), tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_episodes_of_one_screen_alone_are_refused_in_one_line(
    made: Made, vicreg, tmp_path: Path
) -> None:
    with pytest.raises(
        UserError, match=r"no window of 4 screens at offsets .* record more"
    ) as said:
        vicreg(made([1] * 20), tmp_path / "run")
    assert "\n" not in str(said.value)
    assert not (tmp_path / "run").exists()


OFFLINE = {
    "one transition a batch": ([30] * 4, ["--model.batch_size", 1]),
    "fewer steps than a batch": ([4, 5], ["--model.batch_size", 64, "--data.total_steps", 256]),
    "episodes of one screen": ([1] * 8, []),
}
REFUSED = {"episodes of one screen": "none of the 8 steps that are held is followed by 1 more"}


@pytest.mark.slow
@pytest.mark.parametrize("case", OFFLINE)
def test_an_agent_learns_from_odd_recordings_or_says_why_not(
    case: str, made: Made, small_encoder: Path, tmp_path: Path
) -> None:
    lengths, more = OFFLINE[case]
    run = tmp_path / "run"
    asked = ["-c", "cloned", "--run", run, "--model.init_args.recordings", made(lengths),
             "--model.encoder", "Frozen", "--model.encoder.encoder", small_encoder,
             "--model.features.norm_samples", 8, "--model.hidden", 8, "--data.game", "pong",
             "--model.batch_size", 8, "--data.total_steps", 32, *more]  # fmt: skip
    if case in REFUSED:
        with pytest.raises(UserError, match=REFUSED[case]):
            agents_fit([*map(str, asked)])
        assert not run.exists()
    else:
        agents_fit([*map(str, asked)])
        assert read_run(run).state == "done"
        state = read(newest(run / "checkpoints"))["state_dict"].values()
        assert all(torch.isfinite(weight).all() for weight in state)
