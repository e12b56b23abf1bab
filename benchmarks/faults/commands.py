"""Small commands that faults happen to, run in forks of a process that has imported everything."""

from __future__ import annotations

import hashlib
import json
import os
import re
import resource
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.faults.trials import once
from fovea.files import write_text
from fovea.metrics import read_metrics

SMALL_ENCODER = ("--model.init_args.encoder.patch", 42, "--model.init_args.expander", 16)
SMALL_AGENT = (
    *("--data.num_envs", 2, "--data.max_frames", 60, "--model.init_args.hidden", 16),
    *("--model.init_args.features.norm_samples", 32, "--keep_replay", "true"),
)


@dataclass(frozen=True)
class Command:
    """A command that leaves something behind.

    Attributes:
        words: what is typed, with {out} for the folder of what all trials share, and {run} for its
            own folder.
        left: a digest of what it leaves in its own folder: equal where two runs ended alike.
        sound: what is not whole of what a kill has left under its final name; empty for nothing.
        needs: names of commands whose results it takes.
    """

    words: tuple[object, ...]
    left: Callable[[Path], str]
    sound: Callable[[Path], str] = lambda run: ""
    needs: tuple[str, ...] = ()

    def typed(self, out: Path, run: Path) -> list[str]:
        return [str(word).format(out=out, run=run) for word in self.words]


def reference(out: Path, name: str) -> tuple[Path, float]:
    """Where a command that nothing happened to has left its results, and the seconds it took."""
    command, run = COMMANDS[name], out / "whole" / name
    for config, text in CONFIGS.items():
        if not (out / config).exists():
            write_text(out / config, text.replace("OUT", str(out)))
    for needed in command.needs:
        reference(out, needed)
    with once(run) as due:
        if due:
            shutil.rmtree(run, ignore_errors=True)
            began = time.monotonic()
            code = ended(forked(command.typed(out, run), out / "whole" / f"{name}.log"))
            if code:
                raise RuntimeError(f"{name} ended with {code}: see {out}/whole/{name}.log")
            (out / "whole" / f"{name}.seconds").write_text(f"{time.monotonic() - began}")
    return run, float((out / "whole" / f"{name}.seconds").read_text())


def forked(words: list[str], log: Path, largest: int | None = None) -> int:
    """Begin `fovea WORDS` in a fork; its process id.

    Args:
        words: what is typed.
        log: what it prints goes there.
        largest: bytes of a file, above which writing fails as on a full disk; None: any.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    sys.stdout.flush()
    sys.stderr.flush()
    process = os.fork()
    if process:
        return process
    code = 1
    try:
        into = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        os.dup2(into, 1)
        os.dup2(into, 2)
        if largest is not None:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (largest, largest))
        signal.signal(signal.SIGINT, signal.default_int_handler)
        sys.argv = ["fovea", *words]
        from fovea.__main__ import run
        from fovea.command import main

        main(lambda: run(words))
    except SystemExit as over:
        code = over.code if isinstance(over.code, int) else 1
    except BaseException:
        traceback.print_exc()
    finally:
        with suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def ended(process: int) -> int:
    """The exit code of a process once it has ended; negative for a signal."""
    _, status = os.waitpid(process, 0)
    return os.waitstatus_to_exitcode(status)


def ends_within(process: int, seconds: float) -> int | None:
    """The exit code of a process that ends in this time, else None."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        found, status = os.waitpid(process, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.01)
    return None


def moment(name: str, number: int, seconds: float) -> float:
    """Some seconds into a command that takes so many, another for each trial."""
    seed = int.from_bytes(hashlib.sha256(f"{name} {number}".encode()).digest()[:8], "big")
    return float(np.random.default_rng(seed).uniform(0.02, 0.98)) * seconds


# What commands leave


def of_recordings(run: Path) -> str:
    return _digest(*(path.read_bytes() for path in _files(run, "*.parquet", "_dataset.json")))


