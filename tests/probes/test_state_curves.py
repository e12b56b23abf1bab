"""R2 by number of labels, read-out and block: nested sets, plain ridge, and today's numbers."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fovea.agents.adaptation.base import Frozen
from fovea.agents.networks.feature_extractor import FeatureExtractor
from fovea.pretrain.encoders.cnn import build_cnn
from fovea.pretrain.encoders.feature_norm import FeatureNormKind
from fovea.pretrain.encoders.read_out import ReadOut
from fovea.pretrain.encoders.vit import ViT
from fovea.probes import state, state_curves, state_read_outs
from fovea.probes.features import BATCH, Drawn, Split, Splits, draw, encode
from fovea.probes.linear import Axes, Fit, ridge
from fovea.probes.references import Pixels


@given(st.integers(2, 4000), st.integers(0, 5), st.integers(1, 4))
def test_a_smaller_set_of_labels_is_a_part_of_each_larger_one(
    training: int, seed: int, draws: int
) -> None:
    sets = state_curves.label_sets(training, seed, draws)
    assert [len(of[0]) for of in sets.values()] == [
        *(n for n in state_curves.COUNTS if n < training),
        training,
    ]
    for smaller, larger in zip(list(sets.values()), list(sets.values())[1:], strict=False):
        for k, some in enumerate(larger):
            assert torch.isin(smaller[k], some).all()
    if training > 300:
        assert len(sets["100"]) == len(sets["300"]) == draws
        assert len({tuple(some.tolist()) for some in sets["100"]}) == draws
    assert sets["all"][0].tolist() == list(range(training))


@pytest.mark.parametrize("samples", [20, 60])
def test_a_ridge_on_few_labels_is_the_closed_form(samples: int) -> None:
    """Fewer samples than features (20 of 30), and more (60)."""
    generator = torch.Generator().manual_seed(samples)
    x = torch.randn(samples + 9, 30, generator=generator, dtype=torch.float64)
    y = torch.randint(0, 99, (samples + 9, 2), generator=generator)
    training, other = Fit(x[:samples], y[:samples]), Fit(x[samples:], y[samples:])
    found = ridge(Axes.plain(training.features), training, other, other.features, [0.3])
    mean, of_labels = training.features.mean(0), training.labels.double().mean(0)
    z = training.features - mean
    penalty = 0.3 * z.square().mean()  # beside a mean variance of 1
    gram = z.T @ z / samples + penalty * torch.eye(30, dtype=torch.float64)
    weights = torch.linalg.solve(gram, z.T @ (training.labels - of_labels) / samples)
    torch.testing.assert_close(found, (other.features - mean) @ weights + of_labels)


def test_features_that_do_not_vary_predict_the_mean() -> None:
    x, y = torch.ones(8, 3), torch.arange(8)[:, None]
    fit = Fit(x, y)
    assert ridge(Axes.plain(x), fit, fit, x[:2]).tolist() == [[3.5], [3.5]]


def test_after_the_last_block_features_are_the_encoders_own(
    encoder: ViT, seen: dict[str, Splits]
) -> None:
    frames, at = seen["pong"].test.frames, seen["pong"].test.at[:5]
    screens = frames.windows(at, 2)[:, 0]
    with torch.no_grad():
        *before, last = state_read_outs.block_features(encoder, screens)
        own = encoder(screens)
    assert len(before) == 2
    assert torch.equal(last.summary, own.summary)
    assert torch.equal(last.tokens, own.tokens)
    # Before the first block no token has seen another: all CLS tokens are alike.
    assert torch.equal(before[0].summary, before[0].summary[:1].expand(5, -1))
    assert not torch.equal(before[0].tokens[0], before[0].tokens[1])


def test_components_hold_all_that_tokens_have(encoder: ViT, seen: dict[str, Splits]) -> None:
    """With fewer dimensions than stacks nothing is lost: distances stay."""
    *before, last = state_read_outs.read_outs(encoder, seen["pong"], "standard")
    assert all(not of.tokens.shape[1] for of_splits in before for of in of_splits)
    test = last[2]
    assert test.linear["tokens"].shape[1] <= 9 * 12
    assert (test.tokens.dtype, test.tokens.shape[1:]) == (torch.float16, (9, 12))
    torch.testing.assert_close(
        torch.cdist(test.linear["tokens"][:7], test.linear["tokens"][:7]),
        torch.cdist(test.tokens[:7].flatten(1).float(), test.tokens[:7].flatten(1).float()),
        atol=0.02,
        rtol=0.01,
    )


@pytest.mark.slow
@pytest.mark.parametrize("norm", ["none", "standard", "whiten"])
def test_features_are_normed_as_those_of_agents_to_the_bit(
    norm: FeatureNormKind, encoder: ViT, seen: dict[str, Splits]
) -> None:
    splits = seen["pong"]
    *_, (_, _, test) = state_read_outs.read_outs(encoder, splits, norm)

    def screens(split: Split) -> list[torch.Tensor]:
        return [split.frames.windows(some, 2)[:, 0] for some in split.at.split(BATCH)]

    for kind in state_read_outs.READ_OUTS:
        agent = FeatureExtractor(Frozen(encoder), ReadOut(kind, norm=norm)).eval()
        agent.fit_norm(screens(splits.training), len(splits.training.at))
        heads = torch.cat([agent.features(some) for some in screens(splits.test)])
        if kind == "attention":  # of whitened ones the products are summed in another order
            torch.testing.assert_close(test.tokens, heads.half(), rtol=2e-3, atol=1e-3)
        elif kind == "tokens":
            assert torch.equal(test.tokens.flatten(1), heads.half())
        else:
            assert torch.equal(test.linear[kind], heads)


@pytest.mark.slow
def test_all_labels_of_summary_and_mean_are_the_score_of_the_game(
    encoder: ViT, seen: dict[str, Splits]
) -> None:
    tables = {t.name: t for t in state.probe(encoder, seen, patience=1, draws=2).tables}
    headline = {
        row["game"]: row["r2"]
        for row in tables["categories"].records()
        if row["category"] == "mean"
    }
    for table, of_it in (("labels", {}), ("blocks", {"block": 2})):
        rows = [row for row in tables[table].records() if row["labels"] == "all"]
        rows = [row for row in rows if of_it.items() <= row.items()]
        # The headline is standardised as well, but in double precision.
        told = {row["game"]: row["cls_and_mean"] for row in rows}
        assert told == pytest.approx(headline, abs=2e-3)
    assert {row["block"] for row in tables["blocks"].records()} == {0, 1, 2}
    few = next(row for row in tables["labels"].records() if row["labels"] == "100")
    assert (few["stacks"], few["draws"]) == (100, 2)
    assert few["tokens_std"] > 0
    assert few["attention"] is None  # it is of all labels alone
    assert next(row for row in tables["labels"].records())["game"] == "breakout"


@pytest.mark.slow
def test_pixels_have_one_read_out_and_a_cnn_one_block(
    drawn: dict[str, list[Drawn]], frames
) -> None:
    def of(encoder, seen):
        pong, asked = seen["pong"], state.scored_variables("pong", seen["pong"])
        score = lambda predicted: state.game_score(pong.test, asked, predicted)  # noqa: E731
        of_bytes = [variable.byte for variable in asked]
        return state_curves.curves(encoder, pong, of_bytes, score, norm="standard", draws=1, seed=0)

    pixels = Pixels(2, (84, 84), 32)
    rows, by_block, told = of(pixels, encode(pixels, drawn))
    assert [row[0] for row in rows] == ["100", "all"]
    assert all(len(set(row[3:8])) == 1 for row in rows)
    assert not by_block
    assert set(told) == {(0, kind) for kind in state_read_outs.READ_OUTS}
    cnn = build_cnn("nature_cnn")
    rows, by_block, _ = of(cnn, encode(cnn, draw(frames, 4, samples=200)))
    assert rows[0][3] == rows[0][4]  # the summary of a CNN is its mean token
    assert all(map(math.isfinite, rows[-1][3:8]))  # of all labels
    assert not by_block


@pytest.mark.slow
def test_pooled_pixels_have_the_components_of_all_games_together(
    drawn: dict[str, list[Drawn]],
) -> None:
    own, pooled = Pixels(2, (84, 84), 24), Pixels(2, (84, 84), 24, pooled=True)
    of_own, of_pooled = encode(own, drawn), encode(pooled, drawn)
    assert of_pooled["pong"].test.summary.shape == (len(of_pooled["pong"].test.at), 24)
    alone = encode(pooled, {"pong": drawn["pong"]})
    assert torch.equal(alone["pong"].test.summary, of_own["pong"].test.summary)
    assert not torch.allclose(of_pooled["pong"].test.summary, of_own["pong"].test.summary)

    def kept(seen: dict[str, Splits], game: str) -> float:
        return float(seen[game].training.summary.var(0).sum())

    # Components of both games together hold less of each game than its own.
    assert kept(of_pooled, "pong") < kept(of_own, "pong")
    assert kept(of_pooled, "breakout") < kept(of_own, "breakout")
