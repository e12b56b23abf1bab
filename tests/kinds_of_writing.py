"""Kinds of commands that write, small; and whether what they have left is whole."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from safetensors.torch import load

from benchmarks.faults.commands import sound_page, sound_run

AGENT = "hidden: 16, batch_size: 8, buffer_size: 200, learning_starts: 64, train_freq: 2"
CONTINUAL = f"""\
seed_everything: 0
games: [pong, breakout]
steps_per_game: 84
episodes: 1
evaluation_envs: 1
reference: null
methods:
  frozen: {{encoder: {{class_path: fovea.agents.Frozen, init_args: {{encoder: ENCODER}}}}}}
agent: {{class_path: fovea.agents.DQN, init_args: {{{AGENT}, features: {{norm_samples: 32}}}}}}
task: {{num_envs: 2, max_frames: 40, full_actions: true}}
trainer: {{log_every_n_steps: 10}}
checkpoint_every: 11
"""
STUDY = """\
kind: encoders
title: Small
games: [pong]
steps: 400
samples: 160
batch: 8
stacks: 200
seeds: [0]
runs:
  vicreg: {config: vicreg, settings: {model.init_args.encoder.patch: 42}}
differences: []
"""

KINDS = {
    "collect": "atari collect breakout --out OUT --steps 600 --shard-steps 100 --workers 1",
    "pretrain fit": "pretrain fit -c vicreg --run OUT --data.recordings [IN/recordings]"
    " --model.init_args.encoder.patch 42 --model.init_args.expander 16 --data.batch_size 8"
    " --trainer.max_steps 4 --checkpoint_every 2",
    "agents fit": "agents fit -c dqn_frozen --run OUT --model.encoder.encoder IN/encoder"
    " --data.num_envs 2 --data.max_frames 40 --data.total_steps 124 --model.hidden 16"
    " --model.batch_size 8 --model.buffer_size 200 --model.learning_starts 64"
    " --model.train_freq 2 --model.features.norm_samples 32 --checkpoint_every 7",
    "record": "agents record --run IN/agent --epsilons 0.5 --out OUT --steps 160"
    " --shard-steps 80 --envs 2 --max-frames 160 --workers 1 --accelerator cpu",
    "continual": "agents continual -c IN/continual.yaml --run OUT",
    "probes run": "probes run --encoder mine=IN/encoder --recordings IN/recordings --run OUT"
    " --samples 200 --probe collapse --probe attention",
    "report": "analysis report IN/runs --out OUT/page",
    "study": "analysis study IN/study.yaml --out OUT --accelerator cpu",
    "card": "hub card OUT/encoder --write",
    "push": "hub push IN/encoder OUT/pushed",
    "pack": "hub pack IN/encoder --out OUT/mine.tar",
    "export npz": "atari export IN/recordings --out OUT",
    "export images": "atari export IN/recordings --out OUT --to images",
    "import": "atari import npz IN/episodes --out OUT --games breakout --shard-steps 200",
}
"""Kinds of writing, by a command that does it: OUT is written to, and IN holds what it takes."""

READ: dict[str, Callable[[Path], object]] = {
    "*.json": lambda path: json.loads(path.read_text()),
    "*.npz": np.load,
    "*.parquet": pq.read_table,
    "*.safetensors": lambda path: load(path.read_bytes()),
    "*.tar": tarfile.open,
}
"""How files of a kind are read, which fails where they are not whole."""


def words(kind: str, given: Path, out: Path) -> list[str]:
    """The command of a kind, with the folders of what it takes and of what it writes."""
    return [word.replace("IN", str(given)).replace("OUT", str(out)) for word in KINDS[kind].split()]


def not_whole(folder: Path) -> list[str]:
    """What lies half-written under a final name, and temporary files that were left."""
    found = [str(path) for path in folder.rglob(".*.tmp")]
    found += filter(None, (sound_page(path.parent) for path in folder.rglob("index.html")))
    found += filter(None, [sound_run(folder)])
    for kind, read in READ.items():
        for path in folder.rglob(kind):
            try:
                read(path)
            except Exception as fault:
                found.append(f"{path}: {fault!r}")
    return found


def said_in_a_line(said: str, lines: int = 1) -> str:
    """The line that says what is wrong; nothing follows it but those that others add to it."""
    assert "Traceback" not in said, said
    errors = [line for line in said.splitlines() if line.startswith("error: ")]
    assert errors == said.splitlines()[-lines:], said
    return errors[0]
