"""Features that are all one are called collapsed; the measures agree with hand-worked values."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

import oracle
from fovea.pretrain.encoders.build import build_encoder
from fovea.pretrain.encoders.vit import Shape, ViT
from fovea.probes import collapse, spread
from fovea.probes.features import Drawn, Splits, encode


def test_rankme_agrees_with_its_authors() -> None:
    cases = oracle.read(str(Path(oracle.__file__).with_name("oracle.npz")))["rankme"]
    assert cases
    for case in cases.values():
        assert oracle.wrong(oracle.rankme(case), 1e-6) == []


def test_rankme_counts_equal_directions() -> None:
    assert collapse.rankme(torch.eye(5)) == pytest.approx(5, rel=1e-5)
    assert collapse.rankme(torch.ones(5, 3)) == pytest.approx(1, abs=1e-5)


def test_rankme_is_of_features_that_are_not_centred() -> None:
    # Singular values 3 and 1: shares 3/4 and 1/4. Centred, both rows would be one direction.
    z = torch.tensor([[3.0, 0.0], [0.0, 1.0]])
    expected = math.exp(-(0.75 * math.log(0.75) + 0.25 * math.log(0.25)))
    assert collapse.rankme(z) == pytest.approx(expected, rel=1e-5)


def test_lidar_counts_what_sets_moments_apart() -> None:
    """Four moments at the corners of a square in a plane; what differs inside them is small."""
    moments = torch.tensor([[1.0, 1.0, 0], [1, -1, 0], [-1, 1, 0], [-1, -1, 0]])
    views = torch.tensor([[0.1, 0.1, 0.1], [-0.1, -0.1, -0.1]])
    signs = torch.tensor([[1.0, 1, 1], [1, -1, 1], [-1, 1, 1], [1, 1, -1]])
    z = moments[:, None] + signs[:, None] * views
    assert collapse.lidar(z.flatten(0, 1), views=2) == pytest.approx(2, abs=1e-3)


def test_lidar_forgives_a_direction_in_which_a_moment_differs_from_itself() -> None:
    generator = torch.Generator().manual_seed(0)
    moments = torch.randn(500, 1, 2, generator=generator)
    noise = torch.randn(500, 2, 2, generator=generator)
    alike = moments + 0.1 * noise
    loud = alike * torch.tensor([1.0, 100.0])
    rank = [collapse.lidar(z.flatten(0, 1), views=2) for z in (alike, loud)]
    assert rank[0] == pytest.approx(2, abs=0.05)
    assert rank[1] == pytest.approx(rank[0], abs=0.05)  # a scale that all share says nothing
    blurred = moments + noise * torch.tensor([0.1, 10.0])
    assert collapse.lidar(blurred.flatten(0, 1), views=2) < 1.2


def test_std_does_not_see_length() -> None:
    # At unit length (1, 0), (-1, 0): std over the rows sqrt 2 and 0, their mean times sqrt 2.
    assert collapse.feature_std(torch.tensor([[2.0, 0.0], [-5.0, 0.0]])) == pytest.approx(1)
    assert collapse.feature_std(torch.tensor([[1.0, 2.0], [3.0, 6.0]])) == pytest.approx(
        0, abs=1e-7
    )


def test_cosine_is_of_all_pairs_of_different_rows() -> None:
    # Pairs: (x, y) 0, (x, -x) -1, (y, -x) 0.
    z = torch.tensor([[1.0, 0.0], [0.0, 2.0], [-3.0, 0.0]])
    assert spread.cosine_of_pairs(z) == pytest.approx(-1 / 3)
    z = torch.randn(20, 6, generator=torch.Generator().manual_seed(0))
    cosines = torch.nn.functional.cosine_similarity(z[:, None], z[None], dim=-1)
    mean = (cosines.sum() - cosines.trace()) / (20 * 19)
    assert spread.cosine_of_pairs(z) == pytest.approx(float(mean), rel=1e-5)


def test_neighbours_are_the_pairs_that_were_named() -> None:
    z = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 3.0], [1.0, 1.0]])
    *_, neighbours = collapse.measure(z, torch.tensor([0, 1, 2]))
    assert neighbours == pytest.approx((0 + 1 + math.sqrt(0.5)) / 3)


def test_the_participation_ratio_by_hand() -> None:
    # Variances 4 and 1 along the axes: 5 squared over 17. Equal ones: 2.
    z = torch.tensor([[2.0, 0.0], [-2.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
    assert spread.participation(z) == pytest.approx(25 / 17)
    assert spread.participation(z + 7) == pytest.approx(25 / 17)  # a mean is no direction
    assert spread.participation(z * torch.tensor([1.0, 2.0])) == pytest.approx(2)
    assert math.isnan(spread.participation(torch.ones(3, 2)))
    tokens = torch.stack([z, z], dim=1)
    assert spread.participation(tokens) == pytest.approx(25 / 17)


def test_the_norm_undoes_scale_and_whitening_undoes_correlation() -> None:
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(4000, 3, generator=generator)
    loud = hidden * torch.tensor([8.0, 1.0, 1.0])
    standardised = collapse.normed("standard", loud, loud)
    assert spread.participation(loud) == pytest.approx(66**2 / (64**2 + 2), abs=0.02)
    assert spread.participation(standardised) == pytest.approx(3, abs=0.02)
    # A tenth of the mean std, 34, is the least that is scaled to one: variances 1, 1/11.6, 1/11.6.
    standardised = collapse.normed("standard", *[hidden * torch.tensor([100.0, 1.0, 1.0])] * 2)
    assert spread.participation(standardised) == pytest.approx(1.356, abs=0.02)
    shared = hidden + 3 * hidden[:, :1]
    assert spread.participation(collapse.normed("standard", shared, shared)) < 1.5
    assert spread.participation(collapse.normed("whiten", shared, shared)) == pytest.approx(
        3, abs=0.02
    )
    assert torch.equal(collapse.normed("none", shared, loud), loud)


def test_of_very_wide_features_a_part_is_measured() -> None:
    wide = torch.arange(4096.0).expand(2, 4096)
    part = collapse.narrowed(wide)
    assert part.shape == (2, collapse.WIDEST)
    assert (part[0, 0], part[0, -1]) == (0, 4095)
    assert (part[0].diff() > 0).all()
    assert torch.equal(collapse.narrowed(wide[:, :1024]), wide[:, :1024])


def test_participation_is_told_by_game_and_of_all_together(
    encoder: ViT, seen: dict[str, Splits]
) -> None:
    table = collapse.probe(encoder, seen).tables[2]
    places = ["summary", "mean token", "tokens"]
    games = [*seen, collapse.POOLED]
    assert [row[:2] for row in table.rows] == [[g, p] for g in games for p in places]
    for row in table.rows:
        assert all(1 <= value <= 12 + 1e-6 for value in row[2:])
        assert row[4] > row[3]


def test_effective_rank_and_alignment_by_hand() -> None:
    # Singular values 3 and 1: shares 3/4 and 1/4.
    z = torch.tensor([[3.0, 0.0], [0.0, 1.0]])
    expected = math.exp(-(0.75 * math.log(0.75) + 0.25 * math.log(0.25)))
    assert spread.effective_rank(z) == pytest.approx(expected)
    assert math.isnan(spread.effective_rank(torch.zeros(3, 2)))
    # At unit length a right angle is sqrt 2 apart, the opposite 2.
    path = torch.tensor([[2.0, 0.0], [0.0, 3.0], [0.0, -1.0]])
    assert spread.alignment(path, torch.tensor([0])) == pytest.approx(2)
    assert spread.alignment(path, torch.tensor([0, 1])) == pytest.approx((2 + 4) / 2)


def test_uniformity_and_cosine_across_by_hand() -> None:
    # Pairs at squared distances 2, 4 and 2.
    z = torch.tensor([[1.0, 0.0], [0.0, 5.0], [-2.0, 0.0]])
    expected = math.log((2 * math.exp(-4) + math.exp(-8)) / 3)
    assert spread.uniformity(z) == pytest.approx(expected)
    assert spread.uniformity(torch.ones(4, 3)) == pytest.approx(0)
    assert spread.cosine_across(z[:1], z[1:]) == pytest.approx((0 - 1) / 2)


def test_alpha_is_the_power_of_the_spectrum() -> None:
    """Features whose covariance has exactly the eigenvalues i ** -1.3."""
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(300, 60, generator=generator, dtype=torch.float64)
    axes = torch.linalg.svd(noise - noise.mean(0), full_matrices=False).U
    sizes = torch.arange(1, 61, dtype=torch.float64) ** (-1.3 / 2)
    assert spread.alpha_req(axes * sizes + 5) == pytest.approx(1.3, abs=1e-6)
    assert math.isnan(spread.alpha_req(axes[:, :4]))


def test_spread_is_told_by_game_and_of_all_centred_and_not(
    encoder: ViT, seen: dict[str, Splits]
) -> None:
    table = collapse.probe(encoder, seen).tables[1]
    games = [*seen, collapse.POOLED]
    found = {tuple(row[:3]): dict(zip(table.columns, row, strict=True)) for row in table.rows}
    assert set(found) == {
        (game, place, centred)
        for game in games
        for place in ("summary", "mean token")
        for centred in ("no", "yes")
    }
    for game in games:
        plain, centred = (found[game, "summary", c] for c in ("no", "yes"))
        assert centred["cosine_random"] < plain["cosine_random"]
        assert centred["effective_rank"] > plain["effective_rank"]
        assert centred["participation"] == pytest.approx(plain["participation"])
    # Less their common mean, two games lie on opposite sides.
    assert found["pong", "summary", "no"]["cosine_across"] > 0.5
    assert found["pong", "summary", "yes"]["cosine_across"] < 0
    first = collapse.probe(encoder, seen).tables[0].records()[0]
    same = found[first["game"], first["place"], "no"]
    assert all(first[name] == same[name] for name in ("std", "rankme", "lidar", "cosine_random"))


def test_a_block_that_gives_one_output_is_told_from_those_before_it(
    encoder: ViT, drawn: dict[str, list[Drawn]]
) -> None:
    one = torch.randn(10, 12, generator=torch.Generator().manual_seed(0))
    encoder.vit.blocks[1].register_forward_hook(
        lambda _block, _inputs, output: one.expand_as(output)
    )
    found = by_block(encoder, drawn)
    games = [*drawn, collapse.POOLED]
    assert [*found] == [(g, p, b) for g in games for p in collapse.PLACES for b in range(3)]
    for game in games:
        for place in collapse.PLACES:
            assert found[game, place, 2] == pytest.approx((0, 1, 1), abs=1e-4)
        # After the embedding the CLS token has seen nothing, and after a block it has.
        assert found[game, "summary", 0] == pytest.approx((0, 1, 1), abs=1e-4)
        for at in (("summary", 1), ("mean token", 0), ("mean token", 1)):
            std, rank, cosine = found[game, *at]
            assert std > 1e-3
            assert rank > 1.05
            assert cosine < 1 - 1e-5


def test_after_its_last_block_the_features_are_those_of_the_encoder(
    encoder: ViT, seen: dict[str, Splits]
) -> None:
    features, *_, blocks = (table.records() for table in collapse.probe(encoder, seen).tables)
    last = {(of["game"], of["place"]): of for of in blocks if of["block"] == encoder.depth}
    for row in features:
        for name in ("std", "rankme", "cosine_random"):
            same = last[row["game"], row["place"]][name]
            assert same == pytest.approx(row[name], rel=1e-5), name


def test_without_blocks_there_is_no_table_of_them(drawn: dict[str, list[Drawn]]) -> None:
    cnn = build_encoder(Shape(size="nature_cnn", stack=2))
    tables = collapse.probe(cnn, encode(cnn, {"pong": drawn["pong"]})).tables
    assert [table.name for table in tables] == ["features", "spread", "participation"]


def by_block(
    encoder: ViT, drawn: dict[str, list[Drawn]]
) -> dict[tuple[str, str, int], tuple[float, ...]]:
    """Std, RankMe and cosine of random pairs, by game, place and block."""
    *_, table = collapse.probe(encoder, encode(encoder, drawn)).tables
    return {(game, place, block): tuple(of) for game, place, block, *of in table.rows}
