"""The card of an encoder: what it says was measured, of these very weights."""

from __future__ import annotations

from pathlib import Path

import cv2
import pytest
import yaml

from fovea.atari.frames import Frames
from fovea.command import UserError
from fovea.pretrain.encoders.build import build_encoder
from fovea.pretrain.encoders.fingerprint import fingerprint
from fovea.pretrain.encoders.folder import export_encoder, load_encoder
from fovea.pretrain.encoders.vit import Shape
from fovea.pretrain.hub import CARD, PICTURE, run, verify
from fovea.probes import attention
from fovea.probes.features import draw, encode
from fovea.probes.results import ResultFile
from fovea.results import read_result
from fovea.runs import RunWriter
from fovea.schema import Evaluation, PluggedIn

pytestmark = pytest.mark.slow


def pretrained(folder: Path, seed: int = 3) -> Path:
    """A run folder as `fovea pretrain fit` leaves it, without its checkpoints."""
    folder.mkdir()
    model = {"class_path": "fovea.pretrain.VICReg", "init_args": {"std_coeff": 25.0}}
    (folder / "config.yaml").write_text(yaml.safe_dump({"model": model, "trainer": {}}))
    export_encoder(build_encoder(Shape(patch=42), seed), folder / "encoder", {"games": ["pong"]})
    return folder


@pytest.fixture(scope="module")
def mine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pretrained(tmp_path_factory.mktemp("card") / "mine")


@pytest.fixture(scope="module")
def probes(mine: Path, recordings: Path) -> Path:
    """What was measured of it, and of an untrained one."""
    folder = mine.parent / "probes"
    frames, settings = Frames.load([recordings]), {"samples": 60}
    file = ResultFile(folder, "attention", attention, frames.data, settings)
    drawn = draw(frames, 4, samples=60, seed=0)
    for name, ref in {"mine": mine, "random": f"untrained:{mine}"}.items():
        encoder = load_encoder(ref)
        file.add(name, fingerprint(encoder), attention.probe(encoder, encode(encoder, drawn)))
    return folder


def evaluated(folder: Path, encoder: Path) -> Path:
    """A run folder of an agent on that encoder, as `fovea agents` leaves it."""
    frozen = {"class_path": "fovea.agents.Frozen", "init_args": {"encoder": str(encoder)}}
    adapted = {"class_path": "fovea.agents.LoRA", "init_args": {"encoder": frozen}}
    model = {"class_path": "fovea.agents.DQN", "init_args": {"encoder": adapted}}
    record = RunWriter(folder, "agent", "DQN in Pong")
    (folder / "config.yaml").write_text(yaml.safe_dump({"model": model}))
    played = Evaluation(game="pong", trained=6000, returns=[-20.0, -19.0], mean=-19.5, hns=0.034)
    given = PluggedIn(fingerprint=fingerprint(load_encoder(encoder)), source=str(encoder))
    record.update(game="pong", evaluation=played, plugged_in=given)
    return folder


def test_a_card_shows_what_was_measured_and_a_picture(
    mine: Path, probes: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    agent = evaluated(tmp_path / "dqn", mine)
    before = load_encoder(mine).state_dict()
    run(["card", str(mine), "--write", "--as", "hf-hub:me/mine",
         "--probes", str(probes), "--agents", str(agent)])  # fmt: skip
    said = capsys.readouterr().out
    folder = mine / "encoder"
    assert said == (folder / CARD).read_text()
    assert PICTURE in verify(folder)
    assert cv2.imread(str(folder / PICTURE)).shape == (2 * 168, 2 * 168, 3)
    assert f"]({PICTURE})" in said
    for name, weight in load_encoder(mine).state_dict().items():
        assert (weight == before[name]).all()

    result = read_result(probes / "probes" / "attention.json")
    rows = result.tables("mine")["heads"].records()
    ratio = sum(row["on_motion"] for row in rows) / sum(row["area"] for row in rows)
    assert f"| {ratio:.3f} | " in said
    assert "| this encoder | untrained |" in said
    assert "recordings of their own (breakout, pong; samples 60" in said
    assert "std_coeff: 25.0" in said
    assert "| pong | DQN | LoRA | 6,000 | 2 | -19.5 |" in said
    assert 'load_encoder("hf-hub:me/mine")' in said
    assert 'timm.create_model("hf-hub:me/mine", pretrained=True)' in said
    assert 'AutoModel.from_pretrained("me/mine")' in said

    run(["card", str(mine), "--write"])
    assert PICTURE not in verify(folder)
    assert not (folder / PICTURE).exists()
    assert "untrained" not in capsys.readouterr().out


def test_what_was_measured_of_other_weights_is_refused(
    mine: Path, probes: Path, tmp_path: Path
) -> None:
    other = pretrained(tmp_path / "other", seed=4)
    card = (other / "encoder" / CARD).read_text()
    agent = evaluated(tmp_path / "dqn", mine)
    (tmp_path / "idle").mkdir()
    for options, message in {
        ("--probes", probes): "measured mine, random, none of them with these weights",
        ("--probes", agent): "holds no results of probes",
        ("--agents", agent): r"dqn plays on .*mine, which is not \(or no longer\) this encoder",
        ("--agents", tmp_path / "idle"): "idle was not evaluated: `fovea agents evaluate",
    }.items():
        with pytest.raises(UserError, match=message):
            run(["card", str(other), "--write", *map(str, options)])
    with pytest.raises(UserError, match="add --write"):
        run(["card", str(other), "--probes", str(probes)])
    with pytest.raises(UserError, match="is not yours to write"):
        run(["card", "pretrained:vit_micro", "--write"])
    assert (other / "encoder" / CARD).read_text() == card
