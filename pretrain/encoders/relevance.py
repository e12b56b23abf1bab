"""Which patches of the screen a number depends on: the gradient-weighted relevance of a ViT."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from math import prod

import torch
from torch import Tensor, nn

from fovea.pretrain.encoders.vit import ViT

Outputs = Callable[[Tensor], Tensor]
"""From float pixels (B, stack, H, W) in [0, 1] to numbers (B, K), each row from its own pixels."""


@dataclass
class Pass:
    """One forward pass through a ViT, with the graph of its gradients.

    Attributes:
        attention: (B, heads, T, T) of each block that ran, the first block first.
        reads: what was read of the tokens: (number of blocks before it, normed tokens (B, t, D)).
    """

    attention: list[Tensor] = field(default_factory=list)
    reads: list[tuple[int, Tensor]] = field(default_factory=list)


def relevance(
    vit: ViT,
    outputs: Outputs,
    pixels: Tensor,
    target: Tensor,
    background: Tensor | None = None,
) -> Tensor:
    """(B, gh, gw) how much each patch matters to one number a screen, at least 0.

    The generic rule of Chefer et al. 2021 (arXiv 2103.15679), for whatever is computed from a ViT:
    with A the attention of a block, its mixing is the mean over heads of the positive part of A
    times the number's gradient to A, and relevance is carried through 1 + mixing of every block.
    Theirs is the CLS token's row, since their classifier reads nothing else. Heads of agents may
    read patch tokens, of several blocks: so each token that is read counts by its share of what
    moves the number, |gradient . (token - the background's token)|; where the CLS token alone is
    read, the result is theirs. As with theirs, the larger the number's scale, the more is mixed:
    compare maps of numbers of one scale.

    Args:
        vit: the ViT in whatever computes `outputs`.
        outputs: computes K numbers of each screen, through `vit`.
        pixels: (B, stack, H, W) float in [0, 1].
        target: (B,) int64, which of the K numbers is asked about.
        background: (stack, H, W) float pixels without objects; by default tokens count as they are.
    """
    grid = vit.vit.patch_embed.grid_size
    pixels = pixels.detach().requires_grad_()
    with torch.enable_grad(), _watched(vit) as seen:
        asked = outputs(pixels).gather(1, target[:, None]).sum()
        wanted = [*seen.attention, *(tokens for _, tokens in seen.reads)]
        gradients = torch.autograd.grad(asked, wanted, allow_unused=True)
    without: list[Tensor] = [torch.zeros_like(tokens[:1]) for _, tokens in seen.reads]
    if background is not None:
        with torch.enable_grad(), _watched(vit) as empty:
            outputs(background[None].detach().requires_grad_())
        without = [tokens for _, tokens in empty.reads]
    depth = len(seen.attention)
    read: dict[int, list[Tensor]] = {}
    for (number, tokens), base, gradient in zip(
        seen.reads, without, gradients[depth:], strict=True
    ):
        if gradient is not None:
            counts = ((tokens - base).detach() * gradient).sum(-1).abs()
            read.setdefault(number, []).append(counts)
    total = sum(counts.sum(1) for each in read.values() for counts in each)
    row = torch.zeros(len(pixels), 0, device=pixels.device)
    for number in range(depth, 0, -1):
        weights, gradient = seen.attention[number - 1].detach(), gradients[number - 1]
        if gradient is None:  # of blocks that nobody reads
            continue
        row = row if row.shape[1] else row.new_zeros(len(pixels), weights.shape[-1])
        for counts in read.get(number, []):
            row = row + _with_prompts(counts / total[:, None].clamp(min=1e-30), weights.shape[-1])
        mixing = (gradient * weights).clamp(min=0).mean(1)
        row = row + torch.einsum("bq,bqk->bk", row, mixing)
    return row[:, -prod(grid) :].unflatten(1, grid)


def _with_prompts(counts: Tensor, length: int) -> Tensor:
    """(B, length): those of tokens (B, t), with nothing for prompts that follow the first token."""
    prompts = counts.new_zeros(len(counts), length - counts.shape[1])
    return torch.cat([counts[:, :1], prompts, counts[:, 1:]], dim=1)


@contextmanager
def _watched(vit: ViT) -> Iterator[Pass]:
    """Forward passes under gradients inside the block form their attention, and keep it."""
    seen, after, body = Pass(), list[Tensor](), vit.vit

    def attended(_module: nn.Module, _inputs: tuple, output: Tensor) -> None:
        if output.requires_grad:  # else it is a pass that only chooses modulators
            seen.attention.append(output)

    def ended(_module: nn.Module, _inputs: tuple, output: Tensor) -> None:
        if output.requires_grad:
            after.append(output)

    def entered(numbers: list[int], _module: nn.Module, inputs: tuple[Tensor]) -> None:
        numbers.append(next((n for n, one in enumerate(after, 1) if one is inputs[0]), 0))

    def read(numbers: list[int], _module: nn.Module, _inputs: tuple, output: Tensor):
        number = numbers.pop()
        if not output.requires_grad:
            return None
        # A tensor of its own: the gradient to it is that of reading, not of the blocks after it.
        mine = output.clone()
        seen.reads.append((number, mine))
        return mine

    numbers: list[int] = []
    handles = [block.attn.attn_drop.register_forward_hook(attended) for block in body.blocks]
    handles += [block.register_forward_hook(ended) for block in body.blocks]
    # First of all: prompts are taken out by a hook of the norm.
    handles.append(body.norm.register_forward_pre_hook(partial(entered, numbers), prepend=True))
    handles.append(body.norm.register_forward_hook(partial(read, numbers)))
    fused = [block.attn.fused_attn for block in body.blocks]
    for block in body.blocks:
        block.attn.fused_attn = False  # its kernel never forms the matrix
    try:
        yield seen
    finally:
        for block, before in zip(body.blocks, fused, strict=True):
            block.attn.fused_attn = before
        for handle in handles:
            handle.remove()
