"""A study that has so many minutes: what its file says, and how long each of its runs can be."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from jsonargparse.typing import ClosedUnitInterval, PositiveFloat, PositiveInt

from fovea.analysis.study_kinds import Command, EncoderStudy, Study
from fovea.command import UserError
from fovea.files import write_json
from fovea.foreign import load_json, read_text
from fovea.schema import Record

RESERVE, LEAST_RESERVE = 0.08, 2.0
"""What is kept of a run's time for what was not foreseen: a share of it, and at least so many s."""
LEAST_STEPS = 10
"""A run of fewer steps is left out: it would teach nothing."""
CAUTION = 0.8
"""The share of the remaining time for collecting that is planned to be used."""
SHARD_STEPS = 1000
"""Agent steps a shard, at least: small, so that all cores have one from the first moment."""
WARM_UP = "model.init_args.optimisation.warmup"


@dataclass(frozen=True)
class TimedStudy(Study):
    """Encoders that are each pretrained for a share of the minutes, then probed alike.

    `steps` is how many agent steps a game are collected at most, where time allows; of `seeds` one
    is trained in a call, the first where none is named.

    Attributes:
        settings: {dotted name: value} of every run; its own win.
        batch: samples a step.
        warmup: steps of warm-up, as a share of a run's.
        stacks: of screens that the probes look at, a game.
        collect_share: of the minutes, in which games are collected where no recordings are given.
        measure_seconds: of each measurement of speed.
        probe_seconds: that the probes take, about; kept for them.
        agent_encoder: what DQN's updates are timed on, such as random:vit_tiny; none where empty.
        recordings: folders that are taken along, in place of collecting.
    """

    room = "pretrain"
    taken = EncoderStudy.taken

    settings: dict[str, object]
    batch: PositiveInt
    warmup: ClosedUnitInterval
    stacks: PositiveInt
    collect_share: ClosedUnitInterval
    measure_seconds: PositiveFloat
    probe_seconds: PositiveFloat
    agent_encoder: str = ""
    recordings: Sequence[str] = ()

    def shared(self, recordings: list[Path], accelerator: str) -> dict[str, object]:
        """The settings of every run."""
        return {
            "data.recordings": f"[{', '.join(map(str, recordings))}]",
            "data.batch_size": self.batch,
            "trainer.accelerator": accelerator,
            **self.settings,
        }

    def speed(self, name: str, seed: int, shared: dict[str, object]) -> Command:
        """`pretrain speed` of a run."""
        _, _, *rest = self.fit(name, seed, shared)
        return ["pretrain", "speed", *rest, "--seconds", self.measure_seconds]

    def pretrain(
        self, name: str, seed: int, folder: Path, steps: int, shared: dict[str, object]
    ) -> Command:
        """`pretrain fit` of a run of so many steps."""
        length = {"trainer.max_steps": steps, WARM_UP: max(1, round(self.warmup * steps))}
        return self.fit(name, seed, {"run": folder, **shared, **length})


@dataclass
class Plan(Record):
    """What a call has found out and decided, in OUT/plan.json, for the calls that go on.

    Attributes:
        collected: agent steps a game.
        rates: samples a second of each run, measured beforehand.
        starts: seconds that each run takes beside its steps.
        steps: of each run, as decided.
        speeds: what was measured, rows of [of what, way, a second, unit].
    """

    collected: int = 0
    rates: dict[str, float] = field(default_factory=dict)
    starts: dict[str, float] = field(default_factory=dict)
    steps: dict[str, int] = field(default_factory=dict)
    speeds: list[list] = field(default_factory=list)

    @classmethod
    def load(cls, out: Path) -> Plan:
        """That of a folder, or a new one. Raises UserError where it is damaged."""
        path = out / "plan.json"
        try:
            return cls.read(load_json(read_text(path)))
        except FileNotFoundError:
            return cls()
        except (ValueError, TypeError, AttributeError) as fault:
            raise UserError(f"{path} is damaged ({fault}): delete it to plan anew") from None

    def save(self, out: Path) -> None:
        write_json(out / "plan.json", self.plain())

    def knows(self, of: str, way: str) -> bool:
        """Whether a speed was measured."""
        return [of, way] in [row[:2] for row in self.speeds]

    def choose_steps(self, names: list[str], seconds: float, batch: int) -> None:
        """Give each of `names` that was measured an equal share of the time, as steps.

        What was chosen before stays, and the others share what it leaves.
        """
        measured = [name for name in names if name in self.rates]
        kept = [name for name in measured if name in self.steps]
        new = [name for name in measured if name not in self.steps]
        seconds -= sum(self.seconds(name, batch) for name in kept)
        for name in new:
            self.steps[name] = steps_within(
                seconds / len(new), self.starts[name], self.rates[name] / batch
            )

    def seconds(self, name: str, batch: int, done: int = 0) -> float:
        """How long a run takes of which `done` steps are over."""
        left = max(0, self.steps[name] - done)
        return self.starts[name] + left * batch / self.rates[name]


def steps_within(seconds: float, start: float, rate: float) -> int:
    """Steps of a run that takes `start` seconds beside them, at `rate` steps a second."""
    reserve = max(LEAST_RESERVE, RESERVE * seconds)
    return max(0, int((seconds - reserve - start) * rate))


def first_steps(cores: int, games: int, most: int) -> int:
    """Agent steps a game of a first round of collecting, in which every core has a shard."""
    return min(most, SHARD_STEPS * math.ceil(cores / games))


def all_steps(first: int, took: float, budget: float, most: int) -> int:
    """Agent steps a game in the whole budget, after a first round took so many of its seconds."""
    more = CAUTION * first * max(0.0, budget - took) / took
    return max(first, min(most, int(first + more) // SHARD_STEPS * SHARD_STEPS))
