"""The games: their names, and the scores of a random agent and of a human tester."""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass
from difflib import get_close_matches
from importlib import resources

from fovea.command import UserError


@dataclass(frozen=True)
class Game:
    """One of the 55 games that have a random and a human score.

    Attributes:
        rom_id: its name in ale-py, e.g. "ms_pacman".
        name: its name in environment ids, e.g. "MsPacman" of "ALE/MsPacman-v5".
        random: mean return of the random agent (Wang et al. 2016, the table that
            human-normalised scores are made with).
        human: mean return of the human tester (the same table).
        atari_100k: whether it is one of the 26 games of the Atari-100k benchmark.
        tov_vicreg_paper: whether it is one of the 10 games of the TOV-VICReg paper.
        number: from 1, which episodes of recordings are numbered by; a game never changes it, and
            a new one takes the next.
    """

    rom_id: str
    name: str
    random: float
    human: float
    atari_100k: bool
    tov_vicreg_paper: bool
    number: int


def _load() -> dict[str, Game]:
    with (
        resources.files("fovea.atari")
        .joinpath("data/atari_scores.csv")
        .open(encoding="utf-8") as file
    ):
        return {
            row["game"]: Game(
                rom_id=row["game"],
                name=row["game"].title().replace("_", ""),
                random=float(row["random"]),
                human=float(row["human"]),
                atari_100k=row["atari_100k"] == "1",
                tov_vicreg_paper=row["tov_vicreg_paper"] == "1",
                number=int(row["number"]),
            )
            for row in csv.DictReader(file)
        }


GAMES: dict[str, Game] = _load()
ACTIONS = 18  # the most that a game's minimal set has


def find(name: str) -> Game:
    """The game of any common name: ms_pacman, MsPacman, ALE/MsPacman-v5, MsPacmanNoFrameskip-v4.

    Raises UserError with the closest names where there is none.
    """
    plain = re.sub(r"^ALE/|(NoFrameskip)?-v\d+$", "", name)
    squeezed = re.sub(r"[^a-z0-9]", "", plain.lower())
    by_squeezed = {rom_id.replace("_", ""): game for rom_id, game in GAMES.items()}
    if squeezed in by_squeezed:
        return by_squeezed[squeezed]
    close = [by_squeezed[key].rom_id for key in get_close_matches(squeezed, by_squeezed, n=3)]
    hint = f"did you mean {' or '.join(close)}? " if close else ""
    raise UserError(f"unknown game {name!r}: {hint}`fovea atari ls` lists all {len(GAMES)}")


def hns(game: str, score: float) -> float:
    """Human-normalised score: 0 is the random agent's return, 1 the human tester's."""
    known = find(game)
    return (score - known.random) / (known.human - known.random)
