"""How fast does pretraining run, beside the bare step, the field's way, and lightly's losses?

    python -m benchmarks.pretrain runs/quickstart/recordings [--accelerator cuda]

Each way trains the objective of a config with the same encoder and batch, in a process of its own
that takes turns with the others; a rate is the median of the rounds, and the ratio is to the bare
step: forward, backward and optimiser on views that are staged once. Memory is the most that the
process held, of a device's memory the most that was allocated there.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import tempfile
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from statistics import harmonic_mean, median

import torch
import yaml
from torch import Tensor
from tqdm import tqdm

from atari.files import write_text
from atari.frames import Frames
from pretrain.dino import DINO
from pretrain.draws import Draws
from pretrain.objective import Objective
from pretrain.optim import Optimisation, configure
from pretrain.vicreg import VICReg
from pretrain.vit import Shape

CONFIGS = Path(__file__).parents[1] / "pretrain" / "configs"
OBJECTIVES = {"vicreg": VICReg, "dino": DINO}
WARM_UP = 3  # steps before the clock starts


@dataclass(frozen=True)
class Setting:
    objective: str
    size: str
    batch: int
    device: str
    recordings: str
    seconds: float
    workers: int
    compiled: bool = False
    bf16: bool = False


def bare_step(at: Setting) -> float:
    """Samples a second of forward, backward and optimiser on staged random views."""
    objective = built(at)
    views, step = staged(objective, at), stepper(objective, at)
    return timed(lambda: step(views), at)


def fit(at: Setting) -> float:
    """Samples a second of `python -m pretrain fit`, from what it logs of equal numbers of steps.

    A checkpoint, one in a hundred steps, is in it only where `seconds` hold so many.
    """
    from pretrain.fit import fit

    steps = 10 * max(2, round(at.seconds * bare_step(at) / at.batch / 10)) + 10
    with tempfile.TemporaryDirectory() as folder:
        fit([
            "-c", str(CONFIGS / f"{at.objective}.yaml"), "--run", f"{folder}/run",
            "--data.recordings", f"[{at.recordings}]", "--data.batch", str(at.batch),
            "--data.held_out", "1", "--trainer.max_steps", str(steps),
            "--model.init_args.encoder.size", at.size,
            "--model.init_args.compiled", str(at.compiled).lower(),
            "--trainer.accelerator", "gpu" if at.device == "cuda" else "cpu",
            "--trainer.precision", "bf16-mixed" if at.bf16 else "32-true",
        ])  # fmt: skip
        lines = (Path(folder) / "run" / "metrics.csv").read_text().splitlines()
    rates = [float(line.split(",")[2]) for line in lines if ",samples_per_second," in line]
    return harmonic_mean(rates[1:])  # all samples over all the time


def torchvision_workers(at: Setting) -> float:
    """Samples a second of the same step, fed by workers that augment sample by sample."""
    objective = built(at)
    step = stepper(objective, at)
    loader = torch.utils.data.DataLoader(
        OneByOne(Frames.load([at.recordings]), objective.encoder.stack),
        at.batch,
        shuffle=True,
        drop_last=True,
        num_workers=at.workers,
        persistent_workers=True,
    )
    batches = iter(loader)
    return timed(lambda: step([view.to(at.device) for view in next(batches)]), at)


def lightlys_loss(at: Setting) -> float:
    """Samples a second of the bare step with lightly's loss on the same encoder and head."""
    objective = built(at)
    objective.losses = lightlys(objective, at)
    views, step = staged(objective, at), stepper(objective, at)
    return timed(lambda: step(views), at)


WAYS: dict[str, tuple[Callable[[Setting], float], dict]] = {
    "bare step": (bare_step, {}),
    "fit": (fit, {}),
    "torchvision in workers": (torchvision_workers, {}),
    "lightly's loss": (lightlys_loss, {}),
    "bare step, compiled": (bare_step, {"compiled": True}),
    "bare step, bf16": (bare_step, {"bf16": True}),
}


