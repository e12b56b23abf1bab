"""Settings of an agent that name places, and how the content of each is read."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from jsonargparse import Namespace
from torch import Tensor

from fovea.agents.loading import load_agent
from fovea.agents.task import earlier_curriculum
from fovea.atari.games import find
from fovea.disturbances import Disturbance
from fovea.pretrain.encoders.folder import load_encoder, weights_sha256
from fovea.pretrain.training.growth import Content, Read, recorded

ENCODER = "model.init_args.encoder.init_args.encoder"
SECOND = "model.init_args.encoder.init_args.second"
TEACHER = "model.init_args.teacher"
RECORDINGS = "model.init_args.recordings"
CENTRED_BY = "model.init_args.encoder.init_args.recordings"
CURRICULUM = "data.curriculum_from"


def _encoder(ref: Any, config: Namespace) -> Content:
    """The weights that a reference leads to; nothing where its name says all."""
    if not isinstance(ref, str) or ref.startswith(("random:", "timm:")):
        return {}
    encoder = load_encoder(ref, config.seed_everything)
    read_out = encoder.read_out.state_dict() if encoder.read_out is not None else {}
    return {"weights": weights_sha256(encoder), "read-out": _digest(read_out.values())}


def _teacher(run: str, config: Namespace) -> Content:
    return {"weights": _digest(load_agent(run).agent.state_dict().values())}


def _recordings(folders: Sequence[str] | str, config: Namespace) -> Content:
    return recorded(folders, [find(config.data.game).rom_id])


def _curricula(runs: Sequence[str] | str, config: Namespace) -> Content:
    names = [str(Disturbance.read(each)) for each in config.data.contexts or ()]
    listed = [runs] if isinstance(runs, str) else runs
    return {
        f"curriculum {number}": _digest(map(torch.from_numpy, earlier_curriculum(Path(run), names)))
        for number, run in enumerate(listed, 1)
    }


def _digest(tensors: Iterable[Tensor]) -> str:
    digest = hashlib.sha256()
    for tensor in tensors:
        digest.update(tensor.contiguous().numpy().tobytes())
    return digest.hexdigest()


PLACES: Mapping[str, Read] = {
    ENCODER: _encoder,
    SECOND: _encoder,
    TEACHER: _teacher,
    RECORDINGS: _recordings,
    CENTRED_BY: lambda folders, _: recorded(folders),
    CURRICULUM: _curricula,
}
