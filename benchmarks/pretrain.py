"""How much of pretraining is the bare training step, and what does it take in other ways?

    python -m benchmarks.pretrain [FOLDER] [--accelerator cuda] [--sizes vit_micro] [--rounds 12]

Every way trains with the same encoder and batch, and they take turns (see benchmarks/turns.py).
Fit is the command as it stands, with its recordings, augmentation, log and checkpoints; the bare
step is forward, backward and optimiser of the same objective on random views that are staged once.
"""

from __future__ import annotations

import argparse
import io
import tempfile
from contextlib import redirect_stderr
from dataclasses import dataclass
from importlib.util import find_spec
from multiprocessing.connection import Connection
from pathlib import Path

import lightning
import torch
import yaml
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, RandomSampler
from torchvision.transforms import v2

from benchmarks.turns import WARM_UP, Way, clock, compare, cost, machine, ratio, take_turns, timed
from fovea import command
from fovea.atari.collect import collect
from fovea.atari.frames import Frames
from fovea.command import positive
from fovea.configs import locate
from fovea.files import write_json, write_text
from fovea.pretrain.encoders.vit import Shape
from fovea.pretrain.objectives import dino as dino_file
from fovea.pretrain.objectives import vicreg as vicreg_file
from fovea.pretrain.objectives.base import Objective
from fovea.pretrain.optim import Optimisation
from fovea.pretrain.training.fit import PretrainCLI
from fovea.pretrain.training.speed import stepper
from fovea.seeding import Draws, Stream

OBJECTIVES = {
    "vicreg": vicreg_file.VICReg,
    "dino": dino_file.DINO,
}
STACKS = {"shift": 4, "crops": 3}

# The same augmentations twice: as data for `pretrain.augment`, and in torchvision for one sample.
JITTER = {"brightness": 0.4, "contrast": 0.4, "saturation": 0.2, "hue": 0.1}
OURS = {
    "shift": [{"name": "shift", "pixels": 4}, {"name": "intensity", "scale": 0.05}],
    "crops": [  # of TOV-VICReg's code, which takes three screens as red, green and blue
        {"name": "resized_crop", "scale": [0.08, 1.0]},
        {"name": "colour_jitter", "p": 0.8, **JITTER},
        {"name": "grayscale", "p": 0.2},
        {"name": "blur", "size": 7, "sigma": [0.1, 0.2]},
        {"name": "flip", "p": 0.5},
    ],
}
TORCHVISIONS = {
    "shift": [v2.RandomCrop(84, padding=4, padding_mode="edge"), v2.ColorJitter(brightness=0.05)],
    "crops": [
        v2.RandomResizedCrop(84, scale=(0.08, 1.0), antialias=False),
        v2.RandomApply([v2.ColorJitter(**JITTER)], 0.8),
        v2.RandomGrayscale(0.2),
        v2.GaussianBlur(7, (0.1, 0.2)),
        v2.RandomHorizontalFlip(0.5),
    ],
}


@dataclass(frozen=True)
class Setting:
    recordings: str
    device: str
    size: str
    batch: int
    workers: int
    objective: str = "vicreg"
    chain: str = "shift"
    compiled: bool = False
    bf16: bool = False
    lightly: bool = False

    def autocast(self) -> torch.autocast:
        return torch.autocast(self.device, torch.bfloat16, enabled=self.bf16)


def bare_step(at: Setting, pipe: Connection) -> None:
    """Forward, backward and optimiser on random views that are staged once."""
    objective = built(at)
    shape = (at.batch, 1, STACKS[at.chain], 84, 84)
    windows = torch.randint(0, 256, shape, dtype=torch.uint8, device=at.device)
    views = objective.views(windows, Draws(Stream.VIEWS, 0, 0, at.batch, at.device))
    step = stepper(objective, at.autocast)
    take_turns(pipe, lambda steps: timed(lambda: step(views), steps, at.device))


def fit(at: Setting, pipe: Connection) -> None:
    """`fovea pretrain fit` as it stands, held still between its turns."""

    class CLI(PretrainCLI):
        def own_callbacks(self) -> list[lightning.Callback]:
            return [*super().own_callbacks(), Held(pipe, at.device)]

    with tempfile.TemporaryDirectory() as folder:
        arguments = {
            "config": locate("vicreg", "fovea.pretrain"),
            "run": f"{folder}/run",
            "data.recordings": f"[{at.recordings}]",
            "data.batch_size": at.batch,
            "data.held_out": 1,
            "model.init_args.encoder.size": at.size,
            "model.init_args.encoder.stack": STACKS[at.chain],
            "model.init_args.augment_first": OURS[at.chain],
            "model.init_args.augment_second": OURS[at.chain],
            "trainer.accelerator": "gpu" if at.device == "cuda" else "cpu",
            "trainer.devices": 1,
            "trainer.max_steps": 10**6,
        }
        cli = CLI([f"--{name}={value}" for name, value in arguments.items()])
        with cli.stack, redirect_stderr(io.StringIO()):  # its bar would cross that of the turns
            cli.fit()


