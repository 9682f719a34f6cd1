"""Ray for an audit: the cluster that RAY_ADDRESS names, or a small one of this machine that ends with the command."""

from __future__ import annotations

import logging
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SHARED_MEMORY = Path("/dev/shm")
ENVIRONMENT = {
    # Nothing is told to anybody; who talks to Ray's ports needs the token in ~/.ray; they listen on 127.0.0.1 (the name
    # is that of what else it is good for: no second machine can join).
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AUTH_MODE": "token",
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
}
"""Of a cluster of this machine, as the service has it; import the pipeline, and with it Ray, behind `running_ray`."""
OBJECT_STORE_BYTES = 2**30
"""Of a cluster of this machine: what lies between the stages has half of it."""


@contextmanager
def running_ray(*, dashboard: bool = False, object_store_bytes: int = OBJECT_STORE_BYTES) -> Iterator[str]:
    """Ray while the block runs; gives what to call it.

    A cluster of this machine takes two more CPUs than there are: what decodes and writes runs beside the model, and
    needs little. It is there for this command alone, and keeps films and reports in memory: nothing is spilled.
    """
    named = os.environ.get("RAY_ADDRESS")
    if not named and "ray" not in sys.modules:  # it reads some of these as it is imported, and the rest has to agree
        for name, value in ENVIRONMENT.items():
            os.environ.setdefault(name, value)
    import ray

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
