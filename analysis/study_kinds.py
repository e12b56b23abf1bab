"""What a study file asks for: the commands of each kind of study, and the files of its table."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from itertools import product
from pathlib import Path
from typing import ClassVar

from jsonargparse.typing import ClosedUnitInterval, NonNegativeInt, PositiveFloat, PositiveInt

from fovea.analysis.figures import REFERENCES
from fovea.analysis.study_results import Key, Results
from fovea.command import UserError

Command = list[object]
"""What comes after `fovea`: a room, its command and the arguments."""

OUT = Path("OUT")
"""Stands for the study's folder in the commands that are kept."""

WHERE = "--run", "--accelerator", "--trainer.accelerator"
"""Options that say where something runs, and not what comes out."""

BASES = {
    "init_from": "init_from",
    "teacher": "model.init_args.teacher",
    "curriculum_from": "data.curriculum_from",
}
"""What names another run in a study file, and the setting that its folder goes to."""

TAKE_OFF = 0.1
"""The human-normalised score at which an agent has taken off: 0 is random play, 1 the human tester.

In Pong that is a return of -17.2, in Breakout one of 4.6.
"""


@dataclass(frozen=True)
class Study:
    """What a study file of either kind has.

    Attributes:
        title: heading of the table.
        room: whose `fit` runs are of, and whose configs they name.
        taken: names that no run can have: of folders beside the runs, and of references.
        games: that are recorded for the encoders, or that the agents play; their rom ids.
        steps: agent steps a game, recorded with the random policy, or that an agent learns from.
        seeds: of every draw of a run: the initial weights, the split by episode, the games.
        runs: {name: {"config": name or file, "settings": {dotted name: value}}}. "{seed}" in a
            value becomes the seed, as in runs/objectives/seed-{seed}/recipe, and "{game}" the game
            of an agent. An agent may name another run that it begins with, as "init_from": name,
            that it learns from, as "teacher": name, or whose curriculum it follows, as
            "curriculum_from": name.
        differences: pairs of runs [a, b] whose difference a - b is shown.
    """

    room: ClassVar[str]
    taken: ClassVar[tuple[str, ...]] = ()

    title: str
    games: list[str]
    steps: PositiveInt
    seeds: list[NonNegativeInt]
    runs: dict[str, dict]
    differences: list[list[str]]

    def before(self, out: Path) -> list[Command]:
        """Commands that run before all others."""
        return []

    def jobs(
        self, out: Path, names: list[str], seed: int, accelerator: str
    ) -> dict[Path, list[Command]]:
        """The runs of a seed, {its folder: its commands, one after the other}."""
        raise NotImplementedError

    def bases(self, name: str) -> list[str]:
        """The runs that a run needs: those that it names as BASES, those of these, and so on.

        Each stands there once, and before those that it needs itself.
        """
        found, layer = [], [name]
        while layer := list(dict.fromkeys(base for one in layer for base in self._named(one))):
            found += layer
        return [*reversed(dict.fromkeys(reversed(found)))]

    def _named(self, name: str) -> list[str]:
        return [self.runs[name][key] for key in BASES if key in self.runs[name]]

    def after(self, out: Path, names: list[str], seed: int, accelerator: str) -> list[Command]:
        """Commands that take all runs of a seed together."""
        return []

    def results(self, out: Path, keys: Sequence[Key]) -> Results:
        """Of those of the runs `keys` that have run, from their folders.

        They are read when a run's own commands have ended, or with `after`, when that has.
        """
        raise NotImplementedError

    def files(self, results: Results) -> dict[str, str]:
        """{name: text} of the page that compares results, made of these alone."""
        raise NotImplementedError

    def panels(self, results: Results) -> list[dict]:
        """The figure of that page, see `figures.panel`."""
        raise NotImplementedError

    def made_by(self) -> dict[Key, str]:
        """By run, the commands that make its result: where they are others, it is due."""
        found = {}
        for seed in self.seeds:
            cells = self.jobs(OUT, list(self.runs), seed, "auto")
            for folder in cells:
                made_of = [*reversed(self.bases(folder.name)), folder.name]
                every = [one for name in made_of for one in cells[folder.with_name(name)]]
                found[Key.of(folder.relative_to(OUT))] = self._typed(seed, every, [folder.name])
        return found

    def _typed(self, seed: int, commands: Sequence[Command], names: list[str]) -> str:
        """All commands of runs of a seed, as a shell takes them, without WHERE."""
        every = [*self.before(OUT), *commands, *self.after(OUT, names, seed, "auto")]
        return " && ".join(shlex.join(["fovea", *_without(WHERE, command)]) for command in every)

    def fit(self, name: str, seed: int, shared: dict[str, object], game: str = "") -> Command:
        """`ROOM fit` of a run, with the settings that all share and its own, which win."""
        run = self.runs[name]
        own = {
            key: str(value).replace("{seed}", str(seed)).replace("{game}", game)
            for key, value in run.get("settings", {}).items()
        }
        settings = {"seed_everything": seed, **shared, **own}
        options = [part for key, value in settings.items() for part in (f"--{key}", value)]
        return [self.room, "fit", "-c", run["config"], *options]


