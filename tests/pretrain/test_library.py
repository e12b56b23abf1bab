"""Pretraining and encoding from a notebook: a plain Lightning Trainer, a plain NumPy array."""

from __future__ import annotations

from pathlib import Path

import lightning
import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from fovea.command import UserError
from fovea.pretrain import Objective, Shape, Supervised, VICReg, Windows, load_encoder
from fovea.pretrain.training.fit import fit

SHAPE = Shape(patch=42, positions="sincos")
CONFIG = Path(__file__).parents[2] / "pretrain" / "configs" / "vicreg.yaml"
pytestmark = [
    pytest.mark.filterwarnings("ignore:The number of training batches"),
    pytest.mark.filterwarnings("ignore:You're resuming from a checkpoint"),
    pytest.mark.filterwarnings("ignore:The dirpath has changed"),
    pytest.mark.filterwarnings("ignore:You defined a `validation_step`"),
]


def trainer(folder: Path, steps: int, **settings) -> lightning.Trainer:
    """A Trainer of Lightning's defaults, but for where it writes and what it prints."""
    quiet = {"enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu"}
    return lightning.Trainer(max_steps=steps, default_root_dir=folder, **quiet, **settings)


def same(one: torch.nn.Module, other: torch.nn.Module) -> bool:
    pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    return all(torch.equal(*pair) for pair in pairs)


@pytest.fixture(scope="module")
def data(recordings: Path) -> Windows:
    return Windows([str(recordings)], batch_size=8, held_out=1)


def vicreg() -> VICReg:
    return VICReg(expander=16, encoder=SHAPE)


@pytest.mark.slow
def test_a_plain_trainer_trains_what_the_command_trains(recordings: Path, tmp_path: Path) -> None:
    chain = [{"name": "shift", "pixels": 4}, {"name": "intensity", "scale": 0.05}]
    objective = VICReg(expander=16, augment_first=chain, augment_second=chain,
                       center_per_game=True, encoder=SHAPE)  # fmt: skip
    trainer(tmp_path, 3).fit(objective, Windows([str(recordings)], batch_size=8))
    fit(["-c", str(CONFIG), "--run", str(tmp_path / "run"), "--data.recordings", f"[{recordings}]",
         "--data.batch_size", "8", "--trainer.max_steps", "3", "--trainer.accelerator", "cpu",
         "--model.init_args.expander", "16",
         "--model.init_args.encoder.patch", "42"])  # fmt: skip
    assert same(objective.encoder, load_encoder(tmp_path / "run"))
    assert not same(objective.encoder, vicreg().encoder)


@pytest.mark.slow
def test_a_plain_trainer_goes_on_from_its_own_checkpoint(data: Windows, tmp_path: Path) -> None:
    whole, half, rest = vicreg(), vicreg(), vicreg()
    trainer(tmp_path, 4).fit(whole, data)
    # The schedule is that of 4 steps; the run is stopped after 2.
    stopped = trainer(tmp_path, 4, limit_train_batches=2, max_epochs=1)
    stopped.fit(half, data)
    assert stopped.global_step == 2
    trainer(tmp_path, 4).fit(rest, data, ckpt_path=stopped.checkpoint_callback.best_model_path)
    assert same(rest, whole)
    assert not same(half, whole)
    anew = vicreg()
    trainer(tmp_path, 4).fit(anew, data)
    assert same(anew, whole)


@pytest.mark.slow
def test_shorter_epochs_of_lightning_go_on_where_the_last_ended(
    data: Windows, tmp_path: Path
) -> None:
    whole, parts = vicreg(), vicreg()
    trainer(tmp_path, 4).fit(whole, data)
    trainer(tmp_path, 4, limit_train_batches=2).fit(parts, data)
    assert same(parts, whole)


def test_validating_changes_nothing_that_was_learned(data: Windows, tmp_path: Path) -> None:
    objective, run = Supervised(encoder=SHAPE), trainer(tmp_path, 3)
    run.fit(objective, data)
    learned = {name: weight.clone() for name, weight in objective.state_dict().items()}
    (numbers,) = run.validate(objective, data, verbose=False)
    assert np.isfinite(numbers["held_out/loss/state"])
    assert all(torch.equal(learned[name], now) for name, now in objective.state_dict().items())


def test_a_run_without_an_end_is_refused(data: Windows, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"max_steps is -1 and .* Trainer\(max_steps=1000\)"):
        trainer(tmp_path, -1, max_epochs=-1).fit(vicreg(), data)


def test_other_data_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"uint8 windows \(batch, 1, 4, 84, 84\).*gave torch.int64"):
        trainer(tmp_path, 1).fit(vicreg(), DataLoader([0]))


