"""`python -m deployments [CONFIG]`: the service on one machine, with a small Ray beside it.

The same as `serve run CONFIG`, with what only `ray.init` and the environment can tell: no dashboard, an object store of
moderate size, and what deployments/environment.py says. A service that cannot start exits with the reason (status 1,
or 2 where the configuration is wrong). SIGINT and SIGTERM end it once the requests under way are answered
(`shutdown.drain_s`), a second one at once. SIGHUP reads CONFIG again: what has changed in `user_config` holds from then
on.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
from pathlib import Path

from deployments.environment import exports, set_environment, traced

ROOT = Path(__file__).parent.parent
OBJECT_STORE_BYTES = 400 * 2**20
SHARED_MEMORY = Path("/dev/shm")


def main() -> int:
    """Start Ray and the applications of the configuration file, and end both when told to."""
    parser = argparse.ArgumentParser(prog="python -m deployments", description=__doc__)
    parser.add_argument("config", nargs="?", type=Path, default=ROOT / "serve_config.yaml")
    parser.add_argument("--environment", action="store_true", help="print what `serve run` needs exported, and exit")
    parser.add_argument(
        "--insecure", action="store_true", help="serve without keys on an address that others can reach"
    )
    options = parser.parse_args()
    if options.environment:
        print(exports(os.environ))
        return 0
    path = options.config.resolve()
    set_environment(os.environ)
    os.chdir(ROOT)

    from deployments.configuration import StartError, read_configuration, require_free
    from deployments.tracing import TracingError, require_traceable

    try:
        if traced(os.environ):
            require_traceable()
        configuration = read_configuration(path, insecure=options.insecure)
        require_free(configuration.host, configuration.port)
    except (StartError, TracingError) as error:
        print(f"medinterp: {error}", file=sys.stderr)
        return 2

    import ray

    from deployments.ending import Ending
    from deployments.running import CLOSING_S, kill, run, start

    overflow = overflow_directory()
    ray.init(
        address="local",
        namespace="serve",
        include_dashboard=False,
        object_store_memory=OBJECT_STORE_BYTES,
        object_spilling_directory=overflow,
        _system_config={"automatic_object_spilling_enabled": False},  # Ray passes over its own variable for this
    )

    def end() -> None:
        kill()
        remove(overflow)

    ending = Ending()
    ending.listen(end)
    try:
        start(configuration)
        run(configuration, ending, path)
    except StartError as error:
        print(f"medinterp: {error}", file=sys.stderr, flush=True)
        return 1
    finally:
        ending.at_once_after(CLOSING_S)
        ray.shutdown()
        remove(overflow)
    return 0


def overflow_directory() -> str | None:
    """Where Ray maps what does not fit its object store: in memory, for films and traces are to lie on no disk.

    None where the system has no such place; there the object store itself is a file, in Ray's own directory.
    """
    return tempfile.mkdtemp(prefix="medinterp-", dir=SHARED_MEMORY) if SHARED_MEMORY.is_dir() else None


def remove(directory: str | None) -> None:
    """Take it away again."""
    if directory is not None:
        shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
