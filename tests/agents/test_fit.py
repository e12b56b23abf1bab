"""`fovea agents fit`: real runs in real games, killed, resumed, refused."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import yaml

from fovea.agents.fit import StepLogger, fit
from fovea.command import UserError
from fovea.pretrain.encoders.folder import export_encoder, load_encoder
from fovea.pretrain.encoders.vit import Shape, build
from fovea.pretrain.training.checkpoint import newest
from fovea.runs import RunWriter, read_run

ROOT = Path(__file__).parents[2]
CONFIGS = ROOT / "agents" / "configs"
SINGLE = sorted(path.stem for path in CONFIGS.glob("*.yaml") if "continual" not in path.stem)
SMALL = {
    "DQN": ["--model.init_args.hidden", "16", "--model.init_args.batch_size", "8",
            "--data.num_envs", "2", "--model.init_args.buffer_size", "200",
            "--model.init_args.learning_starts", "64", "--model.init_args.train_freq", "2",
            "--model.init_args.features.norm_samples", "32"],
    "PPO": ["--model.init_args.hidden", "16", "--model.init_args.num_steps", "16",
            "--data.num_envs", "2", "--model.init_args.features.norm_samples", "32"],
    "CalQL": ["--model.init_args.hidden", "16", "--model.init_args.batch_size", "8"],
    "Cloned": ["--model.init_args.hidden", "16", "--model.init_args.batch_size", "8"],
    "OneStepFB": ["--model.init_args.hidden", "16", "--model.init_args.batch_size", "8",
                  "--model.init_args.labelled", "20", "--model.init_args.tau", "0.5"],
    "DPT": ["--model.init_args.batch_size", "4", "--model.init_args.context", "3",
            "--model.init_args.width", "8"],
    "Distilled": ["--model.init_args.hidden", "16", "--model.init_args.batch_size", "8",
                  "--data.num_envs", "2", "--model.init_args.learning_starts", "64"],
}  # fmt: skip
STEPS = {
    "DQN": 68,
    "PPO": 64,
    "CalQL": 16,
    "Cloned": 16,
    "OneStepFB": 16,
    "DPT": 32,
    "Distilled": 68,
}
LOGGED = {
    "DQN": {"loss/td", "epsilon"},
    "PPO": {"loss/policy", "entropy"},
    "CalQL": {"loss/td", "loss/conservative"},
    "Cloned": {"loss/policy", "loss/value"},
    "OneStepFB": {"loss/measure", "loss/orthonormal"},
    "DPT": {"loss/policy", "accuracy", "accuracy_without"},
    "Distilled": {"loss/policy", "loss/value", "agreement"},
}


def agent(config: str) -> str:
    """The name of the agent's class in a config."""
    settings = yaml.safe_load((CONFIGS / f"{config}.yaml").read_text())
    return settings["model"]["class_path"].rpartition(".")[2]


def arguments(config: str, encoder: Path | str, run: Path, *more: object) -> list[str]:
    return [
        *("-c", str(CONFIGS / f"{config}.yaml"), "--run", str(run)),
        *("--model.init_args.encoder.init_args.encoder", str(encoder)),
        *SMALL[agent(config)],
        *map(str, more),
    ]


def saved(run: Path) -> dict:
    return torch.load(newest(run / "checkpoints"), weights_only=True)


def same(a: object, b: object) -> bool:
    """Whether two trees of tensors and plain values are the same bit for bit."""
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))
    return torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b


def rows(run: Path) -> dict[tuple[str, str], str]:
    """metrics.csv as its readers take it: the last value of a (step, name) counts."""
    lines = (run / "metrics.csv").read_text().splitlines()[1:]
    cells = [line.split(",") for line in lines]
    return {(step, name): value for step, name, value in cells if not name.endswith("_per_second")}


VARIANTS = {
    "dqn_fused",
    "ppo_roma",
    "one_step_fb",
    "dpt",
}  # what is theirs alone has tests of its own


