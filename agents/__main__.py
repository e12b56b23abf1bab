"""`fovea agents`: fit, evaluate, record and continual."""

from __future__ import annotations

import sys
from pathlib import Path

from fovea import command
from fovea.command import (
    ACCELERATORS,
    Command,
    dispatch,
    natural,
    parser,
    positive,
    probability,
)
from fovea.configs import show
from fovea.pretrain.training.malloc import keep_freed

ABOUT = """Train agents in Atari games, on pretrained encoders or their own, and evaluate them.

  fovea agents configs                 what -c finds by name
  fovea agents fit -c dqn_frozen --run runs/dqn --model.encoder.encoder runs/mine
  fovea agents evaluate --run runs/dqn --episodes 10 --video
  fovea agents fit -c cal_ql --run runs/offline    from recordings
  fovea agents fit -c dqn_frozen --run runs/dqn --init_from runs/offline
  fovea agents distil --teacher runs/dqn --run runs/small
  fovea agents record --run runs/dqn runs/ppo --epsilons 0.02 0.1 0.3 --out runs/by_agents
  fovea agents continual -c continual --run runs/sequence

fit writes a run folder: run.json, config.yaml, metrics.csv and checkpoints/. The same command
again resumes; with a larger --data.total_steps the run goes on to that. --init_from starts with the
weights of another run, such as one from recordings.
evaluate adds the evaluation to run.json, and media/evaluation.webm. record lets agents play, and
writes recordings like those of fovea atari collect. continual lets several methods learn one game
after the other, evaluates them in all games after each, and shows the forgetting."""

EVALUATE = """Play whole episodes with a trained agent; their returns go to run.json.

The protocol is the one the agent was trained under (sticky actions, no-op starts), always with
whole games, raw rewards, and the agent acting as it does when evaluated.

    fovea agents evaluate --run runs/dqn --episodes 10 --video
    fovea agents evaluate --run runs/dqn --episodes 10 --video --why
    fovea agents evaluate --run runs/dqn --episodes 10 --disturb all
    fovea agents evaluate --run runs/dqn --episodes 10 --disturb sticky:0.5 blank:0.25 noise:2

--disturb plays the same episodes once more under each disturbance, NAME:NUMBER, and says how far
the return falls. Sensors fail: patches:9 (of 36 squares of 14 pixels), frame:1 (the newest of the
stack), blank:0.25 (chance of a black screen). Screens look otherwise: blur, brightness, cut_out,
noise, quantise, downscale (:1 or :2, the stronger), render:1 (other grey levels in every episode),
augmented:1. The dynamics change: sticky:0.5, frame_skip:2, mode:1, difficulty:1, permuted:1 (the
buttons, otherwise in every episode). `all` is all of these but augmented and permuted, with
frame_skip:6 too and mode and difficulty where the game has others."""

RECORD = """Let trained agents play, weak to strong, and record every step as fovea atari collect
does: what reads its recordings reads these, and mixes of both.

There is a policy for each run, checkpoint and epsilon. It acts as its agent does in an evaluation
(DQN greedily, PPO sampled), but with chance epsilon takes a random action, under the protocol that
the agent was trained under, and always plays whole games.

--steps are those of all policies of a game together, at least. They are recorded in shards, each of
which is divided evenly among the policies: each plays whole episodes, in --envs emulators at once,
until it has its share, so that long episodes make it more than that. More --shard-steps come nearer
to even shares, and more --envs are faster, most of all on a GPU.

If the command is killed, run it again: only shards that were not complete are lost. What is
recorded depends on the agents, --seed, --envs, --shard-steps, --max-frames and --accelerator, never
on --workers.

    fovea agents record --run runs/dqn --epsilons 0.02 0.1 0.3 --out runs/by_agents --steps 40000
    fovea agents record --run runs/weak runs/strong --checkpoints all --out runs/by_agents
    fovea atari stats runs/by_agents            episodes, returns and actions of each policy"""


