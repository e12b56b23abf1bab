"""An encoder of single screens looks at each screen of a stack."""

from __future__ import annotations

import pytest
import torch

from fovea.command import UserError
from fovea.pretrain.encoders.each_screen import EachScreen
from fovea.pretrain.encoders.encoder import inference
from fovea.pretrain.encoders.vit import Shape, build


@pytest.fixture
def single():
    return build(Shape("vit_micro", patch=42, stack=1), seed=0).eval()


def test_features_of_the_screens_lie_side_by_side_oldest_first(single) -> None:
    screens = torch.randint(0, 256, (3, 2, 84, 84), dtype=torch.uint8)
    both = EachScreen(single, 2).eval()
    with inference(both):
        older, newer = (single(screens[:, i : i + 1]) for i in (0, 1))
        summary, tokens = both(screens)
        assert torch.equal(summary, torch.cat([older.summary, newer.summary], dim=1))
        assert torch.equal(tokens, torch.cat([older.tokens, newer.tokens], dim=2))
        assert (both.summary_dim, both.dim) == (summary.shape[1], tokens.shape[2]) == (192, 192)
        second = single(screens[:, 1:], blocks=(2,))
        assert torch.equal(both(screens, blocks=(2,)).tokens[..., 96:], second.tokens)
        from_pixels = both.encode_pixels(screens / 255)
    torch.testing.assert_close(from_pixels.tokens, tokens)


def test_another_stack_is_refused(single) -> None:
    with pytest.raises(UserError, match=r"takes uint8 screens \(batch, 2, 84, 84\), not .*\(3, 3,"):
        EachScreen(single, 2)(torch.zeros(3, 3, 84, 84, dtype=torch.uint8))
