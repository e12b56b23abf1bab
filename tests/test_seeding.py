"""No two uses of a seed, and no use of two seeds, meet the same random numbers."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
import torch

from fovea.seeding import Draws, Stream, key, keyed, seeded, uniform_by_index

ROOT = Path(__file__).parent.parent
SEEDS = range(1000)


@pytest.mark.slow
def test_no_stream_of_a_seed_has_the_key_of_another_stream_or_seed() -> None:
    keys = [key(stream, seed) for stream in Stream for seed in SEEDS]
    assert len(set(keys)) == len(keys)
    # All that torch's generator on the CPU looks at.
    assert len({one % 2**32 for one in keys}) == len(keys)


def test_the_views_of_a_seed_are_not_the_places_of_another() -> None:
    """They were, while streams were XORed into the seed."""
    rows = {
        tuple(Draws(stream, seed, step, 4, "cpu").uniform(0, 1).tolist())
        for stream in Stream
        for seed in range(4)
        for step in range(4)
    }
    assert len(rows) == len(Stream) * 16


def test_what_was_drawn_before_does_not_move_a_stream() -> None:
    first = torch.rand(3, generator=keyed("cpu", Stream.VIEWS, 0, 5))
    torch.rand(100)
    with seeded(Stream.ENCODER, 0):
        weights = torch.rand(3)
    state = torch.get_rng_state()
    with seeded(Stream.ENCODER, 0):
        assert torch.equal(torch.rand(3), weights)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(torch.rand(3, generator=keyed("cpu", Stream.VIEWS, 0, 5)), first)


def test_numbers_by_index_do_not_depend_on_what_stands_beside() -> None:
    index = torch.tensor([0, 1, 2, 2**40, 7])
    numbers = uniform_by_index(index, Stream.RANDOM_LABELS, 3)
    assert torch.equal(numbers.flip(0), uniform_by_index(index.flip(0), Stream.RANDOM_LABELS, 3))
    assert ((numbers >= 0) & (numbers < 1)).all()
    assert not torch.equal(numbers, uniform_by_index(index, Stream.RANDOM_LABELS, 4))
    assert not torch.equal(numbers, uniform_by_index(index, Stream.VIEWS, 3))


@pytest.mark.parametrize("room", ["fovea", "pretrain", "agents", "probes"])
def test_every_generator_has_a_stream(room: str) -> None:
    """Only the ground floor seeds torch and NumPy, but for what says its stream itself.

    Atari's two keys are older (see `fovea.seeding`), and bootstraps are drawn without torch, by
    analysis and by `fovea.by_episode`.
    """
    for path in (ROOT / room).glob("**/*.py"):
        if path.name in ("seeding.py", "by_episode.py") and path.parent == ROOT / "fovea":
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                called = ast.unparse(node)
                assert node.func.attr != "manual_seed", f"{path}: {called}"
                if node.func.attr in ("default_rng", "SeedSequence"):
                    assert "Stream." in called, f"{path}: {called}"
