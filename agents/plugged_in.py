"""Whether an encoder is plugged in: which weights it has, what of it learns, what is read of it."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import NamedTuple

import torch
from lightning import Callback, LightningModule, Trainer
from safetensors.torch import load_file
from torch import nn

from fovea.agents.algorithms.base import Agent
from fovea.command import UserError
from fovea.pretrain.encoders.attribution import named
from fovea.pretrain.encoders.encoder import Encoder, innermost
from fovea.pretrain.encoders.fingerprint import fingerprint
from fovea.pretrain.encoders.folder import tensors, weights_sha256
from fovea.pretrain.hub import WEIGHTS, locate
from fovea.runs import RunWriter
from fovea.schema import Part, PluggedIn

WATCHED = 8  # updates after a warm-up; modulators that start at 0 give no gradient in the first


def parts_of(agent: Agent) -> dict[str, dict[str, nn.Parameter]]:
    """The weights of its encoder, of what adapts that, of the projection and of the heads, by name.

    A target network, which follows them, is left out.
    """
    extractor = agent.extractor
    inner = {id(weight) for weight in innermost(extractor.encoder).parameters()}
    parts: dict[str, dict[str, nn.Parameter]] = {
        name: {} for name in ("encoder", "adaptation", "projection", "heads")
    }
    for name, weight in agent.named_parameters():
        if name.startswith("extractor.encoder."):
            parts["encoder" if id(weight) in inner else "adaptation"][name] = weight
        elif name.startswith("extractor."):
            parts["projection"][name] = weight
        elif weight.requires_grad:
            parts["heads"][name] = weight
    return {name: weights for name, weights in parts.items() if weights}


def plugged_in(agent: Agent, ref: str | None, init_from: str | None) -> PluggedIn:
    """What an agent that is about to learn is made of.

    Args:
        agent: the agent.
        ref: the reference that its encoder was loaded from; None for an encoder of its own.
        init_from: the run whose weights it was given instead.

    Raises UserError where its weights are not those of the folder that `ref` names.
    """
    encoder = agent.extractor.encoder
    inner = innermost(encoder)
    weights = weights_sha256(inner)
    source = f"{init_from}, by --init_from" if init_from else (ref or "its own")
    if ref and not init_from and not ref.startswith(("random:", "untrained:")):
        _check_loaded(inner, locate(ref))
    deep = f", {inner.depth} blocks" if inner.depth else ""
    counts = {
        name: Part(
            learn=sum(w.numel() for w in part.values() if w.requires_grad),
            frozen=sum(w.numel() for w in part.values() if not w.requires_grad),
        )
        for name, part in parts_of(agent).items()
    }
    return PluggedIn(
        encoder=f"{type(encoder).__name__} of {named(inner)}, {inner.dim} wide{deep}",
        source=source,
        weights=weights,
        fingerprint=fingerprint(inner),
        parts=counts,
        heads_read=heads_read(agent),
        numbers=agent.extractor.width,
    )


def heads_read(agent: Agent) -> str:
    """What the heads are given of the encoder's features, in words."""
    how, extractor = agent.read_out, agent.extractor
    encoder = extractor.encoder
    blocks = how.blocks or [encoder.depth]
    of = f" of block {', '.join(map(str, blocks))}" if encoder.depth else ""
    norm = f"normed {how.norm} by {int(extractor.norm.screens):,} screens"
    return f"{how.kind}{of}, {'as they are' if how.norm == 'none' else norm}"


def _check_loaded(encoder: Encoder, folder: Path) -> None:
    """Bit for bit, against the file: what is trained on must be what was pretrained."""
    kept = load_file(folder / WEIGHTS)
    for name, tensor in tensors(encoder.body).items():
        if name not in kept or not torch.equal(kept[name].float(), tensor.float()):
            raise UserError(
                f"the encoder's weight {name} is not that of {folder / WEIGHTS}: something changed "
                "it before training began"
            )


