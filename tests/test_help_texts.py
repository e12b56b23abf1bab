"""Every setting that a config can have says what it is."""

from __future__ import annotations

import inspect
from collections.abc import Iterator

import pytest
from jsonargparse import ArgumentParser

from fovea.agents.adaptation.base import Adapted
from fovea.agents.algorithms.base import Agent
from fovea.agents.fit import AgentCLI
from fovea.lazy import import_all
from fovea.pretrain.objectives.base import Objective
from fovea.pretrain.training.fit import PretrainCLI

FAMILIES = {
    Objective: "pretrain.objectives",
    Agent: "agents.algorithms",
    Adapted: "agents.adaptation",
}
ROOMS = {"pretrain": PretrainCLI, "agents": AgentCLI}


class Parsed(Exception):
    """The parser of a command, before it has parsed anything."""


def own_settings(room: str) -> Iterator[tuple[str, str]]:
    """(name, help) of what `fit` takes beside the settings of a model."""
    kind = ROOMS[room]

    class Stopped(kind):
        def parse_arguments(self, parser, args):
            raise Parsed(parser)

    with pytest.raises(Parsed) as reached:
        Stopped([])
    for action in reached.value.args[0]._actions:
        # A group stands for the settings in it.
        if action.dest not in ("trainer", "data") and "." not in action.dest.partition(".")[2]:
            yield action.dest, action.help


def family(kind: type) -> Iterator[type]:
    for child in kind.__subclasses__():
        yield child
        yield from family(child)


def settings(kind: type) -> Iterator[tuple[str, str]]:
    """(Class.setting, help) of what a class can be given in a config, dataclasses included."""
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(kind, "it", fail_untyped=False)
    groups = {action.dest.rpartition(".")[0] for action in parser._actions}
    for action in parser._actions:
        name = action.dest.removeprefix("it.")
        if (
            action.dest.startswith("it.")
            and not name.endswith("help")
            and action.dest not in groups
        ):
            yield f"{kind.__name__}.{name}", action.help


@pytest.mark.parametrize("room", ROOMS)
def test_every_setting_of_a_command_has_a_help_text(room: str) -> None:
    found = dict(own_settings(room))
    assert {"run", "checkpoint_every", "init_from", "trainer.max_steps", "seed_everything"} <= {
        *found
    }
    without = sorted(name for name, text in found.items() if not text)
    assert not without, f"{len(without)} of {len(found)} settings have no help: {without}"


@pytest.mark.slow
@pytest.mark.parametrize("base", FAMILIES, ids=lambda kind: kind.__name__)
def test_every_setting_of_a_class_has_a_help_text(base: type) -> None:
    import_all(f"fovea.{FAMILIES[base]}")
    kinds = [
        kind
        for kind in family(base)
        if kind.__module__.startswith("fovea.") and not inspect.isabstract(kind)
    ]
    found = dict(setting for kind in kinds for setting in settings(kind))
    assert len(found) > 20
    without = sorted(name for name, text in found.items() if not text)
    assert not without, f"{len(without)} of {len(found)} settings have no help: {without}"
