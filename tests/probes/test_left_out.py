"""What cannot be measured is left out with a line, the rest goes on, and the exit code says so."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from fovea.atari.frames import Frames
from fovea.command import UserError
from fovea.pretrain.encoders.cnn import build_cnn
from fovea.pretrain.encoders.folder import export_encoder
from fovea.pretrain.encoders.vit import ViT
from fovea.probes import robustness, similarity, temporal, value
from fovea.probes import run as probing
from fovea.probes.__main__ import run as run_command
from fovea.probes.features import Drawn, NotMeasured, Split, Splits, encode
from fovea.probes.references import Blind

FACTS = {"method": "VICReg", "games": ["pong", "breakout"], "samples": 1280}


@pytest.fixture
def command(recordings: Path, tmp_path: Path) -> Callable:
    """Run the command on a folder of an encoder; returns its exit code and the results."""

    def run(folder: Path, probes: list[str]) -> tuple[int | None, dict]:
        into = tmp_path / "run"
        code = run_command(
            ["run", "--encoder", f"mine={folder}", "--recordings", str(recordings),
             "--run", str(into), "--samples", "200", "--accelerator", "cpu",
             *(word for probe in probes for word in ("--probe", probe))]
        )  # fmt: skip
        return code, {p.stem: json.loads(p.read_text()) for p in into.glob("probes/*.json")}

    return run


@pytest.mark.evidence
@pytest.mark.slow
def test_an_encoder_without_attention_has_the_other_probes(
    command: Callable, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    folder = export_encoder(build_cnn("nature_cnn"), tmp_path / "cnn", FACTS)
    code, found = command(folder, ["attention", "value"])
    assert code == 1
    reason = found["attention"]["left_out"]["mine"]
    assert f"left out: attention of mine: {reason}" in capsys.readouterr().out
    assert set(found["value"]["encoders"]) >= {"mine", "random", "pixels"}
    assert command(folder, ["value"])[0] == 0  # and of what was measured nothing is lacking


@pytest.mark.slow
def test_features_that_are_no_numbers_are_named(
    command: Callable, encoder: ViT, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    """Finite weights, which the folder's check asks for, whose products are not."""
    with torch.no_grad():
        encoder.vit.patch_embed.proj.weight.fill_(3e38)
    folder = export_encoder(encoder, tmp_path / "wild", FACTS)
    code, found = command(folder, ["collapse"])
    assert code == 1
    assert "features of breakout are not finite" in found["collapse"]["left_out"]["mine"]
    assert "collapse of mine: its features of breakout are not finite" in capsys.readouterr().out
    assert "random" in found["collapse"]["encoders"]


def test_a_game_of_one_episode_is_left_out_and_the_other_drawn(frames: Frames) -> None:
    one = frames.game == frames.games.index("pong")
    of_one = replace(frames, episode=torch.where(one, frames.episode[one][0], frames.episode))
    drawn, lines = probing._draw(of_one, 2, 100, 0)
    assert set(drawn) == {"breakout"}
    assert lines == ["pong has 1 episode, too few for 3 splits: record or import 3 or more"]
    with pytest.raises(UserError, match="pong has 1 episode, too few"):
        probing._draw(of_one.of("pong"), 2, 100, 0)


def test_a_game_without_memory_is_left_out_and_the_other_measured(
    encoder: ViT, seen: dict[str, Splits]
) -> None:
    def without(split: Split) -> Split:
        labels = split.frames.labels | {"ram": torch.zeros_like(split.frames.labels["ram"])}
        return split._replace(frames=replace(split.frames, labels=labels))

    imported = Splits(*map(without, seen["breakout"]))
    games = {"pong": seen["pong"], "breakout": imported, "tutankham": seen["breakout"]}
    found = robustness.probe(encoder, games, stacks_measured=20)
    assert {row[0] for row in found.tables[0].rows} == {"pong"}
    assert found.left_out == [
        "breakout: its recordings hold no memory (RAM)",
        "tutankham: no table names the memory of tutankham",
    ]


@pytest.mark.slow
def test_features_that_are_all_alike_are_at_chance(drawn: dict[str, list[Drawn]]) -> None:
    """Nothing can be read of a constant, and there is nothing to compare its blocks by."""
    blind = Blind(2, (84, 84))
    games = {"pong": encode(blind, drawn)["pong"]}
    returns = value.probe(blind, games).tables[0].records()
    assert all(row["r2"] < 0.05 for row in returns)
    order, time = temporal.probe(blind, games).tables
    assert order.records()[0]["accuracy"] == pytest.approx(1 / 6)
    assert order.records()[1]["accuracy"] == pytest.approx(1 / 2)
    assert math.isnan(time.records()[0]["straightness"])
    corrupted = robustness.probe(blind, games, stacks_measured=20).tables[0].records()
    assert all(row["correlation"] == 0 for row in corrupted)
    with pytest.raises(NotMeasured, match="the same on all screens"):
        similarity.probe(blind, games, screens_compared=20)
