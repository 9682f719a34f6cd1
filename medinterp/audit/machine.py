"""Ray for an audit: the cluster that RAY_ADDRESS names, or a small one of this machine that ends with the command."""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SHARED_MEMORY = Path("/dev/shm")
OBJECT_STORE_BYTES = 2**30
"""Of a cluster of this machine: what lies between the stages has half of it."""


@contextmanager
def running_ray(*, dashboard: bool = False, object_store_bytes: int = OBJECT_STORE_BYTES) -> Iterator[str]:
    """Ray while the block runs; gives what to call it.

    A cluster of this machine takes two more CPUs than there are: what decodes and writes runs beside the model, and
    needs little. It is there for this command alone, and keeps films and reports in memory: nothing is spilled.
    """
    import ray

    named = os.environ.get("RAY_ADDRESS")
    overflow = None
    if named:
        ray.init(address=named, logging_level=logging.WARNING, log_to_driver=False)
    else:
        overflow = tempfile.mkdtemp(prefix="medinterp-", dir=SHARED_MEMORY) if SHARED_MEMORY.is_dir() else None
        ray.init(
            address="local",
            num_cpus=(os.cpu_count() or 1) + 2,
            include_dashboard=dashboard,
            object_store_memory=object_store_bytes,
            object_spilling_directory=overflow,
            logging_level=logging.WARNING,
            log_to_driver=False,
            _system_config={"automatic_object_spilling_enabled": False},
        )
    try:
        yield named or "this machine"
    finally:
        ray.shutdown()
        if overflow is not None:
            shutil.rmtree(overflow, ignore_errors=True)
