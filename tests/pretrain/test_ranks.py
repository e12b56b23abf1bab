"""Two ranks are one process on the joined batch: in loss and gradients, and as a run."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import lightning
import pytest
import torch
import yaml
from jsonargparse import ArgumentParser
from safetensors.torch import load_file
from torch import Tensor

from fovea.pretrain.data import Windows
from fovea.pretrain.objectives.base import Objective
from fovea.pretrain.training.checkpoint import newest
from fovea.pretrain.training.fit import PretrainCLI, fit
from fovea.runs import read_run

ROOT = Path(__file__).parents[2]
ALONE = "v_pretraining"  # refuses several ranks
CONFIGS = [
    path for path in sorted((ROOT / "pretrain" / "configs").glob("*.yaml")) if path.stem != ALONE
]
Named = dict[str, Tensor]


def small(config: Path) -> Objective:
    """The objective of a config with four patches a screen and narrow heads."""
    model = yaml.safe_load(config.read_text())["model"]
    for name, value in model["init_args"].items():
        if isinstance(value, int) and value > 100:  # plain numbers of this size are widths
            model["init_args"][name] = 16
    encoder = model["init_args"]["encoder"]
    encoder |= {"size": "vit_micro", "patch": (encoder.get("crop") or encoder["screen"]) // 2}
    parser = ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(Objective, "model")
    return parser.instantiate_classes(parser.parse_object({"model": model})).model


class Kept(lightning.Callback):
    """Keeps the loss and the gradients of the first step, and the buffers after it."""

    def on_train_batch_end(self, trainer, module, outputs, batch, batch_idx) -> None:
        if trainer.global_step == 1:
            self.loss = outputs["loss"]
            self.buffers = {name: b.clone().float() for name, b in module.named_buffers()}

    def on_before_optimizer_step(self, trainer, module, optimizer) -> None:
        if trainer.global_step == 0:
            found = {name: p.grad for name, p in module.named_parameters()}
            self.gradients = {name: g.clone() for name, g in found.items() if g is not None}


def first_step(config: Path, data: Windows, **trainer) -> tuple[Tensor, Named, Named]:
    """Loss, gradients and buffers of the first of two steps, on as many ranks as `trainer` says."""
    kept = Kept()
    settings = {"accelerator": "cpu", "max_steps": 2, "callbacks": [kept], **trainer}
    for part in ("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"):
        settings[part] = False
    lightning.Trainer(use_distributed_sampler=False, limit_val_batches=0, **settings).fit(
        small(config), datamodule=data
    )
    return kept.loss, kept.gradients, kept.buffers


def work(rank: int, recordings: Path, out: Path, port: int) -> None:
    """What each of the two ranks does: the first step of every config, written to `out`."""
    os.environ |= {"LOCAL_RANK": str(rank), "WORLD_SIZE": "2", "NODE_RANK": "0"}
    os.environ |= {"MASTER_ADDR": "localhost", "MASTER_PORT": str(port)}
    data = Windows([str(recordings)], batch_size=8)
    for config in CONFIGS:
        step = first_step(config, data, devices=2, strategy="ddp")
        torch.save(step, out / f"{config.stem}{rank}.pt")


@pytest.fixture(scope="module")
def steps(recordings: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the first step of every config, by two ranks that DDP holds together."""
    out = tmp_path_factory.mktemp("ranks")
    words = [sys.executable, __file__, str(recordings), str(out), str(free_port())]
    ranks = [subprocess.Popen([*words, rank], cwd=ROOT) for rank in ("0", "1")]
    assert [rank.wait() for rank in ranks] == [0, 0]
    return out


