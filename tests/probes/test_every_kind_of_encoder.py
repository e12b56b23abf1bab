"""Every probe takes every kind of encoder, or says why it does not."""

from __future__ import annotations

import pytest

from fovea.pretrain.encoders.build import build_encoder
from fovea.pretrain.encoders.multi_query import MultiQueryShape
from fovea.pretrain.encoders.vit import Shape
from fovea.probes.features import Drawn, NotMeasured, encode
from fovea.probes.run import all_probes

KINDS = {
    "a ViT": Shape(patch=42, stack=2),
    # Its summary is twice as wide as a token.
    "a ViT with a read-out": Shape(patch=42, stack=2, read_out=MultiQueryShape(4, 48)),
    "a CNN": Shape(size="nature_cnn", stack=2),
    "a model of timm's": Shape(timm="test_convnext", stack=2),
}
"""Those with tokens see a screen in quarters, so that there are few."""
WANTING = {"a CNN": ("attention", "sparsity"), "a model of timm's": ("attention", "sparsity")}
"""What is not measured where there are no blocks."""

NAMES = sorted(all_probes().keys() - {"reward"})
"""Of these recordings too few steps bring a reward."""


@pytest.mark.slow
@pytest.mark.parametrize(
    "kind",
    [
        kind if "read-out" in kind else pytest.param(kind, marks=pytest.mark.evidence)
        for kind in KINDS
    ],
)
@pytest.mark.parametrize("name", NAMES)
def test_a_probe_takes_it(name: str, kind: str, drawn: dict[str, list[Drawn]]) -> None:
    encoder = build_encoder(KINDS[kind])
    seen = encode(encoder, drawn)
    if name in WANTING.get(kind, ()):
        with pytest.raises(NotMeasured):
            all_probes()[name].probe(encoder, seen)
    else:
        measured = all_probes()[name].probe(encoder, seen)
        assert all(table.rows for table in measured.tables)