class OneByOne(torch.utils.data.Dataset):
    """Two views of a stack, each through a chain of torchvision's: what is written first."""

    def __init__(self, frames: Frames, stack: int):
        from torchvision.transforms import v2

        self.frames, self.stack, self.starts = frames, stack, frames.starts(stack)
        self.chain = v2.Compose(
            [v2.RandomCrop(84, padding=4, padding_mode="edge"), v2.ColorJitter(brightness=0.05)]
        )

    def __len__(self) -> int:
        return len(self.starts)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        screens = self.frames.windows(self.starts[index : index + 1], self.stack)[0, 0]
        first, second = (self.chain(screens[:, None])[:, 0] for _ in range(2))
        return first, second


def built(at: Setting) -> Objective:
    """The objective of the config, with the encoder's size of the setting."""
    given = yaml.safe_load((CONFIGS / f"{at.objective}.yaml").read_text())["model"]["init_args"]
    given["encoder"] = Shape(**given["encoder"] | {"size": at.size})
    given["optimisation"] = Optimisation(**given["optimisation"])
    objective = OBJECTIVES[at.objective](**given).to(at.device)
    if at.compiled:
        objective.encoder.compile()
    return objective


def staged(objective: Objective, at: Setting) -> tuple[Tensor, ...]:
    """Views of random screens, made once."""
    windows = torch.randint(0, 256, (at.batch, 1, 4, 84, 84), dtype=torch.uint8, device=at.device)
    return objective.views(windows, Draws(0, 0, at.batch, at.device))


def stepper(objective: Objective, at: Setting) -> Callable[[Iterable[Tensor]], None]:
    """One step of training on views."""
    optimiser = configure(objective, objective.optimisation, 1000)["optimizer"]

    def step(views: Iterable[Tensor]) -> None:
        with torch.autocast(at.device, torch.bfloat16, enabled=at.bf16):
            loss = torch.stack(list(objective.losses(*views).values())).sum()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        objective.stepped()

    return step


def lightlys(objective: Objective, at: Setting) -> Callable[..., dict[str, Tensor]]:
    """`losses` that end in lightly's loss instead of ours."""
    from lightly import loss

    if at.objective == "vicreg":
        theirs = loss.VICRegLoss(lambda_param=25.0, mu_param=25.0, nu_param=1.0)

        def losses(*views: Tensor) -> dict[str, Tensor]:
            first, second = (objective.expander(x.summary) for x in objective.encode(*views))
            return {"loss": theirs(first, second)}

    else:
        theirs = loss.DINOLoss(output_dim=len(objective.centre)).to(at.device)

        def losses(*views: Tensor) -> dict[str, Tensor]:
            seen = objective.encode(*views[:2])
            seen += objective.encode(*views[2:], by=objective.encoder.encode_crops)
            student = objective.head(torch.stack([view.summary for view in seen]))
            taught = objective.encode(*views[:2], by=objective.teacher)
            objective.taught = objective.teacher_head(torch.stack([v.summary for v in taught]))
            return {"loss": theirs(list(objective.taught), list(student), epoch=0)}

    return losses


def loss_cost(at: Setting) -> dict[str, float]:
    """Milliseconds of forward and backward of the loss alone, ours and lightly's."""
    from lightly import loss

    from pretrain.dino import dino_loss
    from pretrain.vicreg import vicreg_terms

    if at.objective == "vicreg":
        theirs = loss.VICRegLoss()
        given = [torch.randn(at.batch, 1024, device=at.device) for _ in range(2)]
        ways = {
            "ours": lambda x, y: sum(
                w * t for w, t in zip((25, 25, 1), vicreg_terms(x, y).values(), strict=True)
            ),
            "lightly": theirs,
        }
    else:
        theirs = loss.DINOLoss(output_dim=1024).to(at.device)
        given = [torch.randn(n, at.batch, 1024, device=at.device) for n in (6, 2)]
        centre = torch.zeros(1024, device=at.device)
        temperatures = {"student_temperature": 0.1, "teacher_temperature": 0.04}
        ways = {
            "ours": lambda s, t: dino_loss(s, t.detach(), centre, **temperatures),
            "lightly": lambda s, t: theirs(list(t.detach()), list(s), epoch=0),
        }
    given = [x.requires_grad_() for x in given]
    return {
        name: 1000 * at.batch / timed(lambda way=way: way(*given).backward(), at)
        for name, way in ways.items()
    }


