"""What probes tell of returns is a rank correlation within groups of agents alike."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yaml

from fovea.command import UserError
from fovea.figures import Verdict
from fovea.probes import predict
from fovea.results import ProbeResult
from fovea.runs import RunWriter
from fovea.schema import Evaluation, PluggedIn
from fovea.tables import Table


def agent(folder: Path, encoder: str, returned: float, game: str = "pong", seed: int = 0) -> None:
    run = RunWriter(folder, "agent", "DQN")
    run.begin()
    run.update(
        plugged_in=PluggedIn(fingerprint=encoder), evaluation=Evaluation(game=game, mean=returned)
    )
    adapted = {"class_path": "Frozen", "init_args": {"encoder": f"runs/{encoder}"}}
    model = {"class_path": "DQN", "init_args": {"hidden": 8, "encoder": adapted}}
    config = {"seed_everything": seed, "run": str(folder), "model": model, "data": {"game": game}}
    (folder / "config.yaml").write_text(yaml.safe_dump(config))


def probed(folder: Path, values: dict[str, dict[str, float]]) -> None:
    """{encoder: {game: value}} as the result of a probe."""
    RunWriter(folder, "probes", "state").begin()
    tables = {
        encoder: [Table("overall", "", ["game", "r2"], [list(one) for one in of.items()])]
        for encoder, of in values.items()
    }
    result = ProbeResult(
        probe="state",
        verdict=Verdict(table="overall", measure="r2", sentence="", references=[]),
        recordings={game: "" for of in values.values() for game in of},
        fingerprints={encoder: encoder for encoder in values},
        encoders=tables,
    )
    (folder / "probes").mkdir()
    result.write(folder / "probes" / "state.json")


@pytest.mark.slow
def test_the_rank_correlation_is_that_of_seeds_means_within_each_game(tmp_path: Path) -> None:
    r2 = {"a": 0.1, "b": 0.2, "c": 0.3, "d": 0.4}
    probed(tmp_path / "probes", {name: {"pong": r2[name], "breakout": -r2[name]} for name in r2})
    # In Pong a < b < c < d by the means of two seeds; in Breakout two are exchanged.
    for seed, returns in enumerate([(-21, -19, 3, 9), (-20, -19, 3, 1)]):
        for name, value in zip(r2, returns, strict=True):
            agent(tmp_path / f"pong-{name}-{seed}", name, value, seed=seed)
    for name, value in zip(r2, (4, 3, 1, 2), strict=True):
        agent(tmp_path / f"breakout-{name}", name, value, game="breakout")
    (found,) = predict.correlate([tmp_path])
    assert (found.probe, found.measure, found.encoders, found.groups) == ("state", "r2", 8, 2)
    assert found.rho == pytest.approx((1 + 0.8) / 2)  # 1 - 6 * 2 / (4 * 15) where two are exchanged
    # Of the 576 pairs of orders those count whose two correlations add up to 1.8 in size or more.
    assert found.p == pytest.approx(14 / 576, abs=0.006)
    with pytest.raises(UserError, match=r"too thin .* state r2, .* rho \+0.90 over 8 encoders"):
        predict.best([found])


@pytest.mark.slow
def test_agents_with_other_settings_are_not_compared(tmp_path: Path) -> None:
    probed(tmp_path / "probes", {name: {"pong": k} for k, name in enumerate("abc")})
    for k, name in enumerate("abc"):
        agent(tmp_path / name, name, k)
    assert predict.correlate([tmp_path])[0].encoders == 3
    path = tmp_path / "c" / "config.yaml"
    path.write_text(path.read_text().replace("hidden: 8", "hidden: 9"))
    with pytest.raises(UserError, match=r"no 3 encoders .* agents alike"):
        predict.correlate([tmp_path])


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no evaluated agents below"):
        predict.correlate([tmp_path])
    agent(tmp_path / "a", "a", 1)
    with pytest.raises(UserError, match="no results of probes below"):
        predict.correlate([tmp_path])


@pytest.mark.slow
def test_enough_evidence_is_chosen_by() -> None:
    generator = np.random.default_rng(3)
    x = generator.normal(size=(12, 1))
    rho, p = predict.permuted([np.hstack([x, 2 * x])])
    assert (rho, p) == (pytest.approx(1), pytest.approx(1e-4, abs=1e-6))
    good = predict.Correlation("value", "r2", 12, 1, rho, p)
    assert predict.best([predict.Correlation("state", "r2", 12, 1, 0.2, 0.5), good]) == good


@pytest.mark.slow
def test_equal_values_share_their_rank() -> None:
    rho, _ = predict.permuted([np.array([[1, 5], [2, 5], [3, 7]])])
    assert rho == pytest.approx(0.75**0.5)