def free_port() -> int:
    """One of this machine that nothing listens on."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        return free.getsockname()[1]


@pytest.fixture(scope="module")
def data(recordings: Path) -> Windows:
    return Windows([str(recordings)], batch_size=8)


@pytest.mark.slow
@pytest.mark.evidence
@pytest.mark.parametrize("config", CONFIGS, ids=lambda path: path.stem)
def test_two_ranks_have_the_step_of_one(config: Path, data: Windows, steps: Path) -> None:
    loss, *one = first_step(config, data, devices=1)
    ranks = [torch.load(steps / f"{config.stem}{rank}.pt") for rank in (0, 1)]
    torch.testing.assert_close((ranks[0][0] + ranks[1][0]) / 2, loss, rtol=1e-4, atol=0)
    for _, *two in ranks:
        for ours, theirs in zip(one, two, strict=True):
            assert theirs.keys() == ours.keys()
            scale = max((value.abs().max() for value in ours.values()), default=0)
            for name, value in ours.items():
                off = (theirs[name] - value).abs().max()
                assert off <= 1e-3 * value.abs().max() + 1e-5 * scale, name


@pytest.mark.parametrize("shares", [1, 2])
def test_ranks_that_hold_the_same_screens_say_how_to_share_them(
    cut: Path, shares: int, tmp_path: Path, capsys: pytest.CaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr("fovea.pretrain.training.fit.WORTH_SHARING", 1e-6)
    words = ["-c", "vicreg", "--data.recordings", f"[{cut}]", "--data.shares", str(shares),
             "--data.fractions", "[0.4, 0.4, 0.2]", "--run", str(tmp_path / "run"),
             "--trainer.accelerator", "cpu", "--trainer.devices", "2",
             "--trainer.strategy", "ddp"]  # fmt: skip
    with PretrainCLI(words).stack:
        said = capsys.readouterr().out
    advice = "data: each of 2 ranks holds all 0.0 GiB of screens; with --data.shares 2 a new run"
    assert (advice in said) == (shares == 1)


def four_steps(cut: Path, run: Path, shares: int, *more: str) -> list[str]:
    """The arguments of a run of four steps, with a checkpoint after the second."""
    # LARS, since Adam makes whole steps of gradients that are nothing but rounding.
    return ["-c", str(ROOT / "pretrain" / "configs" / "vicreg.yaml"),
            "--data.recordings", f"[{cut}]", "--data.batch_size", "8",
            "--data.fractions", "[0.4, 0.4, 0.2]", "--data.shares", str(shares),
            "--run", str(run), "--trainer.accelerator", "cpu",
            "--trainer.max_steps", "4", "--checkpoint_every", "2",
            "--trainer.log_every_n_steps", "1", "--model.init_args.encoder.patch", "42",
            "--model.init_args.expander", "16",
            "--model.init_args.optimisation", "{name: lars, lr: 0.01, warmup: 1}",
            *more]  # fmt: skip


def by_one(cut: Path, run: Path, shares: int) -> None:
    fit(four_steps(cut, run, shares, "--trainer.devices", "1"))


def by_two(cut: Path, run: Path, shares: int) -> str:
    """What is printed by the command as it stands: it starts its second rank itself."""
    command = [sys.executable, "-m", "fovea", "pretrain", "fit"]
    command += four_steps(cut, run, shares, "--trainer.devices", "2", "--trainer.strategy", "ddp")
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def weights(run: Path) -> dict[str, Tensor]:
    return load_file(run / "encoder" / "model.safetensors")


def stop_after_two(run: Path) -> None:
    """Leave of a run what it had when its second step was done."""
    newest(run / "checkpoints").unlink()
    shutil.rmtree(run / "encoder")
    (run / "run.json").unlink()


@pytest.mark.slow
@pytest.mark.parametrize("shares", [1, pytest.param(2, marks=pytest.mark.evidence)])
def test_a_run_of_two_ranks_is_that_of_one_and_goes_on_as_one(
    cut: Path, shares: int, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    by_one(cut, tmp_path / "one", shares)
    one, two = weights(tmp_path / "one"), tmp_path / "two"
    assert by_two(cut, two, shares).splitlines() == [f"encoder: {two / 'encoder'}"]
    record = read_run(two)
    assert (record.state, record.step) == ("done", 4)
    rows = [line.rpartition(",")[0] for line in (two / "metrics.csv").read_text().splitlines()]
    assert len(rows) == len(set(rows)) > 4
    torch.testing.assert_close(weights(two), one, rtol=0, atol=1e-4)

    stop_after_two(two)
    capsys.readouterr()
    by_one(cut, two, shares)
    assert "going on from step-000000002.ckpt" in capsys.readouterr().out
    torch.testing.assert_close(weights(two), one, rtol=0, atol=1e-4)


@pytest.mark.slow
@pytest.mark.evidence
@pytest.mark.parametrize("shares", [1, 2])
def test_a_run_of_one_rank_goes_on_as_two(cut: Path, shares: int, tmp_path: Path) -> None:
    by_one(cut, tmp_path, shares)
    one = weights(tmp_path)
    stop_after_two(tmp_path)
    said = by_two(cut, tmp_path, shares)
    assert said.count("going on from step-000000002.ckpt") == 1
    assert (read_run(tmp_path).state, read_run(tmp_path).step) == ("done", 4)
    torch.testing.assert_close(weights(tmp_path), one, rtol=0, atol=1e-4)


@pytest.mark.slow
def test_two_nodes_that_torchrun_starts_are_one_run(cut: Path, tmp_path: Path) -> None:
    """Each `torchrun` is a node of its own, on loopback."""
    asked = ["pretrain", "fit", "-c", "vicreg", "--data.recordings", f"[{cut}]",
             "--data.batch_size", "8", "--data.fractions", "[0.4, 0.4, 0.2]",
             "--trainer.accelerator", "cpu", "--trainer.max_steps", "2",
             "--model.init_args.encoder.patch", "42", "--model.init_args.expander", "16",
             "--model.init_args.optimisation", "{name: lars, lr: 0.01, warmup: 1}"]  # fmt: skip
    nodes = ["--trainer.num_nodes", "2", "--trainer.devices", "1", "--trainer.strategy", "ddp"]
    port = str(free_port())
    started = [
        subprocess.Popen(
            [sys.executable, "-m", "torch.distributed.run", "--nnodes", "2", "--node-rank", rank,
             "--nproc-per-node", "1", "--master-addr", "127.0.0.1", "--master-port", port,
             "-m", "--", "fovea", *asked, "--run", str(tmp_path / "two"), *nodes],
            cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )
        for rank in ("0", "1")
    ]  # fmt: skip
    said = [process.communicate()[0] for process in started]
    assert [process.returncode for process in started] == [0, 0], said
    fit([*asked[2:], "--run", str(tmp_path / "one"), "--trainer.devices", "1"])
    one, two = (
        load_file(tmp_path / name / "encoder" / "model.safetensors") for name in ("one", "two")
    )
    torch.testing.assert_close(two, one, rtol=0, atol=1e-4)


if __name__ == "__main__":
    work(int(sys.argv[4]), Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
