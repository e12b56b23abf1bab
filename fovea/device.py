"""Where commands without a Trainer run."""

from __future__ import annotations

import torch

from fovea.command import UserError


def device(accelerator: str = "auto") -> torch.device:
    """The device of one of `fovea.command.ACCELERATORS`.

    Raises UserError where a GPU is asked for and there is none.
    """
    if accelerator == "cuda" and not torch.cuda.is_available():
        raise UserError("no CUDA device is available: use --accelerator cpu")
    if accelerator == "auto":
        accelerator = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(accelerator)
