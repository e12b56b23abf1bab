"""Where commands without a Trainer run."""

from __future__ import annotations

import torch

from fovea.command import UserError


def device(accelerator: str = "auto") -> torch.device:
    """The device of one of `fovea.command.ACCELERATORS`.

    Raises UserError where a GPU is asked for and there is none.
    """
    available = torch.cuda.is_available()
    if accelerator in ("gpu", "cuda") and not available:
        raise UserError("no CUDA device is available: use --accelerator cpu")
    return torch.device("cuda" if available and accelerator != "cpu" else "cpu")
