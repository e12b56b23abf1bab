"""`fovea hub` on folders: what an encoder is, its card, whether it is whole."""

from __future__ import annotations

from pathlib import Path

import pytest

from fovea.command import UserError
from fovea.pretrain.encoders.build import build_encoder
from fovea.pretrain.encoders.cnn import BODIES
from fovea.pretrain.encoders.folder import export_encoder, load_encoder
from fovea.pretrain.encoders.vit import Shape
from fovea.pretrain.hub import CARD, OWN, run, verify

FACTS = {"method": "VICReg", "games": ["pong", "breakout"], "samples": 1280}


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