class Held(lightning.Callback):
    """Says after each turn's last step how long the turn was, and waits for the next."""

    def __init__(self, pipe: Connection, device: str):
        self.pipe, self.device = pipe, device
        self.left, self.begin = WARM_UP, 0.0

    def on_train_batch_end(self, trainer: lightning.Trainer, *args) -> None:
        self.left -= 1
        if self.left:
            return
        self.pipe.send(clock(self.device) - self.begin)
        self.left = self.pipe.recv()
        trainer.should_stop = not self.left
        self.begin = clock(self.device)


def torchvision_in_workers(at: Setting, pipe: Connection) -> None:
    """The same step, fed by a DataLoader whose workers augment sample by sample."""
    objective = built(at)
    step = stepper(objective, at.autocast)
    samples = OneByOne(Frames.load([at.recordings]), STACKS[at.chain], TORCHVISIONS[at.chain])

    def turn(steps: int) -> float:
        # As many samples as the turn takes: workers must not go on in the turns of others. Their
        # start and their first batch are not timed.
        drawn = RandomSampler(samples, num_samples=(steps + 1) * at.batch)
        batches = iter(DataLoader(samples, at.batch, sampler=drawn, num_workers=at.workers))
        next(batches)
        return timed(lambda: step([view.to(at.device) for view in next(batches)]), steps, at.device)

    take_turns(pipe, turn)


class OneByOne(Dataset):
    """Two views of a stack of screens, each through a chain of torchvision's."""

    def __init__(self, frames: Frames, stack: int, chain: list):
        self.frames, self.stack, self.starts = frames, stack, frames.starts(stack)
        self.chain = v2.Compose(chain)

    def __len__(self) -> int:
        return len(self.starts)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        screens = self.frames.windows(self.starts[index : index + 1], self.stack)[0, 0]
        if self.stack != 3:  # screens of one batch, which share a draw, where they are no colours
            return tuple(self.chain(screens[:, None])[:, 0] for _ in range(2))
        return self.chain(screens), self.chain(screens)


def loss_alone(at: Setting, pipe: Connection) -> None:
    """Forward and backward of the loss on random embeddings of two views, or of all crops."""
    objective = built(at)
    vicreg = at.objective == "vicreg"
    views = 2 if vicreg else 2 + len(objective.local_chains)
    width = objective.expander[-1].out_features if vicreg else len(objective.centre)
    embedded = torch.randn(views, at.batch, width, device=at.device, requires_grad=True)

    def vicreg_loss() -> Tensor:
        terms = vicreg_file.vicreg_terms(*embedded)
        return sum(objective.coefficients[name] * term for name, term in terms.items())

    def dino_loss() -> Tensor:
        teacher = embedded[:2].detach()
        dino_file.next_centre(objective.centre, teacher, momentum=objective.centre_momentum)
        return dino_file.dino_loss(
            embedded,
            teacher,
            objective.centre,
            student_temperature=objective.student_temperature,
            teacher_temperature=objective.teacher_temperature,
        )

    loss = vicreg_loss if vicreg else dino_loss
    take_turns(pipe, lambda steps: timed(lambda: loss().backward(), steps, at.device))


def built(at: Setting) -> Objective:
    """The objective of its config, in the size of the setting."""
    given = yaml.safe_load(locate(at.objective, "fovea.pretrain").read_text())["model"]["init_args"]
    given["encoder"] = Shape(**given["encoder"] | {"size": at.size, "stack": STACKS[at.chain]})
    given["optimisation"] = Optimisation(**given["optimisation"])
    objective = OBJECTIVES[at.objective](**given).to(at.device)
    if at.compiled:
        objective.compile_encoders()
    if at.lightly:
        take_lightlys_loss(objective)
    return objective


