"""Switches of how a run is computed, not of what it learns: bf16 autocast, torch.compile."""

from __future__ import annotations

import functools
from pathlib import Path

import pytest
import torch

from fovea.command import UserError
from fovea.pretrain.encoders.vit import Shape
from fovea.pretrain.objectives.dino import DINO
from fovea.pretrain.objectives.vicreg import VICReg, vicreg_terms
from fovea.pretrain.training.checkpoint import newest
from fovea.pretrain.training.fit import fit
from fovea.runs import read_run

CONFIGS = Path(__file__).parents[2] / "pretrain" / "configs"
BF16 = torch.bfloat16


def run(config: str, recordings: Path, folder: Path, *more: str) -> list[str]:
    return ["-c", str(CONFIGS / f"{config}.yaml"), "--data.recordings", f"[{recordings}]",
            "--run", str(folder), "--data.batch_size", "8", "--data.held_out", "1",
            "--trainer.accelerator", "cpu", "--trainer.log_every_n_steps", "1",
            "--model.init_args.encoder.patch", "42", *more]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("config", ["tov_vicreg", pytest.param("dino", marks=pytest.mark.evidence)])
def test_bf16_trains(config: str, recordings: Path, tmp_path: Path) -> None:
    fit(run(config, recordings, tmp_path, "--trainer.max_steps", "2",
            "--trainer.precision", "bf16-mixed"))  # fmt: skip
    assert read_run(tmp_path).state == "done"
    lines = (tmp_path / "metrics.csv").read_text().splitlines()[1:]
    losses = [float(line.split(",")[2]) for line in lines if ",loss" in line]
    assert len(losses) >= 2
    assert torch.tensor(losses).isfinite().all()


def test_autocast_leaves_the_encoder_to_bf16_and_the_terms_to_float32() -> None:
    objective = VICReg(expander=8, encoder=Shape(patch=42))
    views = torch.randint(0, 256, (2, 8, 4, 84, 84)).to(torch.uint8)
    with torch.autocast("cpu", BF16):
        assert objective.expander(objective.encode(*views)[0].summary).dtype == BF16
        assert {term.dtype for term in objective.losses(*views).values()} == {torch.float32}


def test_terms_under_autocast_are_those_without() -> None:
    x, y = (1000 + torch.randn(2, 64, 8)).to(BF16)
    with torch.autocast("cpu", BF16):
        terms = vicreg_terms(x, y)
    for name, value in vicreg_terms(x.float(), y.float()).items():
        assert terms[name] == value


@pytest.fixture
def quick_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trace and differentiate as ever, without the half minute of a C++ compiler."""
    quick = functools.partial(torch.compile, backend="aot_eager")
    monkeypatch.setattr(torch, "compile", quick)


@pytest.mark.evidence
@pytest.mark.slow
@pytest.mark.usefixtures("quick_compiler")
def test_compiling_changes_no_numbers_and_no_names() -> None:
    """Of a student that sees two sizes, and of the teacher that was copied before."""
    settings = {"encoder": Shape(patch=42), "hidden": 16, "bottleneck": 8, "prototypes": 16}
    plain, compiled = DINO(**settings), DINO(**settings)
    compiled.compile_encoders()
    wide = torch.randint(0, 256, (2, 4, 4, 84, 84)).to(torch.uint8)
    local = torch.randint(0, 256, (2, 4, 4, 42, 42)).to(torch.uint8)
    losses = []
    for objective in (plain, compiled):
        (loss,) = objective.losses(*wide, *local).values()
        loss.backward()
        losses.append(loss)
    torch.testing.assert_close(*losses)
    assert plain.state_dict().keys() == compiled.state_dict().keys()
    for ours, theirs in zip(plain.parameters(), compiled.parameters(), strict=True):
        assert (ours.grad is None) == (theirs.grad is None)
        if ours.grad is not None:
            torch.testing.assert_close(ours.grad, theirs.grad)
    for encoder in (compiled.encoder, compiled.teacher):
        assert encoder.vit.blocks._compiled_call_impl is not None


@pytest.mark.evidence
@pytest.mark.slow
@pytest.mark.usefixtures("quick_compiler")
def test_a_compiled_run_goes_on_from_its_checkpoint(
    recordings: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    settings = run("vicreg", recordings, tmp_path, "--trainer.max_steps", "4",
                   "--checkpoint_every", "2", "--model.init_args.compiled", "true",
                   "--model.init_args.expander", "16")  # fmt: skip
    fit(settings)
    weights = (tmp_path / "encoder" / "model.safetensors").read_bytes()
    newest(tmp_path / "checkpoints").unlink()
    (tmp_path / "run.json").unlink()
    capsys.readouterr()
    fit(settings)
    assert "going on from step-000000002.ckpt" in capsys.readouterr().out
    assert (tmp_path / "encoder" / "model.safetensors").read_bytes() == weights


def test_compiling_without_a_compiler_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(UserError, match="no-such-compiler is not here"):
        VICReg(expander=8, encoder=Shape(patch=42)).compile_encoders()
