"""Objectives that hide no patches pretrain CNNs and timm's models as they do ViTs."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from fovea.command import UserError
from fovea.pretrain.encoders.build import build_encoder
from fovea.pretrain.encoders.folder import load_encoder
from fovea.pretrain.encoders.vit import Shape
from fovea.pretrain.terms.teacher import ema_update, make_teacher
from fovea.pretrain.training.fit import fit
from fovea.runs import read_run

CONFIGS = sorted((Path(__file__).parents[2] / "pretrain" / "configs").glob("*.yaml"))
# Those with a teacher meet batch norms; one of each kind meets the other encoders.
NEED_VIT = {
    "mae": "MAE hides patches",
    "v_pretraining": "V-Pretraining compares gradients of the last blocks",
}
CASES = [(path, ("size", "nature_cnn")) for path in CONFIGS]
CASES += [(path, ("size", "sgi_resnet")) for path in CONFIGS if path.stem in ("byol", "recipe")]
CASES += [(path, ("timm", "resnet10t")) for path in CONFIGS if path.stem in ("spr", "dino")]
CASES += [(path, ("size", "impala_cnn")) for path in CONFIGS if path.stem == "vicreg"]


@pytest.mark.evidence
@pytest.mark.slow
@pytest.mark.parametrize(
    ("config", "named"), CASES, ids=[f"{path.stem}-{name}" for path, (_, name) in CASES]
)
def test_two_steps_move_the_weights_or_one_line_says_why_not(
    config: Path, named: tuple[str, str], recordings: Path, tmp_path: Path
) -> None:
    (kind, name), run = named, tmp_path / "run"
    words = ["-c", str(config), "--data.recordings", f"[{recordings}]", "--run", str(run),
             "--data.batch_size", "4", "--trainer.max_steps", "2",
             "--model.init_args.encoder", f"{{{kind}: {name}, crop: null}}"]  # fmt: skip
    if why := NEED_VIT.get(config.stem):
        with pytest.raises(UserError, match=f"{why}, and a nature_cnn is no ViT"):
            fit(words)
        assert not run.exists()
        return
    fit(words)
    assert (read_run(run).state, read_run(run).step) == ("done", 2)
    after = load_file(run / "encoder" / "model.safetensors")
    assert load_encoder(run).architecture == name
    before = build_encoder(Shape(**{kind: name}), seed=0).body.state_dict()
    moved = [key for key, weight in before.items() if not torch.equal(weight, after[key])]
    assert len(moved) > len(before) / 2


def test_a_teacher_has_the_running_statistics_of_its_student() -> None:
    student = build_encoder(Shape(size="sgi_resnet")).train()
    teacher = make_teacher(student)
    student(torch.randint(0, 256, (4, 4, 84, 84)).to(torch.uint8))
    ema_update(teacher, student, 0.99)
    for mine, theirs in zip(teacher.buffers(), student.buffers(), strict=True):
        assert torch.equal(mine, theirs)


def test_local_crops_of_an_encoder_of_whole_screens_are_refused(
    recordings: Path, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match="local_crops 4: a eva02_tiny_patch14_224 takes whole"):
        fit(["-c", "dino", "--data.recordings", f"[{recordings}]", "--run", str(tmp_path / "run"),
             "--model.init_args.encoder.timm", "eva02_tiny_patch14_224"])  # fmt: skip