def timed(step: Callable[[], None], at: Setting) -> float:
    """Samples a second of `step`, after a warm-up."""
    for _ in range(WARM_UP):
        step()
    wait(at.device)
    steps, begin = 0, time.perf_counter()
    while time.perf_counter() < begin + at.seconds:
        step()
        steps += 1
        wait(at.device)
    return steps * at.batch / (time.perf_counter() - begin)


def wait(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def alone(way: Callable, at: Setting) -> tuple[object, float, float]:
    """What `way` returns in a process of its own, and the GiB it held there and on the device."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(_measured, way, at).result()


def _measured(way: Callable, at: Setting) -> tuple[object, float, float]:
    found = way(at)
    held = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    device = torch.cuda.max_memory_allocated() / 2**30 if at.device == "cuda" else 0.0
    return found, held, device


def compare(at: Setting, rounds: int, ways: list[str]) -> list[str]:
    """Lines of a Markdown table: each way, its rate, its ratio and its memory."""
    rates: dict[str, list[float]] = {way: [] for way in ways}
    memory: dict[str, list[float]] = {way: [0.0, 0.0] for way in ways}
    for way in tqdm(ways * rounds, desc=f"{at.objective}, {at.size}", unit="turn"):
        function, changes = WAYS[way]
        rate, *held = alone(function, Setting(**vars(at) | changes))
        rates[way].append(rate)
        memory[way] = [max(pair) for pair in zip(memory[way], held, strict=True)]
    bare = median(rates["bare step"])
    return [
        f"| {at.objective} | {at.size} | {way} | {median(rates[way]):.0f} | "
        f"{median(rates[way]) / bare:.2f} | {memory[way][0]:.1f} | {memory[way][1]:.1f} |"
        for way in ways
    ]


def main() -> None:
    parser = argparse.ArgumentParser(
        "python -m benchmarks.pretrain", description=__doc__.split("\n")[0]
    )
    parser.add_argument("recordings", metavar="FOLDER", help="of recordings")
    parser.add_argument("--accelerator", choices=("cpu", "cuda"), default="cpu", help="(cpu)")
    parser.add_argument("--objectives", nargs="+", choices=OBJECTIVES, default=list(OBJECTIVES))
    parser.add_argument("--sizes", nargs="+", default=["vit_micro", "vit_tiny"], help="of encoders")
    parser.add_argument("--ways", nargs="+", choices=WAYS, help="only these (all)")
    parser.add_argument("--batch", type=int, default=64, help="(64)")
    parser.add_argument("--seconds", type=float, default=10, help="of each measurement (10)")
    parser.add_argument("--rounds", type=int, default=3, help="measurements of each (3)")
    parser.add_argument("--workers", type=int, default=2, help="of the DataLoader (2)")
    parser.add_argument("--out", type=Path, help="write the table to this Markdown file as well")
    args = parser.parse_args()

    ways = [way for way in args.ways or WAYS if way != "lightly's loss" or find_spec("lightly")]
    ways = ["bare step", *(way for way in ways if way != "bare step")]
    if not find_spec("lightly"):
        print("lightly is not installed (pip install -e '.[bench]'): its rows are left out")
    lines = ["| objective | encoder | way | samples/s | to the bare step | GiB | GiB of device |",
             "|---|---|---|---|---|---|---|"]  # fmt: skip
    costs = []
    for objective in args.objectives:
        for size in args.sizes:
            at = Setting(objective, size, args.batch, args.accelerator, args.recordings,
                         args.seconds, args.workers)  # fmt: skip
            # Two views of torchvision's: the crops of DINO have no counterpart there.
            left_out = "" if objective == "vicreg" else "torchvision in workers"
            lines += compare(at, args.rounds, [way for way in ways if way != left_out])
        if find_spec("lightly"):
            cost, *_ = alone(loss_cost, at)
            costs.append(f"{objective}: the loss alone takes {cost['ours']:.2f} ms, lightly's "
                         f"{cost['lightly']:.2f} ms")  # fmt: skip
    table = "\n".join([*lines, "", *costs]) + "\n"
    print(table)
    if args.out:
        write_text(args.out, table)


if __name__ == "__main__":
    main()
