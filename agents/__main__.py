"""`python -m agents`: fit, continual and evaluate."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from atari.command import ACCELERATORS, UserError, main, positive
from pretrain.heap import keep_freed

HELP = """Train agents in Atari games, on pretrained encoders or their own, and evaluate them.

    python -m agents fit -c agents/configs/dqn_frozen.yaml --run runs/dqn
    python -m agents evaluate --run runs/dqn --episodes 10 --video
    python -m agents fit -c agents/configs/cal_ql.yaml --run runs/offline    from recordings
    python -m agents fit -c agents/configs/dqn_frozen.yaml --run runs/dqn --start runs/offline
    python -m agents continual -c agents/configs/continual.yaml --run runs/sequence
    python -m agents fit --help              every setting
    python -m agents evaluate --help

fit writes a run folder: run.json, config.yaml, metrics.csv and checkpoints/. The same command
again resumes; --start begins with the weights of another run, such as one from recordings alone.
evaluate adds the evaluation to run.json, and media/evaluation.webm. continual lets several methods
learn one game after the other, plays all games after each, and writes tables of what they remember.
"""

EVALUATE = """Play whole episodes with a trained agent; their returns go to run.json.

The protocol is the one the agent was trained under (sticky actions, no-op starts), always with
whole games, raw rewards, and the agent acting as it does when evaluated.

    python -m agents evaluate --run runs/dqn --episodes 10 --video"""


def run() -> None:
    name, *arguments = sys.argv[1:] or ["--help"]
    if name in ("-h", "--help"):
        print(HELP, end="")
    elif name in COMMANDS:
        COMMANDS[name](arguments)
    else:
        known = ", ".join(COMMANDS)
        raise UserError(f"unknown command {name!r}: the commands are {known}")


def fit(arguments: list[str]) -> None:
    from agents.fit import fit

    fit(arguments)


def continual(arguments: list[str]) -> None:
    from agents.continual import continual

    continual(arguments)


def evaluate(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(
        "python -m agents evaluate",
        description=EVALUATE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--run", required=True, type=Path, help="run folder of the agent")
    parser.add_argument(
        "--episodes", type=positive, help="(what the protocol plays: 10, atari_100k 100)"
    )
    parser.add_argument("--envs", type=positive, default=4, help="environments at once (4)")
    parser.add_argument(
        "--max-frames", type=positive, default=108_000, help="cut episodes after these (108000)"
    )
    parser.add_argument("--seed", type=int, default=1000, help="of games and actions (1000)")
    parser.add_argument(
        "--video", action="store_true", help="film the first episode, with the attention over it"
    )
    parser.add_argument("--seconds", type=positive, default=30, help="of film at most (30)")
    parser.add_argument("--accelerator", choices=ACCELERATORS, default="auto", help="(auto)")
    args = parser.parse_args(arguments)

    from agents.evaluate import evaluate

    evaluate(
        args.run,
        episodes=args.episodes,
        envs=args.envs,
        max_frames=args.max_frames,
        seed=args.seed,
        seconds=args.seconds if args.video else 0,
        accelerator=args.accelerator,
    )


COMMANDS = {"fit": fit, "continual": continual, "evaluate": evaluate}

if __name__ == "__main__":
    # Between small steps torch's threads spin, by default so long that beside another busy process
    # an agent runs at a sixth of its speed. Not at all costs a third of it on an idle machine; this
    # long costs nothing there, and a third beside three busy processes on two cores.
    # It must be said before torch is imported.
    os.environ.setdefault("GOMP_SPINCOUNT", "10000")
    keep_freed()
    main(run)