def take_lightlys_loss(objective: Objective) -> None:
    """Put lightly's loss in the place of ours, in this process."""
    from lightly import loss

    if isinstance(objective, vicreg_file.VICReg):
        vicreg = loss.VICRegLoss()
        objective.coefficients = {"vicreg": 1.0}
        vicreg_file.vicreg_terms = lambda x, y: {"vicreg": vicreg(x, y)}
    else:
        dino = loss.DINOLoss(output_dim=len(objective.centre)).to(objective.device)
        dino_file.dino_loss = lambda student, teacher, *_, **__: dino(
            list(teacher), list(student), epoch=0
        )
        dino_file.next_centre = lambda centre, *_, **__: centre  # theirs follows by itself


COMPILED, BF16, CROPS = {"compiled": True}, {"bf16": True}, {"chain": "crops"}
LIGHTLY, DINO = {"lightly": True}, {"objective": "dino"}
WAYS = {
    "bare step": Way(bare_step),
    "fit": Way(fit, "bare step"),
    "torchvision in workers": Way(torchvision_in_workers, "fit"),
    "fit, crops": Way(fit, "bare step", CROPS),
    "torchvision in workers, crops": Way(torchvision_in_workers, "fit, crops", CROPS),
    "bare step, compiled": Way(bare_step, "bare step", COMPILED),
    "bare step, bf16": Way(bare_step, "bare step", BF16),
    "bare step, bf16, compiled": Way(bare_step, "bare step", BF16 | COMPILED),
    "bare step, lightly's loss": Way(bare_step, "bare step", LIGHTLY),
    "loss alone": Way(loss_alone),
    "loss alone, lightly's": Way(loss_alone, "loss alone", LIGHTLY),
    "DINO: bare step": Way(bare_step, differs=DINO),
    "DINO: bare step, lightly's loss": Way(bare_step, "DINO: bare step", DINO | LIGHTLY),
    "DINO: loss alone": Way(loss_alone, differs=DINO),
    "DINO: loss alone, lightly's": Way(loss_alone, "DINO: loss alone", DINO | LIGHTLY),
}


def row(name: str, found: dict[str, dict], at: Setting) -> str:
    """A line of the table."""
    own, to = found[name], WAYS[name].to
    against = f"{ratio(own, found[to])} of {to}" if to in found else ""
    device = f"{own['device GiB']:.2f}" if at.device == "cuda" else ""
    return (
        f"| {at.size} | {name} | {at.batch / cost(own):,.0f} | {1000 * cost(own):.2f} | {against} "
        f"| {own['GiB']:.2f} | {device} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        "python -m benchmarks.pretrain", description=__doc__.split("\n")[0]
    )
    parser.add_argument(
        "recordings", nargs="?", metavar="FOLDER", help="(5,000 new steps of three games)"
    )
    parser.add_argument("--accelerator", choices=("cpu", "cuda"), default="cpu", help="(cpu)")
    parser.add_argument("--sizes", nargs="+", default=["vit_micro", "vit_tiny"], help="of encoders")
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS), help="(all)")
    parser.add_argument("--batch", type=positive, default=64, help="(64)")
    parser.add_argument("--seconds", type=float, default=4, help="of a turn, about (4)")
    parser.add_argument("--rounds", type=positive, default=12, help="turns of each way (12)")
    parser.add_argument("--workers", type=positive, default=2, help="of the DataLoader (2)")
    parser.add_argument("--markdown", type=Path, help="write the table to this file too")
    parser.add_argument("--json", type=Path, help="write the times of all turns to this file")
    args = parser.parse_args()

    ways = {name: WAYS[name] for name in args.ways}
    if not find_spec("lightly"):
        print("lightly is not here (pip install -e '.[bench]'): its rows are left out")
        ways = {name: way for name, way in ways.items() if "lightly" not in way.differs}
    lines = [
        f"Batches of {args.batch}; {machine()}.",
        "",
        "| encoder | way | samples/s | ms a step | ratio (quartiles) | GiB | GiB of the device |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    measured = {}
    with tempfile.TemporaryDirectory() as folder:
        if not args.recordings:
            collect(["pong", "breakout", "freeway"], folder, steps=5000)
        for size in args.sizes:
            at = Setting(
                args.recordings or folder, args.accelerator, size, args.batch, args.workers
            )
            measured[size] = compare(size, ways, at, args.rounds, args.seconds)
            lines += [row(name, measured[size], at) for name in ways]
    table = "\n".join(lines) + "\n"
    print(table)
    if args.markdown:
        write_text(args.markdown, table)
    if args.json:
        write_json(args.json, {"machine": machine(), "measured": measured})


if __name__ == "__main__":
    command.main(main)
