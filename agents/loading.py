"""A trained agent, from its run folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from jsonargparse import ArgumentParser, Namespace
from torch import Tensor

from fovea.agents.algorithms.base import Agent, check_weights
from fovea.agents.task import AtariTask
from fovea.command import UserError
from fovea.files import write_json
from fovea.old_names import is_old, read_config, renamed_checkpoint
from fovea.pretrain.encoders.encoder import Encoder, innermost
from fovea.pretrain.encoders.folder import describe
from fovea.pretrain.encoders.pictures import Pictures
from fovea.pretrain.training.checkpoint import newest, read, verified
from fovea.pretrain.training.config_errors import FAULTS, explain
from fovea.runs import read_run


class LoadedAgent(NamedTuple):
    """An agent as a checkpoint holds it, and the game it was trained in."""

    agent: Agent
    task: AtariTask
    checkpoint: Path
    played: int
    """Agent steps of its training so far."""


ARCHITECTURES = {"encoder": "encoder.json", "second": "second.json"}
"""In a run folder: what its encoder is built from, and the second of `Fused`.

The weights are in the checkpoints."""


def load_agent(run: str | Path, checkpoint: str | Path | None = None) -> LoadedAgent:
    """An agent on the CPU, in eval mode.

    The encoder folder that it was trained on is not needed: checkpoints hold all weights.

    Args:
        run: its run folder, wherever it is.
        checkpoint: one of the run's; by default the newest that verifies.

    Raises UserError where `run` holds no agent or no checkpoint of it.
    """
    run = Path(run)
    checkpoint, state = _read(run, checkpoint)
    agent, task = build(_without_folders(read_config(run), run))
    _give(agent, state["state_dict"])
    return LoadedAgent(agent.eval(), task, checkpoint, state["AtariTask"]["played"])


def keep_architecture(agent: Agent, run: Path) -> None:
    """Keep in a run folder what its encoder is built from without the folder it came from."""
    encoder = agent.extractor.encoder
    parts = {"encoder": innermost(encoder)}
    if isinstance(second := getattr(encoder, "second", None), Encoder):
        parts["second"] = second
    for name, part in parts.items():
        # An encoder of the user's own may be built otherwise, and timm's pictures are.
        if hasattr(part, "architecture") and not isinstance(part, Pictures):
            write_json(run / ARCHITECTURES[name], describe(part, {}))


def build_from_run(init_args: Any, run: Path) -> None:
    """Have encoders built from what the run itself keeps of them, where it keeps it.

    Args:
        init_args: of the adaptation that a config sets; changed in place.
        run: folder of the run.
    """
    for name, file in ARCHITECTURES.items():
        if isinstance(init_args.get(name), str) and (run / file).exists():
            init_args[name] = f"untrained:{run / file}"


def _without_folders(config: dict, run: Path) -> dict:
    """A run's config that asks for no other folder: its encoders are those that the run keeps."""
    config["data"].pop("curriculum_from", None)  # by which it learnt, and does not play
    adapted = config["model"]["init_args"].get("encoder") or {}
    build_from_run(adapted.get("init_args") or {}, run)
    return config


def init_from(agent: Agent, run: Path) -> None:
    """Give `agent` the weights, of encoder and heads, of the agent that was trained in `run`.

    Raises UserError where `run` holds no agent, no checkpoint, or one of other weights.
    """
    _, state = _read(run)
    _give(agent, state["state_dict"])


def _give(agent: Agent, weights: dict[str, Tensor]) -> None:
    check_weights(agent, weights)
    agent.load_state_dict(weights)


def checkpoints_of(run: Path, asked: Sequence[str]) -> list[Path]:
    """The checkpoints of a run that are asked for, each once and verified.

    Args:
        run: run folder.
        asked: any of `newest`, `all`, and numbers such as 20000 for step-000020000.ckpt.

    Raises UserError where `run` holds no agent, and for a checkpoint that is not there or does not
    match its hash.
    """
    _check(run)
    folder = run / "checkpoints"
    found: list[Path] = []
    for name in asked:
        if name == "newest":
            found.append(_newest(run))
        elif name == "all":
            found += sorted(folder.glob("*.ckpt")) or [_newest(run)]
        else:
            try:
                found.append(folder / f"step-{int(name):09d}.ckpt")
            except ValueError:
                raise UserError(
                    f"checkpoint {name!r}: give newest, all, or numbers as they are in the names "
                    f"of {folder}/step-*.ckpt"
                ) from None
    there = [path.name for path in sorted(folder.glob("*.ckpt"))]
    for path in found:
        if path.name not in there:
            raise UserError(f"{run} has no {path.name}: there are {', '.join(there) or 'none'}")
    return [verified(path, "checkpoint") for path in dict.fromkeys(found)]


def _check(run: Path) -> None:
    if (record := read_run(run)) and record.kind in ("pretrain", "probes"):
        raise UserError(
            f"{run} holds a run of kind {record.kind} and no agent: give one of fovea agents fit"
        )
    if not (run / "config.yaml").exists():
        raise UserError(f"{run} holds no agent: train one with fovea agents fit --run {run}")


def _newest(run: Path) -> Path:
    _check(run)
    checkpoint = newest(run / "checkpoints")
    if not checkpoint:
        raise UserError(f"{run} holds no checkpoint yet: train on with fovea agents fit")
    return checkpoint


def _read(run: Path, checkpoint: str | Path | None = None) -> tuple[Path, dict]:
    """A checkpoint, by default the newest of the run that verifies, and what it holds."""
    checkpoint = Path(checkpoint) if checkpoint else _newest(run)
    state = read(checkpoint)
    return checkpoint, renamed_checkpoint(state) if is_old(run) else state


def build(config: dict) -> tuple[Agent, AtariTask]:
    """The untrained agent and the game of a resolved config.

    Raises UserError for what the config names and is not there, such as an encoder folder.
    """
    task = build_task(config["data"])
    return build_agent(config["model"], task.action_count), task


def build_task(data: dict) -> AtariTask:
    """The game of a resolved config's `data`."""
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(AtariTask, "data")
    return _built(parser, {"data": data}).data


def build_agent(model: dict, actions: int) -> Agent:
    """The untrained agent of a resolved config's `model`, for so many actions."""
    parser = ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(Agent, "model")
    settings = model["init_args"] | {"actions": actions}
    return _built(parser, {"model": model | {"init_args": settings}}).model


def _built(parser: ArgumentParser, config: dict) -> Namespace:
    try:
        return parser.instantiate(parser.parse_object(config))
    except FAULTS as fault:
        if mistake := explain(fault, (Agent, AtariTask)):
            raise mistake from None
        raise
