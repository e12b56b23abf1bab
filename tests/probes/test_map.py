"""Map of the features, against components worked by hand and the recordings themselves."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fovea.probes import map as map_probe
from fovea.probes.features import NotMeasured, Splits


def test_components_are_the_directions_of_most_variance_with_a_fixed_sign() -> None:
    # Along (3, 4) / 5 there is a variance of 4, across it of 1, and none in the third direction.
    along, across = torch.tensor([2.0, -2.0, 2.0, -2.0]), torch.tensor([1.0, 1.0, -1.0, -1.0])
    z = along[:, None] * torch.tensor([0.6, 0.8, 0.0]) + across[:, None] * torch.tensor(
        [0.8, -0.6, 0]
    )
    place, shares = map_probe.components(z + 7, torch.arange(4))
    assert place[:, 0].tolist() == pytest.approx(along.tolist())
    assert place[:, 1].tolist() == pytest.approx(across.tolist())
    assert shares.tolist() == pytest.approx([0.8, 0.2])
    some, _ = map_probe.components(z + 7, torch.tensor([2]))
    assert some[0].tolist() == pytest.approx([2.0, -1.0])


def test_features_that_do_not_differ_have_no_map() -> None:
    with pytest.raises(NotMeasured, match="do not differ"):
        map_probe.components(torch.ones(5, 3), torch.arange(5))


def test_each_point_has_the_screen_and_labels_of_its_moment(seen: dict[str, Splits]) -> None:
    tables, arrays, _ = map_probe.probe(None, seen, points=12)
    games = list(seen)
    assert arrays["game"] == [game for game in games for _ in range(12)]
    test = seen[games[0]].test
    at = test.at[torch.linspace(0, len(test.at) - 1, 12).long()]
    np.testing.assert_array_equal(arrays["ram"][:12], test.frames.labels["ram"][at])
    np.testing.assert_array_equal(arrays["step"][:12], test.frames.labels["step"][at])
    screen = test.frames.screens[at[3]].float()
    half = screen.unflatten(0, (-1, 2)).unflatten(2, (-1, 2)).mean((1, 3))
    np.testing.assert_array_equal(arrays["screens"][3], half.round())
    assert arrays["place"].shape == (12 * len(games), 2)
    shares = [row[2] for row in tables[0].rows if row[0] == games[0]]
    assert 0 <= shares[1] <= shares[0] <= 1


def test_all_games_have_a_map_of_their_own_on_common_axes(seen: dict[str, Splits]) -> None:
    tables, arrays, _ = map_probe.probe(None, seen, points=12)
    z = torch.cat([splits.test.summary_and_mean for splits in seen.values()])
    every = [torch.linspace(0, len(splits.test.at) - 1, 12).long() for splits in seen.values()]
    first = [0, *(len(splits.test.at) for splits in seen.values())][: len(seen)]
    at = torch.cat([some + sum(first[: k + 1]) for k, some in enumerate(every)])
    place, shares = map_probe.components(z, at)
    np.testing.assert_array_equal(arrays["together"], place.float())
    assert [row[2] for row in tables[0].rows if row[0] == "all games"] == shares.tolist()
    _, alone, _ = map_probe.probe(None, dict([next(iter(seen.items()))]), points=12)
    assert "together" not in alone


@pytest.mark.evidence
def test_umap_keeps_neighbours_together_and_is_the_same_every_time() -> None:
    pytest.importorskip("umap", reason="the extra umap is not installed")
    centres = torch.tensor([[9.0, 0, 0, 0], [0, 9, 0, 0], [0, 0, 9, 0]]).repeat_interleave(20, 0)
    z = centres + torch.randn(60, 4, generator=torch.Generator().manual_seed(0))
    place = map_probe.neighbours(z)
    assert place.shape == (60, 2)
    assert place.dtype == torch.float32
    near = torch.cdist(place, place).fill_diagonal_(torch.inf).argmin(1)
    torch.testing.assert_close(near // 20, torch.arange(60) // 20)
    torch.testing.assert_close(map_probe.neighbours(z), place, rtol=0, atol=0)


@pytest.mark.evidence
def test_where_umap_is_installed_each_point_has_a_place_by_it_too(seen: dict[str, Splits]) -> None:
    pytest.importorskip("umap", reason="the extra umap is not installed")
    _, arrays, _ = map_probe.probe(None, seen, points=12)
    assert arrays["umap"].shape == arrays["place"].shape == (12 * len(seen), 2)
    assert arrays["umap"].dtype == np.float32
    assert np.isfinite(arrays["umap"]).all()
    for k, splits in enumerate(seen.values()):  # of each game by itself
        some = torch.linspace(0, len(splits.test.at) - 1, 12).long()
        place = map_probe.neighbours(splits.test.summary_and_mean[some])
        np.testing.assert_array_equal(arrays["umap"][12 * k : 12 * (k + 1)], place)
