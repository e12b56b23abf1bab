"""`fovea agents continual`: methods learn a sequence of games, and how much they forget."""

from __future__ import annotations

import time
from dataclasses import fields
from functools import partial
from pathlib import Path

import yaml
from tqdm import tqdm

from fovea.agents.algorithms.base import Agent
from fovea.agents.continual.evaluation import Scores, joined
from fovea.agents.continual.phase import ended, train, weights
from fovea.agents.continual.sequence import Method, ParsedMethod, TaskSequence
from fovea.agents.continual.tables import NUMBERS, tables
from fovea.agents.task import AtariTask
from fovea.command import UserError
from fovea.files import exclusive, write_text
from fovea.lazy import import_all
from fovea.old_names import OLD, is_old
from fovea.pretrain.training.config_errors import FAULTS, explain
from fovea.pretrain.training.growth import changes, other_content
from fovea.pretrain.training.parser import NamedConfig, SettingsParser, as_typed
from fovea.runs import RunWriter, read_run
from fovea.schema import ContinualRecord, RunRecord

DESCRIPTION = """Let every method of a config learn a sequence of games, one after the other, and
evaluate it in all of them after each. The same command again goes on after a kill, bit for bit, or
says that the run is done. Any setting can be given here: --steps_per_game 10000,
--games '[pong, freeway]'."""


def continual(args: list[str]) -> None:
    """Run the command with these arguments."""
    folder, sequence, resolved = parsed(args)
    record = read_run(folder)
    if record and record.state == "done":
        print(f"{folder}: already done")  # though what it was made of may be gone
    else:
        record = _learn(folder, sequence, resolved)
    if record.continual:
        _print(record.continual)
    print(f"tables: {folder} (next: fovea analysis report {folder} --out {folder}-report)")


def _learn(folder: Path, sequence: TaskSequence, resolved: str) -> RunRecord:
    """Play what is left of a sequence in its run folder; its record."""
    sequence.check()
    with exclusive(folder):
        title = f"{', '.join(sequence.methods)} through {len(sequence.games)} games"
        run = RunWriter(folder, "continual", title)
        if is_old(folder):
            raise UserError(f"{folder} {OLD}")
        content = run.record.content or sequence.contents()
        write_text(folder / "config.yaml", resolved)
        total = len(sequence.methods) * len(sequence.games) * sequence.steps_per_game
        run.begin(config="config.yaml", seed=sequence.seed_everything, steps=total, content=content)
        try:
            _play(run, sequence)
        except BaseException as fault:
            run.update(state="failed", reason=f"{type(fault).__name__}: {fault}".strip(": "))
            raise
        run.update(state="done")
    return run.record


def parsed(args: list[str]) -> tuple[Path, TaskSequence, str]:
    """The run folder, what is played, and the resolved config, of the command's arguments.

    Raises UserError for what cannot be parsed, and where the folder holds a run of other settings,
    or of other content of what they name.
    """
    parser = SettingsParser("fovea agents continual", description=DESCRIPTION, exit_on_error=False)
    import_all("fovea.agents.algorithms")
    import_all("fovea.agents.adaptation")
    parser.add_argument("-c", "--config", action=NamedConfig, room="fovea.agents")
    parser.add_argument("--run", type=str, help="run folder, such as runs/sequence")
    parser.add_class_arguments(TaskSequence, skip={"methods", "agent", "task"})
    parser.add_argument(
        "--methods", type=dict[str, ParsedMethod], required=True, help="what is compared"
    )
    given = {"encoder", "actions", "seed"}, {"game", "total_steps", "seed"}
    parser.add_subclass_arguments(Agent, "agent", skip=given[0], instantiate=False)
    parser.add_class_arguments(AtariTask, "task", skip=given[1], instantiate=False)
    try:
        config = parser.parse_args(as_typed(args))
        if not config.run:
            raise UserError("no run folder: say where to with --run runs/NAME")
        resolved = parser.dump(config)
    except FAULTS as fault:
        if mistake := explain(fault, (TaskSequence, ParsedMethod, Agent, AtariTask)):
            raise mistake from None
        raise
    plain = yaml.safe_load(resolved)
    own = {
        field.name: plain.get(field.name) for field in fields(TaskSequence)
    }  # it leaves out None
    own["methods"] = {name: Method(**method) for name, method in own["methods"].items()}
    folder, sequence = Path(config.run), TaskSequence(**own)
    sequence.check_names()
    places = sequence.places
    changed = changes(folder, resolved, parser, *places)
    held = (read_run(folder) or RunRecord()).content
    other_content(folder, places, changed, held, sequence.contents())
    return folder, sequence, resolved


def _play(run: RunWriter, sequence: TaskSequence) -> None:
    """Every method through every game, as far as the folder does not hold it yet."""
    games, methods = sequence.games, sequence.methods
    legs = [(name, place) for name in methods for place in range(len(games))]
    scores = {name: Scores(run.folder, sequence, name) for name in methods}
    began, learned = time.monotonic(), 0
    for number, (name, place) in enumerate(legs):
        folders = [sequence.folder(run.folder, name, before) for before in range(place + 1)]
        left = (time.monotonic() - began) / max(learned, 1) * (len(legs) - number)
        about = f", about {tqdm.format_interval(left)} left" if learned else ""
        print(
            f"{run.folder.name}: {name} in {games[place]}, game {place + 1} of {len(games)}, "
            f"method {number // len(games) + 1} of {len(methods)}{about}"
        )
        ends = [end for folder in folders if (end := ended(folder))]
        learned += len(ends) == place
        if len(ends) <= place:  # hours may have passed since the last one began
            held = run.record.content
            other_content(run.folder, sequence.places, {}, held, sequence.contents())
        task_aware = methods[name].task_aware
        begin = partial(go_on, task_aware=task_aware, ends=ends[:place])
        # One agent for all games starts with the feature norm of all: by that of the first alone
        # the features of the others would lie far off.
        norm_tasks = list(sequence.tasks.values()) if task_aware == "none" else []
        ends[place:] = [
            train(sequence.settings(name, games[place]), folders[place], begin, norm_tasks)
        ]
        scores[name].play(place, ends)
        run.update(
            step=(number + 1) * sequence.steps_per_game,
            continual=tables(run.folder, sequence, scores),
        )


def go_on(agent: Agent, task_aware: str, ends: list[Path]) -> None:
    """Give a new agent what a method keeps from the games before, which ended with `ends`."""
    if ends and task_aware != "agent":
        before, new = weights(ends[-1]), agent.state_dict()
        agent.load_state_dict(joined(agent, before, new) if task_aware == "heads" else before)


def _print(found: ContinualRecord) -> None:
    """The numbers of each method, and its scores after the last game."""
    reference = found.reference or "the human tester"
    print(f"scores: 0 is the random agent, 1 is {reference}; of each game after the last one")
    for game, low, high in zip(found.games, found.low, found.high, strict=True):
        if high is None and not found.reference:
            print(f"{game} is left out: episodes were cut, and {reference} played whole games")
        if high is not None and high <= low:
            print(
                f"{game} is left out: {reference} scores {high:g}, no more than the random {low:g}"
            )
    rows = [["method", "average", "forgetting", "forward", *found.games]]
    for name, one in found.methods.items():
        numbers = [getattr(one, key) for key in NUMBERS] + one.scores[-1]
        rows.append([name, *("-" if n is None else f"{n:.3f}" for n in numbers)])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)))
