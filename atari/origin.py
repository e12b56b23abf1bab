"""Where a recording comes from: who played, how the game was set up, and from which seed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import get_origin, get_type_hints

IMPLIED = {
    "keep": 0.0,
    "fire_reset": False,
    "full_actions": False,
    "mode": None,
    "difficulty": None,
}
"""Settings that are younger than the first recordings, and are written where they differ alone."""

DIGITS = 12
"""Of a SHA-256, enough to tell files apart."""
COMPARED = (
    *("sticky", "frame_skip", "noop_max", "max_frames"),
    *("fire_reset", "full_actions", "mode", "difficulty"),
)
"""How a game is played (see `emulator.Settings`): what travels with recordings and is compared."""


UNKNOWN = "unknown"
"""The value of a setting that nobody wrote down, as in files of one's own: it is no default."""


@dataclass(frozen=True)
class Policy:
    """An agent that played episodes of a recording.

    Attributes:
        name: as the column `policy` has it: run, agent steps of training, and epsilon.
        agent: its class, such as DQN.
        run: name of its run folder.
        checkpoint: name of the checkpoint's file.
        sha256: of that file.
        trained: agent steps of its training until then.
        epsilon: chance of an action drawn uniformly.
        protocol: that it was trained under.
        settings: how it played, see `emulator.Settings`.
    """

    name: str
    agent: str
    run: str
    checkpoint: str
    sha256: str
    trained: int
    epsilon: float
    protocol: str
    settings: dict


@dataclass(frozen=True)
class Origin:
    """Everything that determines what a shard holds, except its index.

    Attributes:
        game: rom id.
        rom_md5: of the ROM's file.
        settings: how it was played, as far as all policies share it.
        actions: names of the action set that the column `action` counts in.
        policy: who played, in words.
        seed: of the games and the policies.
        versions: of the packages that matter, by name.
        screen: what a screen is, in words.
        format: which of `parquet.FORMATS` the columns are.
        policies: the agents that played; none where a random policy did.
        source: the data set that it was imported from; empty where it was played here.
    """

    game: str
    rom_md5: str
    settings: dict
    actions: list[str]
    policy: str
    seed: int
    versions: dict[str, str]
    screen: str = "84x84 grey, maximum of the last two frames, area resize"
    format: int = 3
    policies: list[Policy] = field(default_factory=list)
    source: str = ""

    @staticmethod
    def of(record: dict) -> Origin:
        """What `record` made a dictionary of. Raises TypeError where it is something else."""
        policies = [Policy(**policy) for policy in record.get("policies", [])]
        origin = Origin(**record | {"policies": policies})
        _check_kinds(origin)
        for policy in policies:
            _check_kinds(policy)
        if not origin.actions or not all(isinstance(name, str) for name in origin.actions):
            raise TypeError("its actions are no names")
        return origin

    def record(self) -> dict:
        """As it is written, without what is implied."""
        record = asdict(self)
        for name in ("policies", "source"):
            if not record[name]:
                del record[name]
        return record | {"settings": without_implied(self.settings)}

    @property
    def policy_names(self) -> list[str]:
        """The names of those who played, in the order of `policies`."""
        if self.policies:
            return [policy.name for policy in self.policies]
        keep = self.settings.get("keep", IMPLIED["keep"])
        return [f"random keep {keep:g}" if keep else "random"]

    @property
    def players(self) -> list[tuple[str, str]]:
        """Of each of `policy_names` the name, and what tells it from others of that name.

        That is the beginning of the SHA-256 of its weights; where there are none, the data set that
        it was imported from.
        """
        where = self.source or "played here"
        known = [policy.sha256[:DIGITS] or where for policy in self.policies]
        return list(zip(self.policy_names, known or [where], strict=True))

    @property
    def command(self) -> str:
        """The command that recorded it."""
        if self.source:
            return "fovea atari import"
        return "fovea agents record" if self.policies else "fovea atari collect"

    def difference(self, other: Origin) -> tuple[str, object, object] | None:
        """The first field that differs: its name, its value here, its value there. Else None."""
        mine, theirs = _flat(self), _flat(other)
        for key in mine | theirs:
            if mine.get(key) != theirs.get(key):
                return key, mine.get(key), theirs.get(key)
        return None


def _check_kinds(of: Origin | Policy) -> None:
    """Raise TypeError for a field of another type than its own."""
    for name, hint in get_type_hints(type(of)).items():
        kind = get_origin(hint) or hint
        if not isinstance(getattr(of, name), int | float if kind is float else kind):
            raise TypeError(f"its {name} is no {kind.__name__}")


def without_implied(settings: dict) -> dict:
    """The settings but those of `IMPLIED` that have their value there."""
    return {
        name: value
        for name, value in settings.items()
        if name not in IMPLIED or value != IMPLIED[name]
    }


def unknown_settings() -> dict[str, str]:
    """The settings of a recording of which nobody wrote down how it was played."""
    return dict.fromkeys(COMPARED, UNKNOWN)


def _flat(origin: Origin) -> dict[str, object]:
    """All fields by name, those in dictionaries by theirs, and those of policies by both."""
    flat: dict[str, object] = {**IMPLIED, "policies": ", ".join(origin.policy_names)}
    for key, value in asdict(origin).items():
        if key != "policies":
            flat |= value if isinstance(value, dict) else {key: value}
    for policy in origin.policies:
        each = IMPLIED | asdict(policy) | policy.settings
        flat |= {f"{key} of {policy.name}": each[key] for key in each if key != "settings"}
    return flat


def differences(origins: Iterable[Origin]) -> Iterator[str]:
    """A line for each game whose recordings were not all played and seen in the same way.

    What is known and what is UNKNOWN differ.
    """
    games: dict[str, dict[str, set[str]]] = {}
    for origin in origins:
        each = [origin.settings | policy.settings for policy in origin.policies]
        found = games.setdefault(origin.game, {name: set() for name in (*COMPARED, "screen")})
        found["screen"].add(repr(origin.screen))
        for settings in each or [origin.settings]:
            for name in COMPARED:
                found[name].add(_shown((IMPLIED | settings).get(name)))
    for game, found in games.items():
        differ = {name: values for name, values in found.items() if len(values) > 1}
        if differ:
            unknown = any(UNKNOWN in values for values in differ.values())
            said = ", ".join(
                f"{name} {' and '.join(sorted(values, key=_order))}"
                for name, values in differ.items()
            )
            yield f"{game} was played with different{' or unknown' * unknown} settings: {said}"


def _order(shown: str) -> tuple[bool, float, str]:
    """The default first, then numbers, then words."""
    try:
        return False, -1 if shown == "default" else float(shown), ""
    except ValueError:
        return True, 0, shown


def _shown(value: object) -> str:
    if value is None:
        return "default"
    if isinstance(value, bool):
        value = int(value)
    return f"{value:g}" if isinstance(value, float) else str(value)


def unlike(origins: Iterable[Origin], played: Mapping[str, object]) -> Iterator[str]:
    """How recordings were played otherwise than with these settings; a sentence for each game."""
    for origin in origins:
        each = [origin.settings | policy.settings for policy in origin.policies]
        differ = {
            f"{name} {(IMPLIED | settings).get(name)} there and {value} here"
            for settings in each or [origin.settings]
            for name, value in played.items()
            if (IMPLIED | settings).get(name, value) != value
        }
        if differ:
            yield f"{origin.game} was recorded with other settings: {', '.join(sorted(differ))}"
