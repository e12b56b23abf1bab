"""What a run began with is known by its content: moved is the same, replaced is another, and gone
is no matter to what is done."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from jsonargparse import Namespace

from fovea.agents.adaptation.base import Frozen
from fovea.agents.algorithms.cloned import Cloned
from fovea.agents.continual.phase import END, train
from fovea.agents.continual.run import continual
from fovea.agents.curriculum import Curriculum, Earlier
from fovea.agents.distilled import distil
from fovea.agents.fit import fit
from fovea.agents.loading import load_agent
from fovea.agents.places import PLACES
from fovea.agents.task import AtariTask
from fovea.atari.recordings import open_dataset
from fovea.command import Terminated, UserError
from fovea.pretrain.encoders.folder import export_encoder, load_encoder
from fovea.pretrain.training.checkpoint import VerifiedCheckpointIO, newest, read
from fovea.pretrain.training.growth import contents, other_content, recorded
from fovea.runs import RunWriter, read_run

DIGESTS = st.dictionaries(st.sampled_from("abc"), st.sampled_from(["1" * 64, "2" * 64]), min_size=1)
PLACE = st.sampled_from(["x", "y"])


@given(
    st.dictionaries(PLACE, DIGESTS),
    st.dictionaries(PLACE, DIGESTS),
    st.dictionaries(PLACE, st.just(["here", "there"])),
)
def test_a_place_is_refused_where_its_content_differs_or_cannot_be_compared(
    held: dict, found: dict, changed: dict
) -> None:
    def differs(place: str) -> bool:
        if place in held and place in found:
            return list(held[place].items()) != list(found[place].items())
        return place in changed

    wrong = [place for place in ("x", "y") if differs(place)]
    if wrong:
        with pytest.raises(UserError, match=f"^run began with other content of {wrong[0]}: "):
            other_content(Path("run"), ("x", "y"), changed, held, found)
    else:
        other_content(Path("run"), ("x", "y"), changed, held, found)


def test_recordings_are_known_as_those_who_read_them_know_them(recordings: Path) -> None:
    known = {game: open_dataset(recordings / game).sha256 for game in ("breakout", "pong")}
    assert recorded([str(recordings)]) == known
    assert recorded(str(recordings / "pong")) == {"pong": known["pong"]}
    assert recorded([str(recordings)], ["pong"]) == {"pong": known["pong"]}


def test_what_is_gone_has_no_content(tmp_path: Path) -> None:
    model = {
        "teacher": str(tmp_path / "gone"), "recordings": [str(tmp_path)],
        "encoder": {"init_args": {"encoder": str(tmp_path), "second": "timm:vit_tiny"}},
    }  # fmt: skip
    data = {"game": "pong", "contexts": ["sticky:0"], "curriculum_from": str(tmp_path)}
    config = Namespace(seed_everything=0)
    for name, value in {"model.init_args": model, "data": data}.items():
        for key, each in value.items():
            config[f"{name}.{key}"] = (
                Namespace(init_args=Namespace(**each["init_args"]))
                if (isinstance(each, dict))
                else each
            )
    assert contents(PLACES, config) == {}


def replaced(folder: Path, like: Path) -> None:
    """Another encoder of the same shape takes the place of one."""
    shutil.rmtree(folder, ignore_errors=True)
    export_encoder(load_encoder(f"untrained:{like}", 1), folder, {})


@pytest.mark.slow
def test_a_second_encoder_is_known_by_its_weights(
    dqn, small_encoder: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    second, run = tmp_path / "second", tmp_path / "run"
    shutil.copytree(small_encoder, second)

    def again(at: Path) -> None:
        encoder = json.dumps({
            "class_path": "fovea.agents.Fused",
            "init_args": {"encoder": str(small_encoder), "second": str(at)},
        })  # fmt: skip
        dqn(run, "--model.encoder", encoder)

    again(second)
    second.rename(tmp_path / "moved")
    for place in (tmp_path / "moved", second):  # which is gone
        capsys.readouterr()
        again(place)
        assert "already done" in capsys.readouterr().out
    replaced(second, small_encoder)
    with pytest.raises(UserError, match=r"other content of model\..*\.second: weights was "):
        again(second)


@pytest.mark.slow
def test_a_finished_pretraining_does_without_its_recordings(
    vicreg, short: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    data = Path(shutil.copytree(short, tmp_path / "data"))
    vicreg(data, tmp_path / "run")
    shutil.rmtree(data)
    assert vicreg(data, tmp_path / "run").state == "done"
    assert "already done (4 steps)" in capsys.readouterr().out
    with pytest.raises(UserError, match="cannot be compared with"):
        vicreg(tmp_path / "elsewhere", tmp_path / "run")
    with pytest.raises(UserError, match="data"):
        vicreg(data, tmp_path / "run", "--trainer.max_steps", 6)
    assert read_run(tmp_path / "run").state == "done"


SMALL = (
    "--model.init_args.hidden", 8, "--model.init_args.learning_starts", 16,
    "--model.init_args.batch_size", 8, "--model.init_args.buffer_size", 64,
    "--model.init_args.features.norm_samples", 16, "--data.num_envs", 2,
)  # fmt: skip
PATCHES = ("--model.encoder", "Frozen", "--model.encoder.encoder", "random:patches42")


@pytest.fixture(scope="module")
def taught(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a teacher, and a pupil that was killed after three updates."""
    folder = tmp_path_factory.mktemp("taught")
    asked = ["--model", "DQN", *PATCHES, *SMALL, "--data.game", "pong", "--data.total_steps", 24,
             "--data.max_frames", 40, "--run", folder / "teacher"]  # fmt: skip
    fit([*map(str, asked)])
    with pytest.raises(Terminated):
        pupil(folder / "teacher", folder / "pupil", "--trainer.callbacks", "[signalled.Signalled]")
    return folder


