"""The commands of the pages run, in the order of each page, with smaller numbers.

Those of the README, the quickstart, the tutorials, `docs/extending.md` and `docs/recordings.md` are
run as a whole by tests of their own. Here are the pages that take something for granted: what
another page made is put where they look for it.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from pathlib import Path

import pytest
from test_pages import STANDS_FOR, of_fovea

from pages import ROOT, run_commands, smaller

RECORDINGS, ENCODER, AGENT = "recordings", "encoder", "agent"
TAKEN = {
    "agents": {
        "runs/objectives/recordings": RECORDINGS,
        "runs/objectives/seed-0/recipe": ENCODER,
        "runs/objectives/seed-0/vicreg": ENCODER,
        "runs/objectives/seed-0/initial": ENCODER,
        "runs/tiers/seed-100/pong/agent": AGENT,
        "runs/quickstart/recordings": RECORDINGS,
        "runs/quickstart/tov_vicreg": ENCODER,
        "runs/dqn": AGENT,
    },
    "clients": {"runs/mine": ENCODER, "recordings": RECORDINGS},
    "family": {
        "runs/tiers/recordings": RECORDINGS,
        "runs/quickstart/recordings": RECORDINGS,
        "runs/d5rl/strong": RECORDINGS,
        "runs/dqn": AGENT,
    },
    "objectives": {"runs/objectives/recordings": RECORDINGS},
    "probes": {
        "runs/a": ENCODER,
        "runs/b": ENCODER,
        "runs/frozen": AGENT,
        "runs/tuned": AGENT,
        "runs/cnn": AGENT,
    },
    "report": {
        "runs/quickstart/recordings": RECORDINGS,
        "runs/quickstart/recipe": ENCODER,
        "runs/recordings": RECORDINGS,
        "runs/recipe": ENCODER,
        "runs/dqn": AGENT,
    },
    "scale": {"runs/quickstart/recordings": RECORDINGS},
}
"""What each page finds there, as of what was made before it is read."""

ELSEWHERE = re.compile(
    r"://"  # a server of somebody else
    r"|hf-hub:|timm:|dqn-replay"  # the same
    r"|--ray|devices|/shared|--workers 64"  # tests/test_ray.py, tests/pretrain/test_ranks.py
    r"|analysis serve"  # tests/analysis/test_serve.py; it does not end
    r"|hub adopt"  # tests/pretrain/test_clients.py: of a folder that timm wrote
    r"|choose-tasks docs"  # tests/analysis/test_choose_tasks.py: of results that are due
    r"|SETTINGS|NAME="
)
SMALLER = {
    "--steps": "1500",
    "--trainer.max_steps": "2",
    "--data.batch_size": "8",
    "--samples": "300",
    "--episodes": "1",
    "--max-frames": "400",
    "--data.total_steps": "240",
    "--model.learning_starts": "200",
    "--model.critic_warmup": "16",
    "--checkpoint_every": "100",
    "--shard-steps": "500",
}
NORM = ("--model.features.norm_samples", "64")
DQN = (*NORM, "--model.learning_starts", "200", "--data.total_steps", "240")
PPO = ("--model.num_steps", "16", "--data.total_steps", "128")
CONTINUAL = ("--steps_per_game", "128", "--episodes", "1", "--evaluation_envs", "1",
             "--agent.num_steps", "16", "--agent.features.norm_samples", "64",
             "--task.max_frames", "400")  # fmt: skip
ALSO = {
    "atari collect": ("--shard-steps", "300"),
    "pretrain fit": ("--data.batch_size", "8", "--data.held_out", "16", "--trainer.max_steps", "2"),
    "agents record": ("--steps", "800", "--shard-steps", "400"),
    "agents evaluate": ("--episodes", "1", "--max-frames", "400"),
    "agents distil": ("--model.learning_starts", "200", "--data.total_steps", "240"),
    "agents continual": CONTINUAL,
    "-c dqn_frozen": DQN,
    "-c dqn_fused": DQN,
    "-c frozen_100k": (*NORM, "--model.learning_starts", "200", "--data.total_steps", "204"),
    "-c ppo_frozen": (*NORM, *PPO),
    "-c ppo_lora": (*NORM, *PPO),
    "-c ppo_roma": (*NORM, *PPO),
    "-c ppo_nature": PPO,
    "-c cal_ql": (*NORM, "--data.total_steps", "128"),
    "-c cloned": (*NORM, "--data.total_steps", "512"),
    "-c one_step_fb --run runs/fb --": (*NORM, "--data.total_steps", "512"),
    "-c dpt": (*NORM, "--data.total_steps", "3264"),
    "analysis study": ("--show",),  # tests/analysis/test_*studies.py run every study small
}


def shortened(words: Sequence[str]) -> list[str]:
    """A command with few samples, steps and frames."""
    words = [STANDS_FOR.get(word, word) for word in words]
    typed = shlex.join(words)
    more = [word for part, also in ALSO.items() if part in typed for word in also]
    return ["fovea", *smaller(words, SMALLER), *more]


def runnable(page: Path) -> list[list[str]]:
    """The commands that a page shows, but for those that are run elsewhere."""
    shown = of_fovea(page, mentioned=False)
    return [words for words in shown if not ELSEWHERE.search(shlex.join(words))]


@pytest.fixture(scope="session")
def stock(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with small recordings, an encoder and an agent."""
    folder = tmp_path_factory.mktemp("stock")
    commands = (
        "atari collect pong breakout freeway --out recordings --steps 2000",
        "pretrain fit -c vicreg --run encoder --data.recordings [recordings]",
        "agents fit -c dqn_frozen --run agent --model.encoder.encoder encoder",
    )
    run_commands(folder, [shortened(command.split()) for command in commands])
    return folder


@pytest.mark.evidence
@pytest.mark.slow
@pytest.mark.timeout(1800)  # a minute or two each, where nothing else runs
@pytest.mark.parametrize("name", TAKEN)
def test_the_commands_of_a_page_run_in_their_order(name: str, stock: Path, tmp_path: Path) -> None:
    for place, kind in TAKEN[name].items():
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / place).symlink_to(stock / kind)
    commands = runnable(ROOT / "docs" / f"{name}.md")
    assert len(commands) >= 3
    run_commands(tmp_path, [shortened(words) for words in commands])