def of_encoder(run: Path) -> str:
    return _digest((run / "encoder" / "model.safetensors").read_bytes(), *_metrics(run))


def of_agent(run: Path) -> str:
    from fovea.pretrain.training.checkpoint import newest, read

    path = newest(run / "checkpoints")
    if path is None:
        return "no checkpoint"
    state = read(path)
    kept = {name: state[name] for name in ("state_dict", "optimizer_states", "AtariTask")}
    return _digest(*_leaves(kept), *_metrics(run))


def of_sequence(run: Path) -> str:
    from fovea.pretrain.training.checkpoint import read

    ends = [_digest(*_leaves(read(path)["state_dict"])) for path in _files(run, "*.end.ckpt")]
    record = json.loads((run / "run.json").read_text())
    return _digest(*map(str.encode, ends), json.dumps(record["continual"]).encode())


def of_probes(run: Path) -> str:
    return _digest(*(path.read_bytes() for path in _files(run / "probes", "*.json")))


def of_study(run: Path) -> str:
    lines = (run / "scores.csv").read_text().splitlines()
    return _digest(*(line.encode() for line in sorted(lines) if "per_second" not in line))


def of_page(run: Path) -> str:
    """Of a page, which says in its footer at which minute it was made."""
    paths = [path for path in _files(run, "*") if path.is_file()]
    made = re.compile(rb"Made by Fovea on [\d: -]+")
    return _digest(*(made.sub(b"", path.read_bytes()) for path in paths))


def _files(folder: Path, *patterns: str) -> list[Path]:
    return sorted(path for pattern in patterns for path in folder.rglob(pattern))


def _metrics(run: Path) -> Iterator[bytes]:
    """The curves of metrics.csv as readers take them, without what depends on the machine."""
    for name, curve in sorted(read_metrics(run / "metrics.csv").items()):
        if not name.endswith("_per_second"):
            yield from (name.encode(), curve.steps.tobytes(), curve.values.tobytes())


def _leaves(value: object) -> Iterator[bytes]:
    if isinstance(value, dict):
        for key in value:
            yield str(key).encode()
            yield from _leaves(value[key])
    elif isinstance(value, list | tuple):
        for one in value:
            yield from _leaves(one)
    elif hasattr(value, "numpy"):
        yield value.detach().contiguous().view(-1).numpy().tobytes()
    else:
        yield repr(value).encode()


def _digest(*parts: bytes) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8, "big") + part)
    return digest.hexdigest()


# What a kill may leave


def sound_recordings(run: Path) -> str:
    from fovea.atari.parquet import Damaged, check_rows, read_shard

    for path in _files(run, "shard-*.parquet"):
        try:
            check_rows(read_shard(path))
        except Damaged as fault:
            return f"{path.name} under its final name: {fault}"
    return ""


def sound_run(run: Path) -> str:
    """Every checkpoint that has a hash matches it, and run.json and metrics.csv are as written."""
    from fovea.files import sha256
    from fovea.runs import parse_record

    for sums in _files(run, "*.ckpt.sha256"):
        path = sums.with_suffix("")
        if path.exists() and sums.read_text().split()[0] != sha256(path):
            return f"{path.name} does not match its hash"
    for path in _files(run, "run.json"):
        if problem := parse_record(path.read_text())[1]:
            return problem
    return ""


def sound_page(run: Path) -> str:
    """A page is there whole or not at all."""
    if run.exists() and not (run / "index.html").read_text().rstrip().endswith("</html>"):
        return "the page ends in the middle"
    return ""