@pytest.mark.slow
def test_an_epoch_is_a_pass_over_all_windows(data: Windows, tmp_path: Path) -> None:
    """And a run of epochs is the run of as many steps, also where it goes on after one of them."""
    few = Windows(
        [f"{data.recordings[0]}/breakout"], batch_size=32, fractions=(0.1, 0.1, 0.8), held_out=1
    )
    epochs, steps, half, rest = vicreg(), vicreg(), vicreg(), vicreg()
    run = trainer(tmp_path / "epochs", -1, max_epochs=2)
    run.fit(epochs, few)
    windows = len(few.frames.starts(4, epochs.offsets))
    assert run.global_step == 2 * (windows // 32) > 4
    trainer(tmp_path / "steps", run.global_step).fit(steps, few)
    assert same(epochs, steps)
    # With the schedule of both passes, stopped within the second.
    half.schedule_steps = rest.schedule_steps = run.global_step
    stop = run.global_step // 2 + 1
    stopped = trainer(tmp_path / "half", stop, limit_val_batches=0)
    stopped.fit(half, few)
    last = stopped.checkpoint_callback.best_model_path
    trainer(tmp_path / "rest", -1, max_epochs=2).fit(rest, few, ckpt_path=last)
    assert same(rest, epochs)


@pytest.mark.slow
def test_early_stopping_watches_the_held_out_loss(data: Windows, tmp_path: Path) -> None:
    watch = lightning.pytorch.callbacks.EarlyStopping("held_out/loss", patience=1, min_delta=1e6)
    run = trainer(tmp_path, 20, callbacks=[watch], limit_train_batches=1)
    run.fit(vicreg(), data)
    assert run.global_step == 2  # nothing falls by a million
    assert np.isfinite(float(watch.best_score))


def test_an_objective_is_called_like_its_encoder(data: Windows) -> None:
    objective = vicreg().eval()
    screens = data.frames.windows(data.frames.starts(4)[:3], 4)[:, 0]
    for mine, its in zip(objective(screens), objective.encoder(screens), strict=True):
        assert torch.equal(mine, its)


def own_loader(dataset: type, data: Windows) -> DataLoader:
    windows = data.frames.windows(data.frames.starts(4)[:12], 4)
    return DataLoader(dataset(windows), batch_size=6)


@pytest.mark.slow
@pytest.mark.parametrize("dataset", [TensorDataset, list])
def test_a_loader_of_plain_windows_trains(dataset: type, data: Windows, tmp_path: Path) -> None:
    objective = vicreg()
    before = vicreg()
    loader = own_loader(dataset, data)
    run = trainer(tmp_path, -1, max_epochs=2)
    run.fit(objective, loader, loader)
    assert run.global_step == 4
    assert not same(objective, before)
    assert np.isfinite(float(run.callback_metrics["held_out/loss"]))


def test_a_loader_of_windows_alone_lacks_labels(data: Windows, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="Supervised needs the labels ram and all frames beforeh"):
        trainer(tmp_path, 1).fit(Supervised(encoder=SHAPE), own_loader(list, data))


class Counted(Objective):
    """Counts the batches that were drawn for it and those that it was trained on."""

    drawn = trained = 0

    def places(self, at, frames, draws):
        self.drawn += 1
        return super().places(at, frames, draws)

    def views(self, windows, draws):
        return (windows[:, 0],)

    def losses(self, now: Tensor):
        self.trained += 1
        return {"some": self.encode(now)[0].summary.pow(2).mean()}

    def on_save_checkpoint(self, checkpoint: dict) -> None:
        seen = checkpoint["Windows"]["seen"]
        self.saved = [*getattr(self, "saved", []), (self.drawn, self.trained, seen)]


def test_no_batch_is_drawn_before_the_one_before_it_was_trained_on(
    data: Windows, tmp_path: Path
) -> None:
    """And a resumed run begins after those: what `pretrain.data.Steps` relies on in Lightning."""
    objective = Counted(encoder=SHAPE)
    every = lightning.pytorch.callbacks.ModelCheckpoint(every_n_train_steps=1, save_top_k=-1)
    trainer(tmp_path, 4, callbacks=[every], limit_val_batches=0).fit(objective, data)
    assert objective.saved == [(step, step, step) for step in (1, 2, 3, 4)]


def test_an_array_of_screens_is_encoded_in_batches(data: Windows) -> None:
    encoder = load_encoder("random:vit_micro").train()
    at = data.frames.starts(encoder.stack)[:10]
    screens = data.frames.windows(at, encoder.stack)[:, 0]
    features = encoder.encode_array(screens.numpy(), batch_size=4)
    assert encoder.training
    with torch.no_grad():
        summary, tokens = encoder.eval()(screens)
    torch.testing.assert_close(features.summary, summary)
    torch.testing.assert_close(features.tokens, tokens)
    assert not features.summary.requires_grad
    assert encoder.encode_array(screens[:0].numpy()).tokens.shape == (0, 36, 96)


def test_single_screens_are_refused_with_how_to_stack_them(data: Windows) -> None:
    encoder = load_encoder("random:vit_micro")
    screens = data.frames.screens[:6].numpy()
    with pytest.raises(UserError, match=r"\(6, 84, 84\) holds single screens") as refused:
        encoder.encode_array(screens)
    advice = str(refused.value).partition("of successive screens, ")[2]
    stacked = eval(advice, {"np": np, "screens": screens})
    assert np.array_equal(stacked[1], screens[1:5])
    assert encoder.encode_array(stacked).summary.shape == (3, 96)


def test_screens_of_another_kind_are_refused() -> None:
    encoder = load_encoder("random:vit_micro")
    with pytest.raises(UserError, match="takes uint8 screens"):
        encoder.encode_array(np.zeros((2, 4, 84, 84), np.float32))