def pupil(teacher: Path, run: Path, *more: object) -> None:
    asked = ["--teacher", teacher, "--run", run, *PATCHES, *SMALL, "--data.total_steps", 48,
             "--checkpoint_every", 100, *more]  # fmt: skip
    distil([*map(str, asked)])


@pytest.mark.slow
def test_a_pupil_is_taught_by_the_teacher_it_began_with(
    taught: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    for name in ("teacher", "pupil"):
        shutil.copytree(taught / name, tmp_path / name)
    teacher, run = tmp_path / "teacher", tmp_path / "pupil"
    last = newest(teacher / "checkpoints")
    state = read(last)
    floats = (weight for weight in state["state_dict"].values() if weight.is_floating_point())
    next(floats).add_(1)  # as if it had been trained on
    VerifiedCheckpointIO().save_checkpoint(state, last)
    with pytest.raises(UserError, match=r"other content of model\.init_args\.teacher: weights was"):
        pupil(teacher, run)
    shutil.rmtree(teacher)
    with pytest.raises(UserError, match="cannot be compared with"):
        pupil(teacher, run)
    shutil.copytree(taught / "teacher", tmp_path / "elsewhere")
    pupil(tmp_path / "elsewhere", run)
    assert read_run(run).state == "done"
    shutil.rmtree(tmp_path / "elsewhere")
    pupil(tmp_path / "elsewhere", run)
    assert f"{run}: already done" in capsys.readouterr().out


@given(st.lists(st.integers(0, 4), max_size=3), st.integers(1, 3), st.integers(0, 2**16))
def test_a_curriculum_goes_on_without_the_runs_it_follows(
    stages: list[int], contexts: int, seed: int
) -> None:
    random = np.random.default_rng(seed)
    earlier = [Earlier(random.random(contexts), random.random((n, contexts))) for n in stages]
    settings = [{"sticky": 0.1 * number} for number in range(contexts)]
    whole, other = Curriculum(settings, "alp", 0, 1, earlier), Curriculum(settings, "alp", 0, 1)
    for number in range(50):
        if number == 30:
            kept = {name: torch.from_numpy(of) for name, of in whole.state().items()}
            assert Curriculum.keeps_earlier(kept) == bool(earlier)
            other.load_state({name: of.numpy() for name, of in kept.items()})
        if number >= 30:
            assert whole.chances().tolist() == other.chances().tolist()
            other.scored(number % contexts, 0.1 * number)
        whole.scored(number % contexts, 0.1 * number)


@pytest.mark.evidence
@pytest.mark.slow
def test_an_agent_lives_without_the_runs_whose_curriculum_it_follows(
    dqn, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    contexts = ("--data.contexts", "[sticky:0, sticky:0.5]")
    follows = (*contexts, "--data.curriculum_from", first)
    dqn(first, *contexts)
    with pytest.raises(Terminated):
        dqn(second, *follows, "--trainer.callbacks", "[signalled.Signalled]")
    moved = first.rename(tmp_path / "moved")
    assert load_agent(second).played
    killed = shutil.copytree(second, tmp_path / "killed")
    assert dqn(second, *follows).state == "done"
    assert isinstance(load_agent(second).task, AtariTask)
    moved_from = (*contexts, "--data.curriculum_from", moved)
    assert dqn(killed, *moved_from).state == "done"
    ours, theirs = (load_agent(run).agent.state_dict() for run in (second, killed))
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    state = read(newest(moved / "checkpoints"))
    state["AtariTask"]["envs"]["curriculum_sums"] += 1
    VerifiedCheckpointIO().save_checkpoint(state, newest(moved / "checkpoints"))
    with pytest.raises(UserError, match=r"other content of data\.curriculum_from: curriculum 1"):
        dqn(killed, *moved_from)


SEQUENCE = """
games: [breakout, freeway]
steps_per_game: 24
episodes: 1
evaluation_envs: 1
reference: null
methods:
  alone:
    encoder: {class_path: fovea.agents.Frozen, init_args: {encoder: ENCODER}}
    task_aware: agent
agent:
  class_path: fovea.agents.DQN
  init_args: {hidden: 8, learning_starts: 16, buffer_size: 32, batch_size: 4}
task: {num_envs: 1, max_frames: 16, full_actions: true}
trainer: {}
checkpoint_every: 10
"""


@pytest.mark.evidence
@pytest.mark.slow
def test_a_sequence_begins_each_game_with_the_encoder_it_began_with(
    small_encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The encoder is replaced after the first game, while the command runs and between two."""
    encoder, run = Path(shutil.copytree(small_encoder, tmp_path / "encoder")), tmp_path / "run"

    def asked(at: Path) -> list[str]:
        (tmp_path / "c.yaml").write_text(SEQUENCE.replace("ENCODER", str(at)))
        return ["-c", str(tmp_path / "c.yaml"), "--run", str(run)]

    def trained(*of: object) -> Path:
        end = train(*of)
        replaced(encoder, small_encoder)
        return end

    monkeypatch.setattr("fovea.agents.continual.run.train", trained)
    other = r"other content of methods\.alone\.encoder\.init_args\.encoder: weights was "
    for _ in range(2):
        with pytest.raises(UserError, match=other):
            continual(asked(encoder))
    assert not (run / "alone" / "2-freeway").exists()
    monkeypatch.undo()
    continual(asked(small_encoder))  # the same content at another place
    assert read_run(run).state == "done"


@pytest.mark.slow
def test_a_game_whose_end_is_damaged_is_not_taken_for_learned(
    small_encoder: Path, tmp_path: Path
) -> None:
    (tmp_path / "c.yaml").write_text(SEQUENCE.replace("ENCODER", str(small_encoder)))
    asked = ["-c", str(tmp_path / "c.yaml"), "--run", str(tmp_path / "run"), "--games", "[pong]"]
    continual(asked)
    leg = tmp_path / "run" / "alone" / "1-pong"
    for path in (leg / "checkpoints").glob(f"*{END}"):
        path.write_bytes(b"torn")
    RunWriter(tmp_path / "run", "continual", "").update(state="failed")
    with pytest.raises(UserError, match="the checkpoint of its end is damaged or gone: delete"):
        continual(asked)
    shutil.rmtree(leg)
    continual(asked)
    assert read_run(tmp_path / "run").state == "done"


@pytest.mark.slow
def test_recordings_of_another_protocol_are_remarked_or_refused(
    recordings: Path, small_encoder: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    line = "breakout was recorded with other settings: sticky 0.25 there and 0.5 here"
    for sticky, strict in ((0.5, False), (0.25, True)):
        task = AtariTask("breakout", 2, 256, sticky=sticky, strict=strict)
        task.attach(Cloned([str(recordings)], Frozen(str(small_encoder)), task.action_count))
        assert (line in capsys.readouterr().err) is not strict
    asked = ["-c", "cloned", "--run", tmp_path / "run", "--model.init_args.recordings", recordings,
             "--model.encoder", "Frozen", "--model.encoder.encoder", small_encoder,
             "--data.game", "breakout", "--data.sticky", 0.5, "--data.strict", "true"]  # fmt: skip
    with pytest.raises(UserError, match=f"{line}: give recordings of the game as it is played"):
        fit([*map(str, asked)])
    assert not (tmp_path / "run").exists()