@pytest.mark.slow
@pytest.mark.parametrize(
    "config",
    [pytest.param(one, marks=pytest.mark.evidence if one in VARIANTS else ()) for one in SINGLE],
)
def test_every_config_trains_two_updates_and_a_frozen_encoder_does_not_move(
    config: str, encoder: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    run, kind, text = tmp_path / "run", agent(config), (CONFIGS / f"{config}.yaml").read_text()
    steps, more = STEPS[kind], []
    if kind in ("CalQL", "Cloned", "OneStepFB", "DPT"):
        more = ["--model.init_args.recordings", request.getfixturevalue("recordings")]
    if kind == "Distilled":
        more = ["--model.init_args.teacher", request.getfixturevalue("teacher")]
    fit(arguments(config, encoder, run, "--data.total_steps", steps,
                  "--trainer.log_every_n_steps", 1, *more))  # fmt: skip
    record = read_run(run)
    assert (record.state, record.step, record.steps) == ("done", steps, steps)
    assert (record.kind, record.game) == ("agent", "pong")
    assert len(text.splitlines()) < 60
    learns, part = "FineTuned" in text, "last_k" in text
    before = load_encoder(encoder).state_dict()
    for path in (run / "checkpoints").glob("*.ckpt"):
        weights = torch.load(path, weights_only=True)["state_dict"]
        after = {key: weights[f"extractor.encoder.encoder.{key}"] for key in before}
        moved = [key for key in before if not torch.equal(before[key], after[key])]
        if part:
            assert len(moved) > 10
            assert all(key.startswith(("vit.blocks.3.", "vit.norm.")) for key in moved)
        else:
            assert len(moved) > len(before) / 2 if learns else not moved
    names = {name for _, name in rows(run)}
    assert {"loss", "lr"} <= names
    lines = [line.split(",") for line in (run / "metrics.csv").read_text().splitlines()]
    speeds = [float(value) for _, name, value in lines if name == "steps_per_second"]
    assert speeds
    assert min(speeds) > 0
    assert LOGGED[kind] <= names


@pytest.mark.slow
@pytest.mark.parametrize(
    ("config", "steps", "every"),
    [
        pytest.param("dqn", 224, 9, marks=pytest.mark.evidence),
        pytest.param("der", 224, 9, marks=pytest.mark.evidence),
        # Its replay holds the outputs of the blocks before the last.
        pytest.param("dqn_last_block", 224, 9, marks=pytest.mark.evidence),
        pytest.param("ppo_frozen", 256, 7, marks=pytest.mark.evidence),
        pytest.param("ppo_nature", 96, 7, marks=pytest.mark.evidence),
    ],
)
def test_a_killed_run_ends_as_the_run_that_was_never_killed(
    config: str, steps: int, every: int, encoder: Path, tmp_path: Path
) -> None:
    """SIGKILL between two checkpoints (of PPO in the middle of a rollout); short episodes."""
    more = ("--data.total_steps", steps, "--checkpoint_every", every, "--data.max_frames", 40,
            "--keep_replay", "true")  # fmt: skip
    if config == "der":  # prioritised, noisy, on moved screens, which are held in a file
        more += ("--model.init_args.shift", 2, "--model.init_args.buffer_on_disk", "true")
    if config == "ppo_nature":  # under corruptions, whose draws go on as well
        more += ("--model.init_args.augmentations", "[[{name: shift}, {name: render}]]")
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    fit(arguments(config, encoder, whole, *more))
    command = [
        sys.executable,
        "-m",
        "fovea",
        "agents",
        "fit",
        *arguments(config, encoder, killed, *more),
    ]
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL)
    while process.poll() is None and not newest(killed / "checkpoints"):
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert read_run(killed).state == "running"
    fit(arguments(config, encoder, killed, *more))
    ours, theirs = saved(whole), saved(killed)
    for part in ("state_dict", "optimizer_states", "lr_schedulers", "global_step", "AtariTask"):
        assert same(ours[part], theirs[part]), part
    assert rows(whole) == rows(killed)
    assert sum(name == "return" for _, name in rows(whole)) > 3
    assert read_run(killed).step == ours["AtariTask"]["played"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("updates", "kept"),
    [
        (7, 6),
        pytest.param(11, 9, marks=pytest.mark.evidence),
        pytest.param(14, 12, marks=pytest.mark.evidence),
    ],
)
def test_a_run_killed_between_or_at_resets_ends_as_the_run_that_was_never_killed(
    updates: int, kept: int, encoder: Path, tmp_path: Path, failing: Callable[..., None]
) -> None:
    """A reset every six updates; what is gone on from is the checkpoint after `kept`."""
    more = ("--data.num_envs", 1, "--data.total_steps", 84, "--data.max_frames", 40,
            "--checkpoint_every", 3, "--model.init_args.train_freq", 1, "--keep_replay", "true",
            "--model.init_args.reset_interval", 6, "--model.init_args.anneal_updates", 4,
            "--model.init_args.per_alpha", 0.5)  # fmt: skip
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    fit(arguments("frozen_100k", encoder, whole, *more))
    failing(KeyboardInterrupt(), 32 + 64 + updates)  # of the norm, of the warm-up, and one each
    with pytest.raises(KeyboardInterrupt):
        fit(arguments("frozen_100k", encoder, killed, *more))
    assert saved(killed)["global_step"] == kept
    fit(arguments("frozen_100k", encoder, killed, *more))
    ours, theirs = saved(whole), saved(killed)
    for part in ("state_dict", "optimizer_states", "lr_schedulers", "global_step", "AtariTask"):
        assert same(ours[part], theirs[part]), part
    assert rows(whole) == rows(killed)