class Watch(Callback):
    """Sees in the first updates whether what should learn learns, and nothing else changes.

    What should learn and gets no gradient, and what should not and changes, ends the run with a
    UserError. Weights that nothing read in these updates (modulators and heads of a pool that no
    screen chose, a pooling that heads do not use) are named, and are no error.

    Args:
        run: whose record is completed.
        agent: the agent.
    """

    def __init__(self, run: RunWriter, agent: Agent):
        self.run, self.agent = run, agent
        self.updates = 0
        self.read: set[str] = set()
        self.moved: set[str] = set()
        self.frozen = ""

    @property
    def due(self) -> bool:
        record = self.run.record.plugged_in
        return record is not None and record.updates < WATCHED and self.updates < WATCHED

    def on_train_start(self, trainer: Trainer, module: LightningModule) -> None:
        if self.due:
            self.frozen = frozen_sha256(self.agent)

    def on_before_optimizer_step(self, trainer, module, optimizer) -> None:
        if not self.due or trainer.global_step < self.agent.warmup_updates:
            return
        self.updates += 1
        for part in parts_of(self.agent).values():
            for name, weight in part.items():
                if weight.grad is None:
                    continue
                if not weight.requires_grad:
                    raise UserError(
                        f"{name} is frozen, and got a gradient: something beside Fovea unfroze it"
                    )
                self.read.add(name)
                if name not in self.moved and bool(weight.grad.any()):
                    self.moved.add(name)
        if self.updates == WATCHED:
            self.conclude()

    def on_train_end(self, trainer: Trainer, module: LightningModule) -> None:
        if self.due and self.updates:
            self.conclude()

    def conclude(self) -> None:
        """Complete the record. Raises UserError where something is not as it should be."""
        learn = {
            part: {name for name, weight in weights.items() if weight.requires_grad}
            for part, weights in parts_of(self.agent).items()
        }
        every = set().union(*learn.values())
        record = self.run.record.plugged_in
        assert record is not None
        record.updates = self.updates
        record.got_gradient = len(self.moved)
        record.not_read = sorted(every - self.read)
        record.frozen_unchanged = self.frozen == frozen_sha256(self.agent)
        self.run.update(plugged_in=record)
        if not record.frozen_unchanged:
            raise UserError(
                f"weights of the encoder that are frozen changed in the first {self.updates} "
                "updates: something beside the optimiser writes to them"
            )
        if self.updates < WATCHED:
            return  # too few to tell
        for part, names in learn.items():
            if names and not names & self.moved:
                raise UserError(
                    f"nothing of the {part} got a gradient in {self.updates} updates, and "
                    f"{len(names)} tensors of it should learn: freeze it, or let heads read it"
                )
        if still := sorted(self.read - self.moved):
            raise UserError(
                f"{still[0]} should learn, and its gradient was exactly zero in {self.updates} "
                f"updates{f'; so were those of {len(still) - 1} more' if still[1:] else ''}"
                ": freeze it, or let heads read it"
            )
        print(*said_after(record), sep="\n")


def frozen_sha256(agent: Agent) -> str:
    """SHA-256 of all weights of the encoder that are frozen, with buffers where nothing learns."""
    encoder = agent.extractor.encoder
    inner = innermost(encoder)
    held = [weight for weight in encoder.parameters() if not weight.requires_grad]
    if not any(weight.requires_grad for weight in inner.parameters()):
        held += list(inner.buffers())
    digest = hashlib.sha256()
    for tensor in held:
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


class Said(NamedTuple):
    """A line about what is plugged in."""

    name: str
    what: str

    def __str__(self) -> str:
        return f"  {self.name:10} {self.what}"


def said_before(record: PluggedIn) -> list[Said]:
    """What is printed of it before the first update."""
    lines = [
        Said("plugged in", f"{record.encoder}, from {record.source}"),
        Said("weights", f"sha256 {record.weights}"),
    ]
    for name, part in record.parts.items():
        shares = {"learn": part.learn, "are frozen": part.frozen}
        counted = [f"{count:,} {what}" for what, count in shares.items() if count]
        lines.append(Said(name, f"weights: {', '.join(counted)}"))
    return [*lines, Said("heads read", f"{record.heads_read}: {record.numbers:,} numbers")]


def said_after(record: PluggedIn) -> list[Said]:
    """What is printed of it after the first updates."""
    lines = [
        Said(
            "learning",
            f"after {record.updates} updates {record.got_gradient} tensors got a gradient, and "
            "what is frozen is bit for bit as it was",
        )
    ]
    if record.not_read:
        names = ", ".join(record.not_read[:3]) + (" ..." if record.not_read[3:] else "")
        lines.append(Said("not read", f"so far, {len(record.not_read)} that learn: {names}"))
    return lines
