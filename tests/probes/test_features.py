"""What is drawn from recordings, and that held-out screens are held out."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from fovea.atari.frames import Frames
from fovea.command import UserError
from fovea.pretrain.encoders.build import build_encoder
from fovea.pretrain.encoders.encoder import inference
from fovea.pretrain.encoders.fingerprint import fingerprint
from fovea.pretrain.encoders.multi_query import MultiQueryShape
from fovea.pretrain.encoders.vit import Shape, ViT
from fovea.probes.features import Drawn, Splits, draw, encode, neighbours
from fovea.probes.references import Blind, Pixels, references, untrained


def shown(split: Drawn) -> set[bytes]:
    frames, at = split
    return {screen.numpy().tobytes() for screen in frames.screens[at]}


def test_no_screen_is_in_two_parts(drawn: dict[str, list[Drawn]]) -> None:
    for splits in drawn.values():
        training, validation, test = map(shown, splits)
        assert training
        assert validation
        assert test
        assert not training & validation
        assert not (training | validation) & test


def test_no_episode_is_in_two_parts_and_none_is_lost(
    frames: Frames, drawn: dict[str, list[Drawn]]
) -> None:
    for game, splits in drawn.items():
        episodes = [set(split.episode.tolist()) for split, _ in splits]
        assert set.union(*episodes) == set(frames.of(game).episode.tolist())
        assert sum(map(len, episodes)) == len(set.union(*episodes))


def test_stacks_stay_in_their_episode(drawn: dict[str, list[Drawn]]) -> None:
    for frames, at in (split for splits in drawn.values() for split in splits):
        assert torch.equal(frames.episode[at], frames.episode[at - 1])
        assert bool((at[1:] > at[:-1]).all())


def test_test_stacks_come_in_pairs_of_neighbours(seen: dict[str, Splits]) -> None:
    for splits in seen.values():
        first = neighbours(splits.test)
        frames, at = splits.test.frames, splits.test.at
        assert len(first) >= len(at) // 2
        assert torch.equal(at[first] + 1, at[first + 1])
        assert torch.equal(frames.episode[at[first]], frames.episode[at[first + 1]])
        assert torch.equal(
            frames.labels["step"][at[first]] + 1, frames.labels["step"][at[first + 1]]
        )


def test_draws_are_a_function_of_the_seed(frames: Frames) -> None:
    one, same, other = (draw(frames, 2, samples=100, seed=s)["pong"] for s in (3, 3, 4))
    assert all(torch.equal(a[1], b[1]) for a, b in zip(one, same, strict=True))
    assert not torch.equal(one[0][1], other[0][1])


def test_features_are_those_of_the_encoder(encoder: ViT, seen: dict[str, Splits]) -> None:
    split = seen["breakout"].validation
    with torch.inference_mode():
        summary, tokens = encoder(split.frames.windows(split.at, 2)[:, 0])
    torch.testing.assert_close(split.summary_and_mean, torch.cat([summary, tokens.mean(1)], dim=1))
    assert torch.equal(split.ram, split.frames.labels["ram"][split.at].long())


def test_recordings_whose_test_episodes_show_nothing_new_are_refused(frames: Frames) -> None:
    pong = frames.of("pong")
    still = replace(pong, screens=torch.zeros_like(pong.screens))
    with pytest.raises(UserError, match=r"pong show no screen that training lacks: collect more"):
        draw(still, 2, samples=10)


def test_rest_ends_in_the_mode_that_was(encoder: ViT) -> None:
    encoder.train()
    encoder.vit.norm.eval()
    with inference(encoder):
        assert not any(module.training for module in encoder.modules())
    assert encoder.training
    assert not encoder.vit.norm.training


def test_a_fingerprint_knows_weights_and_shape(encoder: ViT) -> None:
    same = untrained(encoder, 1)
    assert fingerprint(encoder) == fingerprint(same)
    with torch.no_grad():
        same.vit.norm.bias[3] += 1e-6
    assert fingerprint(encoder) != fingerprint(same)
    assert fingerprint(Blind(2, (84, 84))) != fingerprint(Blind(4, (84, 84)))


def test_the_untrained_reference_has_the_shape_and_its_own_weights(encoder: ViT) -> None:
    random = references(encoder, seed=0)["random"]
    mine, its = encoder.state_dict(), random.state_dict()
    assert {k: v.shape for k, v in mine.items()} == {k: v.shape for k, v in its.items()}
    assert not torch.equal(mine["vit.patch_embed.proj.weight"], its["vit.patch_embed.proj.weight"])


@pytest.mark.slow
def test_pixels_are_the_principal_components_of_the_screens(drawn: dict[str, list[Drawn]]) -> None:
    frames, at = drawn["pong"][0]
    screens = frames.windows(at, 2)[:, 0]
    fitted = Pixels(2, (84, 84), dim=40).fitted(screens)
    x = screens.flatten(1).double() / 255
    x -= x.mean(0)
    exact = torch.linalg.svd(x, full_matrices=False)
    with torch.inference_mode():
        summary = fitted(screens).summary.double()
    assert summary.shape == (len(at), 40)
    # The scores of the leading components, of either sign; then the variance that all hold.
    mine, theirs = summary[:, :3].abs(), (exact.U * exact.S)[:, :3].abs()
    torch.testing.assert_close(mine, theirs, atol=1e-2, rtol=1e-2)
    ratio = summary.square().sum() / exact.S[:40].square().sum()
    assert 0.98 < float(ratio) <= 1 + 1e-5


def test_pixels_of_few_screens_have_no_direction_in_which_they_do_not_vary() -> None:
    """Rounding alone would be scaled up to numbers that are read from."""
    few = torch.randint(0, 256, (12, 2, 84, 84), generator=torch.Generator().manual_seed(0))
    fitted = Pixels(2, (84, 84), dim=40).fitted(few.to(torch.uint8))
    with torch.inference_mode():
        deviations = fitted(few.to(torch.uint8)).summary.std(0)
    assert float(deviations[:11].min() / deviations.max()) > 0.1
    assert deviations[11:].tolist() == [0.0] * (fitted.dim - 11)


def test_blind_features_are_the_same_for_every_screen(drawn: dict[str, list[Drawn]]) -> None:
    test = encode(Blind(2, (84, 84)), drawn)["pong"].test
    assert test.summary_and_mean.tolist() == [[0.0]] * len(test.at)


def test_a_game_with_too_few_episodes_is_named(frames: Frames) -> None:
    episodes = frames.of("breakout").split([0.25] * 4)
    with pytest.raises(UserError, match=r"breakout has \d episodes?, too few"):
        draw(min(episodes, key=len), 2, samples=10)


def test_the_untrained_reference_of_a_read_out_has_one_of_its_own() -> None:
    like = build_encoder(Shape(patch=42, read_out=MultiQueryShape(queries=3, outputs=5)), seed=4)
    same, other = untrained(like, 4), untrained(like, 5)
    assert same.summary_dim == other.summary_dim == 15
    assert torch.equal(same.read_out.queries, like.read_out.queries)
    assert not torch.equal(other.read_out.queries, like.read_out.queries)