@dataclass(frozen=True)
class EncoderStudy(Study):
    """Encoders pretrained on the same recordings and probed alike.

    Attributes:
        samples: that every run sees.
        batch: of every run.
        stacks: of screens that the probes look at, a game.
        keep: chance that the random policy keeps its action.
        recordings: folders that are learned from and probed beside the study's own.
    """

    room = "pretrain"
    taken = ("probes", "after", *REFERENCES)

    samples: PositiveInt
    batch: PositiveInt
    stacks: PositiveInt
    keep: ClosedUnitInterval = 0.0
    recordings: Sequence[str] = ()

    def __post_init__(self):
        if self.samples < self.batch:
            raise UserError(
                f"{self.samples} samples are less than a batch of {self.batch}: take more"
            )

    def before(self, out):
        keep = ["--keep", self.keep] if self.keep else []
        return [["atari", "collect", *self.games, "--out", out / "recordings",
                 "--steps", self.steps, *keep]]  # fmt: skip

    def folders(self, out: Path) -> list[Path]:
        """Of all recordings."""
        return [out / "recordings", *map(Path, self.recordings)]

    def jobs(self, out, names, seed, accelerator):
        folder = out / f"seed-{seed}"
        shared = {
            "data.recordings": f"[{', '.join(map(str, self.folders(out)))}]",
            "data.batch_size": self.batch,
            "trainer.max_steps": self.samples // self.batch,
            "trainer.accelerator": accelerator,
        }
        return {
            folder / name: [self.fit(name, seed, {"run": folder / name, **shared})]
            for name in names
        }

    def after(self, out, names, seed, accelerator):
        folder = out / f"seed-{seed}"
        encoders = [part for name in names for part in ("--encoder", f"{name}={folder / name}")]
        return [["probes", "run", *encoders, "--recordings", *self.folders(out),
                 "--run", folder / "probes", "--probe", "state", "--probe", "collapse",
                 "--samples", self.stacks, "--seed", seed,
                 "--accelerator", accelerator]]  # fmt: skip

    def made_by(self):
        references = {
            Key(name, seed): self._typed(seed, [], []) for seed in self.seeds for name in REFERENCES
        }
        return super().made_by() | references

    def results(self, out, keys):
        from fovea.analysis.study_measures import of_encoders

        made_by = self.made_by()
        found: Results = {}
        for seed in sorted({key.seed for key in keys}):
            names = {key.run for key in keys if key.seed == seed} | REFERENCES.keys()
            commands = {Key(name, seed): made_by[name, seed, ""] for name in names}
            found |= of_encoders(out / f"seed-{seed}", commands)
        return found

    def files(self, results):
        from fovea.analysis.encoder_table import EncoderScores

        scores = EncoderScores.read(
            results, list(self.runs), self.games, self.seeds, self.differences
        )
        return {"study.md": scores.markdown(self.title)}

    def panels(self, results):
        from fovea.analysis.study_figures import of_encoders

        return of_encoders(results, list(self.runs))


@dataclass(frozen=True)
class AgentStudy(Study):
    """Agents that learn every game, each run in OUT/seed-SEED/GAME/NAME, and are evaluated.

    Attributes:
        episodes: of each evaluation.
        take_off: human-normalised score at which an agent has taken off; 0.1 where the file says
            nothing.
        disturb: under which each evaluation is played again (`fovea agents evaluate --disturb`).
    """

    room = "agents"

    episodes: PositiveInt
    take_off: PositiveFloat = TAKE_OFF
    disturb: Sequence[str] = ()

    def __post_init__(self):
        for name, run in self.runs.items():
            for key in BASES:
                if key in run and run[key] not in list(self.runs):
                    raise UserError(
                        f"{key} {run[key]!r} of the run {name} is no run of the study: "
                        f"choose among {', '.join(self.runs)}"
                    )
        try:
            TopologicalSorter({name: self._named(name) for name in self.runs}).prepare()
        except CycleError as circle:
            needs = " needs ".join(reversed(circle.args[1]))
            raise UserError(
                f"runs of the study wait for each other ({needs}): take one of {', '.join(BASES)} "
                "out of them"
            ) from None

    def jobs(self, out, names, seed, accelerator):
        shared = {"data.total_steps": self.steps, "trainer.accelerator": accelerator}
        disturb = ["--disturb", *self.disturb] if self.disturb else []
        evaluation = ["--episodes", self.episodes, *disturb, "--accelerator", accelerator]
        cells = {}
        for game, name in product(self.games, names):
            folder = out / Key(name, seed, game).place
            own = {"run": folder, "data.game": game, **shared}
            named = self.runs[name]
            own |= {to: folder.with_name(named[key]) for key, to in BASES.items() if key in named}
            cells[folder] = [
                self.fit(name, seed, own, game),
                ["agents", "evaluate", "--run", folder, *evaluation],
            ]
        return cells

    def results(self, out, keys):
        from fovea.analysis.study_measures import of_agent

        made_by = self.made_by()
        return {
            key: of_agent(out / key.place, key.game, self.take_off, made_by[key]) for key in keys
        }

    def files(self, results):
        from fovea.analysis.agent_table import AgentScores

        scores = AgentScores.read(
            results, list(self.runs), self.games, self.seeds, self.differences, self.take_off
        )
        return {"study.md": scores.markdown(self.title)}

    def panels(self, results):
        from fovea.analysis.study_figures import of_agents

        return of_agents(results, list(self.runs), self.games)


def _without(options: Sequence[str], command: Command) -> list[str]:
    """The words of a command without some options and their values."""
    words = list(map(str, command))
    return [
        word
        for before, word in zip(["", *words], words, strict=False)
        if before not in options and word not in options
    ]


KINDS = {"encoders": EncoderStudy, "agents": AgentStudy}
