"""A model of timm that was pretrained on pictures, from its files to the tables of a probe."""

from __future__ import annotations

from pathlib import Path

import pytest
import timm
import torch

from fovea.command import UserError
from fovea.pretrain.encoders.attribution import attribute
from fovea.probes.of_agents import load
from fovea.probes.references import untrained
from fovea.probes.run import run
from fovea.results import read_result


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small ViT for pictures as timm saves it."""
    folder = tmp_path_factory.mktemp("timm") / "vit"
    torch.manual_seed(0)
    model = timm.create_model("test_vit")
    timm.models.save_for_hf(model, folder, safe_serialization=True)
    return folder


def screens(count: int = 2) -> torch.Tensor:
    return torch.randint(0, 256, (count, 4, 84, 84), generator=torch.manual_seed(0)).byte()


def test_a_model_for_pictures_sees_the_newest_screen_in_all_channels(saved: Path) -> None:
    encoder, model = (
        load(f"timm:local-dir:{saved}"),
        timm.create_model(f"local-dir:{saved}", pretrained=True, num_classes=0).eval(),
    )
    known = model.pretrained_cfg
    grey = screens()[:, -1:].float() / 255
    picture = torch.nn.functional.interpolate(
        grey, known["input_size"][1:], mode="bilinear", antialias=True
    ).repeat(1, 3, 1, 1)
    mean, std = (torch.tensor(known[of]).view(3, 1, 1) for of in ("mean", "std"))
    with torch.no_grad():
        expected = model((picture - mean) / std)
        found = encoder(screens())
    torch.testing.assert_close(found.summary, expected)
    assert encoder.attention(screens()).shape[-1] == 1 + 100
    maps = attribute(encoder, lambda pixels: encoder.encode_pixels(pixels).summary, screens())
    assert maps.shape == (2, 10, 10)
    assert maps.max() > 0
    other = untrained(encoder, 3)
    assert not torch.equal(other(screens()).summary, found.summary)


@pytest.mark.evidence
@pytest.mark.slow
def test_it_is_probed_and_how_it_sees_is_said(
    saved: Path, recordings: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    run([f"photos=timm:local-dir:{saved}"], [recordings], tmp_path / "run", samples=60,
        only=["sparsity"], accelerator="cpu")  # fmt: skip
    said = "sees the newest screen alone, grey in all 3 channels, stretched to 160 x 160 px"
    assert said in capsys.readouterr().err
    result = read_result(tmp_path / "run" / "probes" / "sparsity.json")
    assert said in result.takes["photos"]
    assert {"photos", "random"} == set(result.encoders)


def test_a_model_that_timm_has_not_is_named() -> None:
    with pytest.raises(UserError, match=r"timm gives no weights of 'resnet_18'.*resnet18"):
        load("timm:resnet_18")
