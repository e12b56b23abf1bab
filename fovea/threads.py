"""How many threads of the CPU a computation is shared among."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def one_thread() -> Iterator[None]:
    """On the CPU, torch works in one thread inside the block.

    For many small steps, as of a head that learns or of a decomposition, which are not worth
    sharing. Beside another busy process two threads on two cores wait spinning for each other: 23
    heads took over a minute where one thread took 10 s, and the eigenvectors of 1,024 axes 2 to
    20 s where it took 0.5 s.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