def run(arguments: list[str]) -> int | None:
    """Run `fovea agents ARGUMENTS`."""
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
    asked.add_argument("--seed", type=natural, default=1000, help="of games and actions (1000)")
    asked.add_argument(
        "--video", action="store_true", help="film the first episode, with the attention over it"
    )
    asked.add_argument(
        "--why",
        action="store_true",
        help="in the film: where on the screen what spoke for each action comes from, beside the "
        "values or chances of all actions",
    )
    asked.add_argument(
        "--disturb",
        nargs="+",
        default=[],
        metavar="NAME:NUMBER",
        help="play the episodes once more under each of these, as sticky:0.5; or all",
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
        why=args.why,
        disturb=args.disturb,
        accelerator=args.accelerator,
    )


def record(arguments: list[str]) -> None:
    asked = parser("fovea agents record", RECORD)
    asked.add_argument(
        "--run", required=True, nargs="+", type=Path, help="run folders of the agents"
    )
    asked.add_argument(
        "--out",
        required=True,
        help="folder, or an address such as s3://bucket/recordings; each game gets a folder in it",
    )
    asked.add_argument(
        "--epsilons",
        nargs="+",
        type=probability,
        default=[0.02, 0.1, 0.3],
        help="chances of a random action (0.02 0.1 0.3)",
    )
    asked.add_argument(
        "--checkpoints",
        nargs="+",
        default=["newest"],
        help="of each run: newest, all, or numbers, as 20000 for step-000020000.ckpt (newest)",
    )
    asked.add_argument(
        "--steps", type=positive, default=20_000, help="agent steps per game, at least (20000)"
    )
    asked.add_argument("--seed", type=natural, default=0, help="of the games and actions (0)")
    asked.add_argument(
        "--envs", type=positive, default=2, help="emulators a policy plays in at once (2)"
    )
    asked.add_argument(
        "--shard-steps", type=positive, default=10_000, help="steps per shard, at least (10000)"
    )
    asked.add_argument(
        "--max-frames", type=positive, help="longer episodes are cut (as in training)"
    )
    asked.add_argument("--workers", type=positive, help="processes (one per core)")
    asked.add_argument("--accelerator", choices=ACCELERATORS, default="auto", help="(auto)")
    args = asked.parse_args(arguments)

    from fovea.agents.record import record
    from fovea.atari.recordings import is_address
    from fovea.atari.stats import overview, tiers

    datasets = record(
        args.run,
        args.out,
        steps=args.steps,
        epsilons=args.epsilons,
        checkpoints=args.checkpoints,
        seed=args.seed,
        envs=args.envs,
        shard_steps=args.shard_steps,
        max_frames=args.max_frames,
        workers=args.workers,
        accelerator=args.accelerator,
    )
    for dataset in datasets:
        game = dataset.origin.game
        print(f"{args.out.rstrip('/')}/{game}: {dataset.counts}")
        if not is_address(args.out):
            folder = Path(args.out) / game
            print(*map("  {}".format, overview(tiers(folder, dataset))), sep="\n")


def configs(arguments: list[str]) -> None:
    """Run `fovea agents configs`."""
    show("fovea agents configs", "fovea.agents", arguments)


COMMANDS = {
    "fit": Command("fovea.agents.fit:fit", "train an agent in a game"),
    "evaluate": Command(f"{__name__}:evaluate", "play whole episodes with a trained agent"),
    "distil": Command("fovea.agents.distilled:distil", "teach a policy from a trained agent"),
    "record": Command(f"{__name__}:record", "let trained agents play for recordings"),
    "continual": Command("fovea.agents.continual.run:continual", "learn one game after the other"),
    "speed": Command("fovea.agents.speed:speed", "updates a second of DQN on an encoder"),
    "configs": Command(f"{__name__}:configs", "list the configs that -c finds by name"),
}

if __name__ == "__main__":
    command.main(lambda: run(sys.argv[1:]))
