"""`fovea hub` on folders: what an encoder is, its card, whether it is whole."""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path

import ale_py
import gymnasium
import pytest
import torch
from safetensors.torch import load_file

from fovea.command import UserError
from fovea.pretrain.encoders.build import build_encoder
from fovea.pretrain.encoders.cnn import BODIES
from fovea.pretrain.encoders.folder import export_encoder, load_encoder
from fovea.pretrain.encoders.vit import Shape
from fovea.pretrain.hub import CARD, OWN, SUMS, locate, read_config, run, verify

FACTS = {"method": "VICReg", "games": ["pong", "breakout"], "samples": 1280}


SHIPPED = "pretrained:vit_micro"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return export_encoder(build_encoder(Shape(patch=42)), tmp_path / "run" / "encoder", FACTS)


def test_show_says_what_an_encoder_is(folder: Path, capsys: pytest.CaptureFixture) -> None:
    run(["show", str(folder.parent)])
    printed = capsys.readouterr().out
    count = sum(weight.numel() for weight in load_encoder(folder).state_dict().values())
    rows = dict(line.split("  ", 1) for line in printed.splitlines())
    assert f"{count:,} in " in rows["weights"]
    assert rows["games"].strip() == "pong, breakout"
    assert "4 screens of 84 x 84 px" in rows["input"]


def test_the_card_is_printed_and_made_anew(folder: Path, capsys: pytest.CaptureFixture) -> None:
    made = (folder / CARD).read_text()
    assert 'policy_kwargs("encoder")' in made
    run(["card", str(folder)])
    assert capsys.readouterr().out == made
    (folder / CARD).write_text("mine")
    with pytest.raises(UserError, match=r"README.md does not match"):
        run(["card", str(folder), "--write"])
    (folder / CARD).write_text(made)
    run(["card", str(folder), "--write"])
    assert capsys.readouterr().out == made
    assert CARD in verify(folder)
    load_encoder(folder)


def test_the_hub_knows_which_architectures_are_ours() -> None:
    """Without importing them."""
    assert set(OWN) == set(BODIES)


def test_an_untrained_encoder_of_the_same_shape(folder: Path) -> None:
    one, again, other = (load_encoder(f"untrained:{folder}", seed) for seed in (1, 1, 2))
    trained = load_encoder(folder)
    assert one.grid == trained.grid
    assert (one.vit.pos_embed == again.vit.pos_embed).all()
    for differs in (other, trained):
        assert (one.vit.pos_embed != differs.vit.pos_embed).any()
    with pytest.raises(UserError, match="there is no nowhere"):
        load_encoder("untrained:nowhere")


def test_an_encoder_comes_with_fovea(capsys: pytest.CaptureFixture) -> None:
    """Small enough for a wheel, verified like any other, in single precision."""
    encoder = load_encoder(SHIPPED)
    kept = {
        name: weight
        for file in ("model.safetensors", "read_out.safetensors")
        for name, weight in load_file(locate(SHIPPED) / file).items()
    }
    assert {weight.dtype for weight in kept.values()} == {torch.float32}
    assert len(encoder.state_dict()) == len(kept)
    for name, weight in (encoder.body.state_dict() | encoder.read_out.state_dict()).items():
        assert torch.equal(weight, kept[name])
    files = verify(locate(SHIPPED)) | {SUMS}
    assert files == {path.name for path in locate(SHIPPED).iterdir()}
    assert sum((locate(SHIPPED) / name).stat().st_size for name in files) < 3e6
    shape = load_encoder("random:vit_micro")
    assert (encoder.dim, encoder.stack, encoder.screen) == (shape.dim, shape.stack, shape.screen)
    run(["card", SHIPPED])
    said = capsys.readouterr().out
    assert f'load_encoder("{SHIPPED}")' in said
    assert "| this encoder | untrained | pixels |" in said
    assert "/tmp" not in said
    facts = read_config(locate(SHIPPED))["fovea"]
    assert [*facts["data_sha256"]] == facts["games"]
    for game, recordings in facts["data_sha256"].items():
        assert re.fullmatch(r"[0-9a-f]{64}(\+[0-9a-f]{64})*", recordings)
        assert f"{game} {recordings}" in said
    with pytest.raises(UserError, match="no encoder 'vit_mikro' comes with Fovea: did you mean"):
        load_encoder("pretrained:vit_mikro")


@pytest.mark.parametrize("ref", [SHIPPED, "folder"])
def test_python_on_the_card_runs_as_it_stands_there(
    ref: str, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    """With Fovea, plain timm, transformers and stable-baselines3."""
    monkeypatch.chdir(folder.parent)
    if ref == SHIPPED:
        run(["pull", SHIPPED, "--out", "vit_micro"])
    run(["card", SHIPPED if ref == SHIPPED else "encoder"])
    mine, plain, others, agent = re.findall(
        r"```python\n(.*?)```", capsys.readouterr().out, re.DOTALL
    )
    screens = torch.randint(0, 256, (2, 4, 84, 84)).to(torch.uint8)
    found = {"screens": screens}
    with torch.no_grad():
        exec(mine, found)
        exec(plain, found)
        model = found["model"].eval()
        assert torch.equal(model.forward_features(screens / 255)[:, 1:], found["tokens"])
    assert found["features"].shape == (2, 96)
    if find_spec("transformers"):
        before = found["features"]
        with torch.no_grad():
            exec(others, found)
        torch.testing.assert_close(found["features"], before)
    if find_spec("stable_baselines3"):
        from stable_baselines3.common.env_util import make_atari_env
        from stable_baselines3.common.vec_env import VecFrameStack

        gymnasium.register_envs(ale_py)
        envs = VecFrameStack(make_atari_env("PongNoFrameskip-v4", n_envs=1, seed=0), n_stack=4)
        exec(agent, found | {"envs": envs})
        envs.close()


def test_what_is_damaged_hides_nothing_else(folder: Path, capsys: pytest.CaptureFixture) -> None:
    run(["push", str(folder), str(folder.parent / "other")])
    (folder / "config.json").write_text("[]")
    run(["ls", str(folder.parent)])
    damaged, whole = capsys.readouterr().out.splitlines()[1:]
    assert "encoder  damaged: " in damaged
    assert whole.endswith("other  96 wide, 4x84x84  VICReg on pong, breakout")


def test_verify_names_all_that_is_damaged(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    names = ("a", "b", "c")
    for name in names:
        run(["push", str(folder), str(tmp_path / name)])
    capsys.readouterr()
    (tmp_path / "a" / CARD).write_text("mine")
    (tmp_path / "b" / SUMS).unlink()
    assert run(["verify", *(str(tmp_path / name) for name in names)]) == 1
    said = capsys.readouterr()
    assert said.out == f"{tmp_path / 'c'}: whole\n"
    first, second, last = said.err.splitlines()
    assert first.startswith(f"damaged: {tmp_path / 'a' / CARD} does not match its SHA-256")
    assert second.startswith(f"damaged: {tmp_path / 'b'} has no SHA256SUMS")
    assert last == "error: damaged encoders: 2, each named above with its fix"
    assert run(["verify", str(tmp_path / "c")]) == 0
    with pytest.raises(UserError, match="no encoder folder at"):
        run(["verify", str(tmp_path / "c"), str(tmp_path / "nowhere")])
