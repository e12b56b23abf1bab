"""`fovea agents`: fit, evaluate and continual."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from fovea import command
from fovea.command import ACCELERATORS, Command, dispatch, parser, positive
from fovea.configs import show
from fovea.pretrain.training.malloc import keep_freed

ABOUT = """Train agents in Atari games, on pretrained encoders or their own, and evaluate them.

  fovea agents configs                 what -c finds by name
  fovea agents fit -c dqn_frozen --run runs/dqn --model.encoder.encoder runs/mine
  fovea agents evaluate --run runs/dqn --episodes 10 --video
  fovea agents fit -c cal_ql --run runs/offline    from recordings
  fovea agents fit -c dqn_frozen --run runs/dqn --init_from runs/offline
  fovea agents continual -c continual --run runs/sequence

fit writes a run folder: run.json, config.yaml, metrics.csv and checkpoints/. The same command
again resumes; with a larger --data.total_steps the run goes on to that. --init_from starts with the
weights of another run, such as one from recordings.
evaluate adds the evaluation to run.json, and media/evaluation.webm. continual lets several methods
learn one game after the other, evaluates them in all games after each, and shows the forgetting."""

EVALUATE = """Play whole episodes with a trained agent; their returns go to run.json.

The protocol is the one the agent was trained under (sticky actions, no-op starts), always with
whole games, raw rewards, and the agent acting as it does when evaluated.

    fovea agents evaluate --run runs/dqn --episodes 10 --video"""


def run(arguments: list[str]) -> int | None:
    """Run `fovea agents ARGUMENTS`."""
    # Between small steps torch's threads spin, by default for so long that next to another busy
    # process an agent runs at a sixth of its speed. Without spinning it loses a third of its speed
    # on an idle machine; with this number nothing there, and a third next to three busy processes
    # on two cores. It must be set before torch is imported.
    os.environ.setdefault("GOMP_SPINCOUNT", "10000")
    keep_freed()
    return dispatch("fovea agents", ABOUT, COMMANDS, arguments)


def evaluate(arguments: list[str]) -> None:
    asked = parser("fovea agents evaluate", EVALUATE)
    asked.add_argument("--run", required=True, type=Path, help="run folder of the agent")
    asked.add_argument("--episodes", type=positive, help="(as the protocol: 10, atari_100k 100)")
    asked.add_argument("--envs", type=positive, default=4, help="environments at once (4)")
    asked.add_argument(
        "--max-frames",
        type=positive,
        default=108_000,
        help="episodes are cut off after these (108000)",
    )
    asked.add_argument("--seed", type=int, default=1000, help="of games and actions (1000)")
    asked.add_argument(
        "--video", action="store_true", help="film the first episode, with the attention over it"
    )
    asked.add_argument("--seconds", type=positive, default=30, help="of film at most (30)")
    asked.add_argument("--accelerator", choices=ACCELERATORS, default="auto", help="(auto)")
    args = asked.parse_args(arguments)

    from fovea.agents.evaluation import evaluate_run

    evaluate_run(
        args.run,
        episodes=args.episodes,
        envs=args.envs,
        max_frames=args.max_frames,
        seed=args.seed,
        seconds=args.seconds if args.video else 0,
        accelerator=args.accelerator,
    )


def configs(arguments: list[str]) -> None:
    """Run `fovea agents configs`."""
    show("fovea agents configs", "fovea.agents", arguments)


COMMANDS = {
    "fit": Command("fovea.agents.fit:fit", "train an agent in a game"),
    "evaluate": Command(f"{__name__}:evaluate", "play whole episodes with a trained agent"),
    "continual": Command("fovea.agents.continual.run:continual", "learn one game after the other"),
    "configs": Command(f"{__name__}:configs", "list the configs that -c finds by name"),
}

if __name__ == "__main__":
    command.main(lambda: run(sys.argv[1:]))