VICREG = (
    *("pretrain", "fit", "-c", "vicreg", "--run", "{run}", *SMALL_ENCODER),
    *("--data.recordings", "[{out}/whole/collect]", "--data.batch_size", 8),
    *("--trainer.max_steps", 40, "--checkpoint_every", 4),
)
ENCODER = ("--model.init_args.encoder.init_args.encoder", "{out}/whole/pretrain")
DQN = (
    *("agents", "fit", "-c", "dqn", "--run", "{run}", *ENCODER, *SMALL_AGENT),
    *("--model.init_args.batch_size", 8, "--model.init_args.buffer_size", 400),
    *("--model.init_args.learning_starts", 64, "--model.init_args.train_freq", 2),
    *("--data.total_steps", 300, "--checkpoint_every", 13),
)
PPO = (
    *("agents", "fit", "-c", "ppo_frozen", "--run", "{run}", *ENCODER, *SMALL_AGENT),
    *("--model.init_args.num_steps", 16, "--data.total_steps", 384, "--checkpoint_every", 4),
)
COMMANDS = {
    "collect": Command(
        ("atari", "collect", "breakout", "pong", "--out", "{run}", "--steps", 1200,
         "--shard-steps", 300, "--workers", 1),
        of_recordings, sound_recordings,
    ),
    "pretrain": Command(VICREG, of_encoder, sound_run, ("collect",)),
    "pretrain accumulating": Command(
        (*VICREG, "--trainer.accumulate_grad_batches", 2, "--trainer.max_steps", 20),
        of_encoder, sound_run, ("collect",),
    ),
    "pretrain in turns": Command(
        (*VICREG, "--data.memory", 0.02), of_encoder, sound_run, ("collect",)
    ),
    "dqn": Command(DQN, of_agent, sound_run, ("pretrain",)),
    "ppo": Command(PPO, of_agent, sound_run, ("pretrain",)),
    "record": Command(
        ("agents", "record", "--run", "{out}/whole/dqn", "--epsilons", 0.5, "--out", "{run}",
         "--steps", 800, "--shard-steps", 200, "--envs", 2, "--max-frames", 400,
         "--workers", 1),
        of_recordings, sound_recordings, ("dqn",),
    ),
    "continual": Command(
        ("agents", "continual", "-c", "{out}/continual.yaml", "--run", "{run}"),
        of_sequence, sound_run, ("pretrain",),
    ),
    "probes": Command(
        ("probes", "run", "--encoder", "mine={out}/whole/pretrain", "--recordings",
         "{out}/whole/collect", "--run", "{run}", "--samples", 300, "--probe", "collapse",
         "--probe", "sparsity", "--probe", "action", "--probe", "attention"),
        of_probes, sound_run, ("pretrain",),
    ),
    "report": Command(
        ("analysis", "report", "{out}/whole/pretrain", "{out}/whole/probes", "--out", "{run}"),
        of_page, sound_page, ("pretrain", "probes"),
    ),
    "study": Command(
        ("analysis", "study", "{out}/study.yaml", "--out", "{run}"), of_study, sound_run
    ),
}  # fmt: skip
"""By name; what each takes of others is made once, whole."""

CONFIGS = {
    "continual.yaml": """\
seed_everything: 0
games: [pong, breakout]
steps_per_game: 120
episodes: 2
evaluation_envs: 2
reference: null
methods:
  lora:
    encoder: {class_path: fovea.agents.LoRA, init_args: {encoder: OUT/whole/pretrain}}
agent:
  class_path: fovea.agents.DQN
  init_args:
    features: {kind: cls_and_mean, norm: standard, norm_samples: 32}
    hidden: 16
    batch_size: 8
    buffer_size: 400
    learning_starts: 64
    train_freq: 2
task: {num_envs: 2, full_actions: true, max_frames: 60}
trainer: {log_every_n_steps: 10}
checkpoint_every: 11
""",
    "study.yaml": """\
kind: encoders
title: Small
games: [pong]
steps: 1000
samples: 160
batch: 8
stacks: 200
seeds: [0]
runs:
  vicreg:
    config: vicreg
    settings:
      model.init_args.encoder.patch: 42
      model.init_args.expander: 16
      checkpoint_every: 7
differences: []
""",
}
"""Files that commands name."""
