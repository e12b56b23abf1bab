"""What a study file asks for: the commands of each kind of study, and the files of its table."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

Command = list[object]
"""What comes after `fovea`: a room, its command and the arguments."""

TAKE_OFF = 0.1
"""The human-normalised score at which an agent has taken off: 0 is random play, 1 the human tester.

In Pong that is a return of -17.2, in Breakout one of 4.6.
"""


@dataclass(frozen=True)
class Study:
    """What a study file of either kind has.

    Attributes:
        title: heading of the table.
        games: that are recorded for the encoders, or that the agents play.
        steps: agent steps a game, recorded with the random policy, or that an agent learns from.
        seeds: of every draw of a run: the initial weights, the split by episode, the games.
        runs: {name: {"config": name or file, "settings": {dotted name: value}}}. "{seed}" in a
            value becomes the seed, as in runs/objectives/seed-{seed}/recipe.
        differences: pairs of runs [a, b] whose difference a - b is shown.
    """

    title: str
    games: list[str]
    steps: int
    seeds: list[int]
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

    def after(self, out: Path, names: list[str], seed: int, accelerator: str) -> list[Command]:
        """Commands that take all runs of a seed together."""
        return []

    def files(self, out: Path, names: list[str], seeds: list[int]) -> dict[str, str]:
        """{name: text} of the table of what has run."""
        raise NotImplementedError

    def fit(self, room: str, name: str, seed: int, shared: dict[str, object]) -> Command:
        """`ROOM fit` of a run, with the settings that all share and its own, which win."""
        run = self.runs[name]
        own = {
            key: str(value).replace("{seed}", str(seed))
            for key, value in run.get("settings", {}).items()
        }
        settings = {"seed_everything": seed, **shared, **own}
        options = [part for key, value in settings.items() for part in (f"--{key}", value)]
        return [room, "fit", "-c", run["config"], *options]


@dataclass(frozen=True)
class EncoderStudy(Study):
    """Encoders pretrained on the same recordings and probed alike.

    Attributes:
        samples: that every run sees.
        batch: of every run.
        stacks: of screens that the probes look at, a game.
    """

    samples: int
    batch: int
    stacks: int

    def before(self, out):
        return [["atari", "collect", *self.games, "--out", out / "recordings",
                 "--steps", self.steps]]  # fmt: skip

    def jobs(self, out, names, seed, accelerator):
        folder = out / f"seed-{seed}"
        shared = {
            "data.recordings": f"[{out / 'recordings'}]",
            "data.batch_size": self.batch,
            "trainer.max_steps": self.samples // self.batch,
            "trainer.accelerator": accelerator,
        }
        return {
            folder / name: [self.fit("pretrain", name, seed, {"run": folder / name, **shared})]
            for name in names
        }

    def after(self, out, names, seed, accelerator):
        folder = out / f"seed-{seed}"
        encoders = [part for name in names for part in ("--encoder", f"{name}={folder / name}")]
        return [["probes", "run", *encoders, "--recordings", out / "recordings",
                 "--run", folder / "probes", "--probe", "state", "--probe", "collapse",
                 "--samples", self.stacks, "--seed", seed,
                 "--accelerator", accelerator]]  # fmt: skip

    def files(self, out, names, seeds):
        from fovea.analysis.encoder_table import EncoderScores

        return EncoderScores.read(out, names, seeds, self.differences).files(self.title)


@dataclass(frozen=True)
class AgentStudy(Study):
    """Agents that learn every game, each run in OUT/seed-SEED/GAME/NAME, and are evaluated.

    Attributes:
        episodes: of each evaluation.
        take_off: human-normalised score at which an agent has taken off; 0.1 where the file says
            nothing.
    """

    episodes: int
    take_off: float = TAKE_OFF

    def jobs(self, out, names, seed, accelerator):
        shared = {"data.total_steps": self.steps, "trainer.accelerator": accelerator}
        evaluation = ["--episodes", self.episodes, "--accelerator", accelerator]
        return {
            folder: [
                self.fit("agents", name, seed, {"run": folder, "data.game": game, **shared}),
                ["agents", "evaluate", "--run", folder, *evaluation],
            ]
            for game in self.games
            for name in names
            for folder in [out / f"seed-{seed}" / game / name]
        }

    def files(self, out, names, seeds):
        from fovea.analysis.agent_table import AgentScores

        found = AgentScores.read(out, names, self.games, seeds, self.differences, self.take_off)
        return found.files(self.title)


KINDS = {"encoders": EncoderStudy, "agents": AgentStudy}
