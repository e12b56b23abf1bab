"""What run folders say, as data classes that writers and readers share: run.json, and `Record`."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from functools import cache
from types import UnionType
from typing import Any, Self, get_args, get_origin, get_type_hints


@dataclass
class Record:
    """A JSON object, whose keys are the fields of a subclass.

    Attributes:
        other: keys that this version does not know, of a newer one; they are kept.
    """

    other: dict[str, Any] = field(default_factory=dict, kw_only=True, repr=False)

    @classmethod
    def read(cls, found: Mapping[str, Any]) -> Self:
        """The record of a JSON object; what is missing, as in older versions, has its default."""
        known = {one.name for one in fields(cls)} - {"other"}
        return cls(
            **{key: value for key, value in found.items() if key in known},
            other={key: value for key, value in found.items() if key not in known},
        )

    def plain(self) -> dict[str, Any]:
        """The JSON object."""
        own = {one.name: getattr(self, one.name) for one in fields(self) if one.name != "other"}
        return plain(own | self.other)


def plain(value: Any) -> Any:
    """A value as JSON has it: arrays as lists, NaN and infinity as null."""
    if isinstance(value, Record):
        return value.plain()
    if isinstance(value, Mapping):
        return {key: plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain(inner) for inner in value]
    if hasattr(value, "tolist"):  # NumPy's arrays and numbers
        return plain(value.tolist())
    return None if isinstance(value, float) and not math.isfinite(value) else value


def check(record: Record) -> None:
    """Raise TypeError for a field whose value is not of its type; a missing number is None."""
    kind: Any = type(record)  # whose metaclass mypy takes for its class, which has no hash
    for name, hint in _hints(kind).items():
        if not _fits(value := getattr(record, name), hint):
            said = repr(value)
            short = said if len(said) <= 60 else f"{said[:60]}..."
            raise TypeError(f"{name} is {short}, and not {getattr(hint, '__name__', hint)}")


@cache
def _hints(kind: type) -> dict[str, Any]:
    return get_type_hints(kind)


def _fits(value: object, hint: Any) -> bool:
    origin, of = get_origin(hint), get_args(hint)
    if hint is Any:
        return True
    if origin is UnionType:
        return any(_fits(value, one) for one in of)
    if origin is list:
        return isinstance(value, list) and all(_fits(one, of[0]) for one in value)
    if origin is dict:
        return isinstance(value, dict) and all(_fits(one, of[1]) for one in value.values())
    if hint is float:  # as `plain` writes one that is not finite
        return value is None or (isinstance(value, int | float) and not isinstance(value, bool))
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    if isinstance(value, Record) and isinstance(value, hint):
        return all(_fits(getattr(value, name), one) for name, one in _hints(hint).items())
    return isinstance(value, hint)


@dataclass
class Disturbed(Record):
    """How an agent played the same episodes under a disturbance.

    Attributes:
        returns: raw, of each episode.
        lengths: agent steps of each episode.
        cut: how many of them were cut before half an hour.
        mean: of the returns.
        hns: the mean, human-normalised; None where episodes were cut.
    """

    returns: list[float] = field(default_factory=list)
    lengths: list[int] = field(default_factory=list)
    cut: int = 0
    mean: float = math.nan
    hns: float | None = None


def count_cut(lengths: Iterable[int], max_frames: int | None, frame_skip: int) -> int:
    """How many episodes, of `lengths` agent steps, were cut before half an hour of play.

    None were where they might be as long as those of the references.
    """
    if max_frames is None or max_frames >= 108_000:
        return 0
    return sum(length >= -(-max_frames // frame_skip) for length in lengths)


@dataclass
class Evaluation(Record):
    """How a trained agent played whole episodes, as `fovea agents evaluate` writes it.

    Attributes:
        game: rom id.
        protocol: how it was played, in words.
        command: what was typed.
        checkpoint: name of the file that the agent was loaded from.
        trained: agent steps of its training.
        episodes: how many were asked for.
        envs: environments at once.
        max_frames: after which an episode was cut.
        frame_skip: frames that an action was held for.
        seed: of the games and the actions.
        video_seconds: of video that were asked for.
        video_why: whether the video was to show what spoke for each action.
        seconds: that the episodes took, of playing alone.
        returns: raw, of each episode.
        lengths: agent steps of each episode.
        mean: of the returns.
        hns: the mean, human-normalised: 0 is the random agent, 1 the human tester; None where
            episodes were cut.
        random: the random agent's return.
        human: the human tester's return.
        video: where the video lies in the run folder; None without one.
        disturbed: how it played under disturbances, by their names such as sticky:0.5.
    """

    game: str = ""
    protocol: str = ""
    command: str = ""
    checkpoint: str = ""
    trained: int | None = None
    episodes: int | None = None
    envs: int | None = None
    max_frames: int | None = None
    frame_skip: int = 4
    seed: int | None = None
    video_seconds: int | None = None
    video_why: bool = False
    seconds: float | None = None
    returns: list[float] = field(default_factory=list)
    lengths: list[int] = field(default_factory=list)
    mean: float | None = None
    hns: float | None = None
    random: float | None = None
    human: float | None = None
    video: str | None = None
    disturbed: dict[str, Disturbed] = field(default_factory=dict)

    @classmethod
    def read(cls, found: Mapping[str, Any]) -> Self:
        record = super().read(found)
        record.disturbed = {
            name: Disturbed.read(each) for name, each in found.get("disturbed", {}).items()
        }
        return record

    @property
    def changes(self) -> dict[str, float]:
        """By how much the mean return differs under each disturbance."""
        clean = math.nan if self.mean is None else self.mean
        return {name: of.mean - clean for name, of in self.disturbed.items()}

    @property
    def cut(self) -> int:
        """How many episodes were cut before half an hour, where those of the references ended."""
        return count_cut(self.lengths, self.max_frames, self.frame_skip)

    @property
    def cut_short(self) -> bool:
        """Whether its mean is of parts of episodes too, which no reference is of."""
        return self.cut > 0


@dataclass
class ContinualMethod(Record):
    """What one method remembers of a sequence of N games.

    Attributes:
        task_aware: what a method has for each game apart: "none", "heads" or "agent".
        returns: (N, N) mean raw returns after game i, in game j; None where there is no number yet.
        scores: the same between 0, the random agent's return, and 1, the reference's.
        average_performance: mean score over games after the last one.
        forgetting: mean loss of score from the end of a game's own training to the end of all.
        forward_transfer: how much faster games were learned than by the reference alone.
        areas: (N,) mean score while each game was learned.
    """

    task_aware: str = "none"
    returns: list[list[float | None]] = field(default_factory=list)
    scores: list[list[float | None]] = field(default_factory=list)
    average_performance: float | None = None
    forgetting: float | None = None
    forward_transfer: float | None = None
    areas: list[float | None] = field(default_factory=list)

    @classmethod
    def read(cls, found: Mapping[str, Any]) -> Self:
        if "per_game" in found:  # of version 0.1
            way = {"nothing": "none"}.get(found["per_game"], found["per_game"])
            found = {k: v for k, v in found.items() if k != "per_game"} | {"task_aware": way}
        return super().read(found)


@dataclass
class ContinualRecord(Record):
    """A sequence of games and what each method remembers of it.

    Attributes:
        games: rom ids in their order.
        steps: agent steps in each game.
        episodes: of each evaluation.
        reference: the method whose score is 1; None for the human tester.
        low: (N,) the random agent's returns, whose score is 0.
        high: (N,) the reference's returns.
        methods: by name.
    """

    games: list[str] = field(default_factory=list)
    steps: int = 0
    episodes: int = 0
    reference: str | None = None
    low: list[float] = field(default_factory=list)
    high: list[float | None] = field(default_factory=list)
    methods: dict[str, ContinualMethod] = field(default_factory=dict)

    @classmethod
    def read(cls, found: Mapping[str, Any]) -> Self:
        record = super().read(found)
        record.methods = {
            name: ContinualMethod.read(method) for name, method in found.get("methods", {}).items()
        }
        square = [len(record.games)] * len(record.games)
        for name, method in record.methods.items():
            if any([*map(len, table)] != square for table in (method.returns, method.scores)):
                raise ValueError(f"the tables of {name} are not of all {len(square)} games")
        return record


@dataclass
class Part(Record):
    """How many weights of a part of an agent learn.

    Attributes:
        learn: numbers that learn.
        frozen: numbers that do not.
    """

    learn: int = 0
    frozen: int = 0


@dataclass
class PluggedIn(Record):
    """What an agent was made of, and whether that learnt which should; see `agents.plugged_in`.

    Attributes:
        encoder: how it is adapted, and its architecture.
        source: where its weights were taken from.
        weights: SHA-256 of model.safetensors as an export of these weights writes it.
        fingerprint: of the encoder, by which results of probes know it.
        parts: encoder, adaptation, projection and heads, as far as there are any.
        heads_read: what of the features heads are given, in words.
        numbers: how many.
        updates: the first ones, that were watched.
        got_gradient: number of tensors that got a gradient in these.
        not_read: names of those that learn, and on which nothing depended in these.
        frozen_unchanged: whether what is frozen stayed as it was, to the bit.
    """

    encoder: str = ""
    source: str = ""
    weights: str = ""
    fingerprint: str = ""
    parts: dict[str, Part] = field(default_factory=dict)
    heads_read: str = ""
    numbers: int = 0
    updates: int = 0
    got_gradient: int = 0
    not_read: list[str] = field(default_factory=list)
    frozen_unchanged: bool | None = None

    @classmethod
    def read(cls, found: Mapping[str, Any]) -> Self:
        record = super().read(found)
        record.parts = {name: Part.read(part) for name, part in found.get("parts", {}).items()}
        return record


@dataclass
class RunRecord(Record):
    """What run.json says of a run.

    Attributes:
        name: of the run, by default its folder's.
        kind: what wrote it: pretrain, agent, probes or continual.
        title: what it does, in a few words for people.
        state: running, done, or failed, where it ended before its last step.
        reason: why it did.
        remarks: what somebody should look at, though it went on.
        step: how far it is.
        steps: how far it goes.
        seconds: of work, over all starts.
        started: when, in ISO 8601.
        updated: when this was written last.
        command: what was typed.
        commit: of the checkout that ran it last (see `fovea.checkout`); None where there is none.
        versions: of the packages that ran it.
        seed: of every draw.
        config: name of the file with the resolved settings; None where there is none.
        data: SHA-256 of each game's recording.
        content: by setting, the SHA-256 of what else lay at a place when the run began.
        batch: samples of a step, over all devices.
        game: rom id of an agent's game.
        evaluation: of an agent.
        continual: of a sequence of games.
        metrics: bytes of metrics.csv that were written, and their SHA-256.
        settings: bytes of config.yaml when the run began, and their SHA-256.
        history: what was asked of the run over time, where that has changed.
        loggers: names of the loggers beside ours.
        init_from: what the first weights were taken from; None for weights of its own.
        plugged_in: what an agent was made of when it began.
    """

    name: str = ""
    kind: str = "unknown"
    title: str = ""
    state: str = "unknown"
    reason: str | None = None
    remarks: list[str] = field(default_factory=list)
    step: int | None = None
    steps: int | None = None
    seconds: float = 0.0
    started: str = ""
    updated: str = ""
    command: str = ""
    commit: str | None = None
    versions: dict[str, str] = field(default_factory=dict)
    seed: int | None = None
    config: str | None = None
    data: dict[str, str] = field(default_factory=dict)
    content: dict[str, dict[str, str]] = field(default_factory=dict)
    batch: int | None = None
    metrics: dict[str, Any] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    game: str | None = None
    evaluation: Evaluation | None = None
    continual: ContinualRecord | None = None
    history: list[Any] = field(default_factory=list)
    loggers: list[str] = field(default_factory=list)
    init_from: str | None = None
    plugged_in: PluggedIn | None = None

    @classmethod
    def read(cls, found: Mapping[str, Any]) -> Self:
        record = super().read(found)
        if (plugged_in := found.get("plugged_in")) is not None:
            record.plugged_in = PluggedIn.read(plugged_in)
        if (evaluation := found.get("evaluation")) is not None:
            record.evaluation = Evaluation.read(evaluation)
        if (continual := found.get("continual")) is not None:
            record.continual = ContinualRecord.read(continual)
        return record
