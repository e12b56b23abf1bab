"""Map of the embedding: where the screens of a game lie among each other, on two axes."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from itertools import accumulate

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from fovea.figures import EmbeddingMap
from fovea.pretrain.encoders.encoder import Encoder
from fovea.probes.collapse import POOLED
from fovea.probes.features import NotMeasured, Split, Splits, evenly_spaced, of_each
from fovea.results import Measured
from fovea.tables import Table
from fovea.threads import one_thread

TITLE = "Map of the features"
ABOUT = (
    "Screens of held-out episodes on the first two principal components of their features (summary "
    "and mean token), each game by itself and all games together. Screens that lie close look "
    "alike to the encoder along the directions in which it tells most apart; the table says how "
    "much of all variance these two hold. Where umap-learn is installed, UMAP places the screens "
    "of a game as well, which keeps neighbours together and says nothing of distances. Nothing "
    "here is a score."
)
ORDER = 9
FIGURES = [EmbeddingMap()]
AXES = 2
SHRINK = 2  # screens are kept at half their size, enough to recognise them


def probe(encoder: Encoder, games: dict[str, Splits], *, points: int = 300) -> Measured:
    """Two principal components of `points` test stacks a game, evenly spaced in its episodes.

    Arrays, of M points: place (M, 2) float32, of a game's own components; together (M, 2) float32,
    of those of all games, where there are several; umap (M, 2) float32 where umap-learn is
    installed (the extra `umap`); screens (M, H / 2, W / 2) uint8, the newest of each
    stack; game (M,) str; episode, step (M,) int64; reward (M,) float32, of the action taken on that
    screen; ram (M, 128) uint8.

    Raises NotMeasured for an encoder that gives every screen the same features.
    """

    def mapped(game: str, splits: Splits) -> tuple[Tensor, dict[str, Tensor]]:
        some = evenly_spaced(torch.arange(len(splits.test.at)), points)
        z = splits.test.summary_and_mean
        place, shares = components(z, some)
        found = {"place": place.float()}
        with suppress(ImportError):  # umap-learn is an extra
            found["umap"] = neighbours(z[some])
        return shares, _labels(splits.test, some) | found

    found, left_out = of_each(games, "mapping", mapped)
    rows = [
        [game, axis + 1, float(share)]
        for game, (shares, _) in found.items()
        for axis, share in enumerate(shares)
    ]
    parts = [part for _, part in found.values()]
    if len(found) > 1:
        places, shares = together([games[game] for game in found], points)
        rows += [[POOLED, axis + 1, float(share)] for axis, share in enumerate(shares)]
        parts = [part | {"together": place} for part, place in zip(parts, places, strict=True)]
    table = Table(
        name="axes",
        title="Share of the variance that an axis of the map holds",
        columns=["game", "axis", "share"],
        rows=rows,
        note="Of all test stacks, of which the map shows some.",
    )
    arrays = {name: torch.cat([part[name] for part in parts]).numpy() for name in parts[0]}
    counts = [len(part["place"]) for part in parts]
    arrays["game"] = [game for game, count in zip(found, counts, strict=True) for _ in range(count)]
    return Measured([table], arrays, left_out)


def components(z: Tensor, some: Tensor) -> tuple[Tensor, Tensor]:
    """Principal components (m, AXES) of the rows `some` of (n, D), and their shares (AXES,).

    A share is of the variance. The axes are of all rows. Of the two directions of an axis it is
    the one in which the number of largest size in its loading is positive, so that a map is not
    mirrored by chance.
    """
    z = z.double() - z.double().mean(0)
    with one_thread():
        _, sizes, loadings = torch.linalg.svd(z, full_matrices=False)
    if len(sizes) < AXES or not sizes[0] > 0:
        raise NotMeasured("its features do not differ")
    axes = loadings[:AXES]
    axes = axes * axes.gather(1, axes.abs().argmax(1, keepdim=True)).sign()
    return z[some] @ axes.T, sizes[:AXES].square() / sizes.square().sum()


def together(games: Sequence[Splits], points: int) -> tuple[list[Tensor], Tensor]:
    """As `components`, of the test stacks of all games: (points, AXES) float32 of each, and shares.

    A game counts for as much as it has test stacks.
    """
    counts = [len(splits.test.at) for splits in games]
    some = [evenly_spaced(torch.arange(count), points) for count in counts]
    first = [0, *accumulate(counts)]
    at = torch.cat([chosen + before for chosen, before in zip(some, first, strict=False)])
    z = torch.cat([splits.test.summary_and_mean for splits in games])
    place, shares = components(z, at)
    return list(place.float().split([len(chosen) for chosen in some])), shares


def neighbours(z: Tensor) -> Tensor:
    """Places (m, AXES) float32 of rows (m, D) that keep neighbours together, the same every time.

    By UMAP (arXiv 1802.03426) with its own defaults, which begins with the principal components.
    Raises ImportError where umap-learn is not installed.
    """
    from umap import UMAP  # compiles for seconds when it is first used

    near = min(15, len(z) - 1)
    by = UMAP(n_components=AXES, n_neighbors=near, init="pca", random_state=0, n_jobs=1)
    return torch.from_numpy(by.fit_transform(z.float().numpy())).float()


def _labels(test: Split, some: Tensor) -> dict[str, Tensor]:
    frames, at = test.frames, test.at[some]
    small = avg_pool2d(frames.screens[at][:, None].float(), SHRINK)[:, 0]
    return {
        "screens": small.round().to(torch.uint8),
        "episode": frames.episode[at],
        "step": frames.labels["step"][at],
        "reward": frames.labels["reward"][at],
        "ram": frames.labels["ram"][at],
    }
