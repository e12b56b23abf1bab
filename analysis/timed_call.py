"""One call of a study that has so many minutes: what it does with them, and what it leaves out."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from fovea.analysis.study_done import contents, has_ended, is_done, keep_contents, typed
from fovea.analysis.study_kinds import Command
from fovea.analysis.timed_study import (
    LEAST_STEPS,
    SHARD_STEPS,
    Plan,
    TimedStudy,
    all_steps,
    first_steps,
)
from fovea.analysis.timed_tables import EXPORT, probed, write_tables
from fovea.command import UserError, terminable
from fovea.files import exclusive
from fovea.runs import read_run

LAST = 3.0
"""Seconds that are kept for packing the last encoder and writing the tables."""
COMPILE_FROM = 300
"""What is compiled is measured in calls of at least so many seconds: to compile takes a minute."""
SPEED_SHARE = 0.15
"""Of a call's seconds, after which a measurement that planning does not need is ended."""


@dataclass
class Call:
    """A call of a study, with its deadline.

    Attributes:
        study: what is asked for.
        out: folder of the study.
        names: of its runs.
        seed: of its runs.
        accelerator: where it runs.
        seconds: that it may take.
        plan: what is known and decided.
        notes: sentences on what was left out.
        failed: whether a command failed.
    """

    study: TimedStudy
    out: Path
    names: list[str]
    seed: int
    accelerator: str
    seconds: float
    plan: Plan
    notes: list[str] = field(default_factory=list)
    failed: bool = False
    begin: float = field(default_factory=time.monotonic)

    @property
    def left(self) -> float:
        """Seconds until the deadline, less what the last tables take."""
        return self.begin + self.seconds - LAST - time.monotonic()

    def folder(self, name: str) -> Path:
        return self.out / f"seed-{self.seed}" / name

    def trained(self, name: str) -> bool:
        """Whether a run has ended well."""
        record = read_run(self.folder(name))
        return record is not None and record.state == "done"

    def do(
        self, what: str, command: Command, seconds: float | None = None, needed: bool = True
    ) -> float | None:
        """Run a command unless it is done; end it after so many seconds, or at the deadline.

        Returns the seconds that it took, or None where it did not end well: then a note says so,
        and where it is `needed` and failed, so does the call in the end.
        """
        words = typed(command)
        if is_done(words):
            print(f"already done: {what}", flush=True)
            return 0.0
        most = self.left if seconds is None else seconds
        if most <= 0:
            self.leave_out(what, "no time remains")
            return None
        print(f"== {what}: {self.left:.0f} s remain", flush=True)
        begin, found = time.monotonic(), contents(words)
        try:
            done = subprocess.run([sys.executable, "-m", *words], check=False, timeout=most)
        except subprocess.TimeoutExpired:  # it is killed by now, and all it kept is whole
            self.leave_out(what, f"it had not ended after {most:.0f} s")
            return None
        # Probes end with 1 where they left something out: what they measured is whole.
        if done.returncode and not (done.returncode == 1 and has_ended(words)):
            self.failed |= needed
            self.leave_out(
                what, f"`{shlex.join(words[:3])}` ended with {done.returncode}, see what it said"
            )
            return None
        keep_contents(words, found)
        return time.monotonic() - begin

    def leave_out(self, what: str, why: str) -> None:
        self.notes.append(f"{what}: left out, {why}.")
        print(f"{what}: left out, {why}", flush=True)

    def keep(self) -> None:
        """Write the plan and all tables as things stand."""
        self.plan.save(self.out)
        write_tables(self.study, self.out, self.names, self.seed, self.plan, self.notes)


def run(
    study: TimedStudy,
    out: Path,
    names: list[str],
    seed: int,
    accelerator: str,
    minutes: float,
    recordings: list[Path],
) -> None:
    """Collect, measure, pretrain and probe within `minutes`, and leave OUT/export behind.

    Every part that would not end in time is left out with a sentence in study.md. The same command
    again goes on, with the lengths that were chosen.

    Raises UserError, once all tables are written, where a command failed.
    """
    with exclusive(out), terminable():
        call = Call(study, out, names, seed, accelerator, 60 * minutes, Plan.load(out))
        folders = recordings or [Path(one) for one in study.recordings] or collect(call)
        if folders:
            shared = study.shared(folders, accelerator)
            measure(call, shared)
            pretrain(call, shared)
            probe(call, folders)
        call.keep()
    print(f"table: {out / EXPORT / 'study.md'}", flush=True)
    if call.failed:
        raise UserError(
            f"not all went well: {' '.join(call.notes)} Mend that and run the same command again"
        )


