"""Ray, where tasks run on several machines: a cluster that is there, or a Ray of one's own."""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

from fovea.command import UserError

LOCAL = "local"
"""The address of a Ray of one's own, on this machine."""

OBJECTS = 256 * 2**20
"""Bytes of results that a Ray of one's own holds; by default it takes a third of the memory."""


@contextmanager
def connected(address: str, cpus: int | None = None) -> Iterator[ModuleType]:
    """The module `ray`, connected.

    Args:
        address: of a cluster, as ray.init takes it ("auto", "10.0.0.1:6379", "ray://HEAD:10001"),
            or LOCAL, where Ray is started and ends with this.
        cpus: tasks at once of a Ray of one's own, by default one per core.

    Raises UserError where Ray is not installed, or no cluster answers.
    """
    # Without a word from the user nothing is sent to Ray's makers.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ImportError:
        raise UserError("--ray needs Ray: pip install 'fovea-rl[ray]', or leave it out") from None
    # Workers find Fovea as this process does: with `python -m fovea`, in a checkout, by PYTHONPATH.
    found = {name: os.environ[name] for name in ("PYTHONPATH",) if name in os.environ}
    stopped = signal.getsignal(signal.SIGTERM)
    own: dict[str, Any] = {
        "num_cpus": cpus,
        "include_dashboard": False,
        "object_store_memory": OBJECTS,
    }
    try:
        ray.init(
            address=address,
            logging_level=logging.ERROR,
            log_to_driver=False,
            runtime_env={"env_vars": found} if found else None,
            **(own if address == LOCAL else {}),
        )
    except (ConnectionError, RuntimeError, ValueError, TimeoutError) as fault:
        raise UserError(
            f"no Ray cluster answers at {address} ({' '.join(str(fault).split())[:200]}): start "
            "one with `ray start --head`, or leave the address out"
        ) from None
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, stopped)  # Ray's own handler aborts this process
    lost = (ray.exceptions.WorkerCrashedError, ray.exceptions.NodeDiedError,
            ray.exceptions.OutOfMemoryError)  # fmt: skip
    try:
        yield ray
    except ray.exceptions.RayTaskError as fault:  # a mistake stays one line wherever it is found
        raise (fault.cause if isinstance(fault.cause, UserError) else fault) from None
    except lost as fault:
        raise UserError(
            f"Ray lost the process of a task too often ({str(fault).splitlines()[0]}): see "
            "whether memory ran out, and run the same command again"
        ) from None
    finally:
        ray.shutdown()