def test_run_json_is_not_written_at_every_log_and_ends_with_the_last_step(tmp_path: Path) -> None:
    run = RunWriter(tmp_path, "agent", "DQN in Pong")
    logger = StepLogger(run)
    for step in (8, 16, 24):
        logger.log_metrics({"loss": 0.5}, step)
    assert read_run(tmp_path).step == 8
    run.update(state="failed")
    assert read_run(tmp_path).step == 24
    assert [step for step, _ in rows(tmp_path)] == ["8", "16", "24"]


@pytest.mark.slow
def test_a_finished_run_says_so_and_other_settings_are_refused(
    encoder: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    for _ in range(2):
        fit(arguments("ppo_frozen", encoder, tmp_path, "--data.total_steps", "32"))
    assert f"{tmp_path}: already done (32 steps)" in capsys.readouterr().out
    config = tmp_path / "config.yaml"
    settings = yaml.safe_load(config.read_text())
    del settings["model"]["init_args"]["clip_vloss"]  # as if that setting had come later
    config.write_text(yaml.safe_dump(settings))
    fit(arguments("ppo_frozen", encoder, tmp_path, "--data.total_steps", "32"))
    assert f"{tmp_path}: already done (32 steps)" in capsys.readouterr().out
    with pytest.raises(UserError, match=r"holds a run with data\.num_envs = 2, not 4"):
        fit(arguments("ppo_frozen", encoder, tmp_path,
                      "--data.total_steps", "64", "--data.num_envs", "4"))  # fmt: skip


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Encoders of another stack and of another screen than the game's."""
    folder = tmp_path_factory.mktemp("other")
    shapes = {"stack": Shape(patch=42, stack=3), "screen": Shape(patch=32, screen=64)}
    return {name: export_encoder(build(shape), folder / name, {}) for name, shape in shapes.items()}


@pytest.mark.slow
@pytest.mark.parametrize(("name", "message"), [
    ("stack", "takes stacks of 3 screens of 84x84 and the game gives stacks of 4 screens of 84x"),
    ("screen", "takes stacks of 4 screens of 64x64 and the game gives stacks of 4 screens of 84x"),
])  # fmt: skip
def test_an_encoder_of_other_screens_is_refused_in_one_line(
    name: str, message: str, other: dict, tmp_path: Path, command: Callable[..., int],
    capsys: pytest.CaptureFixture,
) -> None:  # fmt: skip
    run = tmp_path / "run"
    assert command("fit", *arguments("dqn_frozen", other[name], run)) == 2
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1
    assert message in said[0]
    assert not run.exists()


MISTAKES = {
    "an unknown game": (["--data.game", "pongg"], "unknown game 'pongg': did you mean pong"),
    "an unknown setting": (
        ["--model.init_args.gama", "1"],
        "'gama' of fovea.agents.DQN: did you mean 'gamma'",
    ),
    "an unknown setting of the encoder": (
        ["--model.init_args.encoder.init_args.lr_scal", "1"],
        "'lr_scal': did you mean 'lr_scale'",
    ),
    "an unknown setting of the game": (["--data.stikcy", "0"], "'stikcy': did you mean 'sticky'"),
    "a wrong type": (["--data.total_steps", "many"], "data.total_steps"),
    "no encoder": (["--model.init_args.encoder.init_args.encoder", "nowhere"], "nowhere"),
    "an unknown kind of read-out": (
        ["--model.init_args.features.kind", "all"],
        "features.kind: ",
    ),
    "an unknown setting of the read-out": (
        ["--model.init_args.features.blokcs", "[1]"],
        "'blokcs': did you mean 'blocks'",
    ),
    "a read-out as in 0.1": (["--model.init_args.features", "tokens"], "features"),
    "a block that is not there": (
        ["--model.init_args.features.blocks", "[2, 5]"],
        "blocks [2, 5]: this encoder has blocks 1 to 4",
    ),
    "a replay larger than memory": (
        ["--model.init_args.buffer_size", "100000000000"],
        "GB are free: set model.init_args.buffer_size to ",
    ),
    "a replay smaller than a window": (
        ["--model.init_args.buffer_size", "8"],
        "make both at least 30",
    ),
    "a run that ends in its warm-up": (
        ["--data.total_steps", "60"],
        "data.total_steps 60 is less than the 64 of",
    ),
    "updates counted": (["--trainer.max_steps", "9"], "leave it out and set data.total_steps"),
    "no environments": (["--data.num_envs", "0"], "data.num_envs"),
    "no steps between updates": (["--model.init_args.train_freq", "0"], "train_freq"),
}


@pytest.mark.slow
@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_gets_one_line_and_leaves_nothing_behind(
    mistake: str, encoder: Path, tmp_path: Path
) -> None:
    more, message = MISTAKES[mistake]
    with pytest.raises(UserError) as refused:
        fit(arguments("dqn_frozen", encoder, tmp_path / "run", *more))
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_rollouts_longer_than_the_run_are_refused(encoder: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is less than one rollout of 16 steps of 2 environments"):
        fit(arguments("ppo_frozen", encoder, tmp_path / "run", "--data.total_steps", "31"))
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_the_help_names_every_agent_and_a_short_name_is_enough(
    encoder: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    with pytest.raises(SystemExit):
        fit(["--help"])
    said = capsys.readouterr().out
    assert all(f".{name}" in said for name in ("DQN", "PPO", "CalQL", "Cloned"))
    fit(["--model", "PPO", "--model.encoder", "LoRA", "--model.encoder.encoder", str(encoder),
         "--model.num_steps", "16", "--data.game", "pong", "--data.num_envs", "2",
         "--data.total_steps", "32", "--run", str(tmp_path)])  # fmt: skip
    assert read_run(tmp_path).title == "PPO in Pong, encoder lora"
    with pytest.raises(UserError, match="unknown class 'LoRa': did you mean 'LoRA'"):
        fit(arguments("ppo_frozen", encoder, tmp_path / "new", "--model.encoder", "LoRa"))


@pytest.mark.slow
@pytest.mark.parametrize(
    "config", ["dqn_frozen", pytest.param("ppo_nature", marks=pytest.mark.evidence)]
)
def test_how_often_a_run_is_saved_does_not_change_it(
    config: str, encoder: Path, tmp_path: Path
) -> None:
    """Its weights, its replay, and its episodes, which are longer than what lies between."""
    for every in (3, 1000):
        more = ("--data.total_steps", 192, "--checkpoint_every", every, "--data.max_frames", 120,
                "--keep_replay", "true")  # fmt: skip
        fit(arguments(config, encoder, tmp_path / str(every), *more))
    ours, theirs = (saved(tmp_path / each) for each in ("3", "1000"))
    for part in ("state_dict", "optimizer_states", "global_step", "AtariTask"):
        assert same(ours[part], theirs[part]), part
    assert rows(tmp_path / "3") == rows(tmp_path / "1000")
    assert any(name == "return" for _, name in rows(tmp_path / "3"))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("config", "first", "last"), [("dqn_frozen", 104, 140), ("ppo_frozen", 64, 128)]
)
def test_a_finished_run_goes_on_as_one_that_was_longer_from_the_start(
    config: str, first: int, last: int, encoder: Path, tmp_path: Path,
    capsys: pytest.CaptureFixture,
) -> None:  # fmt: skip
    """Where no schedule depends on the length."""
    same_rate = ("--model.init_args.anneal_lr", "false", "--data.max_frames", 40,
                 "--keep_replay", "true")  # fmt: skip
    if config == "dqn_frozen":
        same_rate += ("--model.init_args.per_alpha", 0)
    for steps in (first, last):
        fit(arguments(config, encoder, tmp_path / "grown", *same_rate, "--data.total_steps", steps))
    assert "data.total_steps was" in (said := capsys.readouterr().out)
    assert "nothing in it depends on its length" in said
    fit(arguments(config, encoder, tmp_path / "straight", *same_rate, "--data.total_steps", last))
    ours, theirs = saved(tmp_path / "grown"), saved(tmp_path / "straight")
    for part in ("state_dict", "optimizer_states", "lr_schedulers", "global_step", "AtariTask"):
        assert same(ours[part], theirs[part]), part
    assert read_run(tmp_path / "grown").history[1]["changed"] == {"data.total_steps": [first, last]}


@pytest.mark.slow
def test_growing_says_what_it_does_to_the_schedules_of_an_agent(
    encoder: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    annealed = ("--model.init_args.anneal_lr", "true", "--model.init_args.lr", 0.001)
    fit(arguments("ppo_frozen", encoder, tmp_path, *annealed, "--data.total_steps", 32))
    fit(arguments("ppo_frozen", encoder, tmp_path, *annealed, "--data.total_steps", 64))
    # Of 16 updates all were done, the last of them at a sixteenth; of 32 the half.
    assert "goes on with learning rate 0.0005, not 6.25e-05 (--keep" in capsys.readouterr().out
    fit(arguments("ppo_frozen", encoder, tmp_path, *annealed, "--data.total_steps", 96,
                  "--keep_schedule", "true"))  # fmt: skip
    said = capsys.readouterr().out
    assert "its schedules stay those of 64 steps" in said
    assert saved(tmp_path)["optimizer_states"][0]["param_groups"][0]["lr"] == 0.001 / 32
    with pytest.raises(UserError, match=r"data.total_steps 64: .* has done 96 steps already"):
        fit(arguments("ppo_frozen", encoder, tmp_path, *annealed, "--data.total_steps", 64))