def collect(call: Call) -> list[Path]:
    """Record the games on all cores: a first round, and as much more as its share of time gives."""
    study, folder = call.study, call.out / "recordings"
    budget, begin = min(call.left, study.collect_share * call.seconds), time.monotonic()

    def record(steps: int) -> float | None:
        command = ["atari", "collect", *study.games, "--out", folder, "--steps", steps,
                   "--shard-steps", SHARD_STEPS]  # fmt: skip
        left = budget - (time.monotonic() - begin)
        return call.do(f"collect {steps:,} steps a game", command, left)

    if not call.plan.collected:
        steps = first_steps(len(os.sched_getaffinity(0)), len(study.games), study.steps)
        took = record(steps)
        if took is None:
            call.leave_out("everything else", "there are no recordings: give more --minutes")
            return []
        more = all_steps(steps, took, budget, study.steps)
        # What a longer round has not finished when its time is over does not count.
        call.plan.collected = more if more > steps and record(more) is not None else steps
        call.plan.save(call.out)
    return [folder]


def measure(call: Call, shared: dict[str, object]) -> None:
    """Find out how fast every run is and how long it takes to start; and other speeds, once."""
    study, plan, first = call.study, call.plan, call.names[0]

    def speed(of: str, how: str, command: Command, needed: bool = True) -> dict | None:
        """What a command measured, and how long it took as "took"; None where it did not end."""
        file = call.out / "speed.json"
        most = call.left if needed else min(call.left, SPEED_SHARE * call.seconds)
        took = call.do(f"speed of {of}{how}", [*command, "--out", file], most, needed)
        if took is None:
            return None
        found = json.loads(file.read_text()) | {"took": took}
        for unit in ("samples", "updates"):
            rates = found.get(f"{unit}_per_second", {})
            plan.speeds += [[of, f"{way}{how}", rate, f"{unit}/s"] for way, rate in rates.items()]
        plan.save(call.out)
        return found

    for name in call.names:
        if name not in plan.rates:
            bare = ["--bare", "true"] if name == first else []
            found = speed(name, "", [*study.speed(name, call.seed, shared), *bare])
            if found:
                plan.rates[name] = found["samples_per_second"]["fit"]
                plan.starts[name] = found["took"] - found["measured"]
    if call.seconds >= COMPILE_FROM and not plan.knows(first, "fit, compiled"):
        compiled = shared | {"model.init_args.compiled": True, "trainer.limit_val_batches": 0}
        command = [*study.speed(first, call.seed, compiled), "--bare", "true"]
        speed(first, ", compiled", command, needed=False)
    agents = f"DQN on {study.agent_encoder}"
    if study.agent_encoder and not plan.knows(agents, "frozen"):
        command = ["agents", "speed", "--encoder", study.agent_encoder, "--seconds",
                   study.measure_seconds, "--accelerator", call.accelerator]  # fmt: skip
        speed(agents, "", command, needed=False)
    call.keep()


def pretrain(call: Call, shared: dict[str, object]) -> None:
    """Pretrain every run for as many steps as were planned, those that fit into what remains."""
    study, plan = call.study, call.plan
    todo = [name for name in call.names if not call.trained(name)]
    plan.choose_steps(todo, call.left - study.probe_seconds, study.batch)
    call.keep()
    for name in call.names:
        steps, folder = plan.steps.get(name), call.folder(name)
        if steps is None:
            call.leave_out(f"pretraining {name}", "its speed is not known")
            continue
        if steps < LEAST_STEPS:
            call.leave_out(f"pretraining {name}", f"there is time for {steps} steps alone")
            del plan.steps[name]  # the next call may have more
            continue
        command = study.pretrain(name, call.seed, folder, steps, shared)
        record = read_run(folder)
        need = plan.seconds(name, study.batch, (record and record.step) or 0)
        if name in todo and need > call.left:
            call.leave_out(f"pretraining {name}", f"it takes {need:.0f} s, {call.left:.0f} remain")
            continue
        if call.do(f"pretrain {name} for {steps:,} steps", command) is not None:
            tar = call.out / EXPORT / f"{name}.tar"
            call.do(f"pack {name}", ["hub", "pack", folder, "--out", tar], call.left + LAST)
        call.keep()


def probe(call: Call, recordings: list[Path]) -> None:
    """Probe all encoders that there are, where there is time."""
    study, folder = call.study, call.folder("probes")
    there = [name for name in call.names if (call.folder(name) / "encoder").is_dir()]
    if not there or probed(call.out, call.seed) >= set(there):
        return
    if call.left < study.probe_seconds:
        need, left = study.probe_seconds, call.left
        call.leave_out("the probes", f"they take {need:.0f} s, {left:.0f} remain")
        return
    encoders = [part for name in there for part in ("--encoder", f"{name}={call.folder(name)}")]
    call.do("probe", ["probes", "run", *encoders, "--recordings", *recordings, "--run", folder,
                      "--probe", "state", "--probe", "collapse", "--samples", study.stacks,
                      "--seed", call.seed, "--accelerator", call.accelerator])  # fmt: skip
