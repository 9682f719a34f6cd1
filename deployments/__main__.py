"""`python -m deployments [CONFIG]`: the service on one machine, with a small Ray beside it.

The same as `serve run CONFIG`, with what only `ray.init` and the environment can tell: no dashboard, an
object store of moderate size, no usage statistics, and patience with a slow machine.
"""

from __future__ import annotations

import argparse
import os
import signal
from pathlib import Path

ROOT = Path(__file__).parent.parent
OBJECT_STORE_BYTES = 400 * 2**20


def main() -> None:
    """Start Ray and the applications of the configuration file, and end both on Ctrl-C."""
    parser = argparse.ArgumentParser(prog="python -m deployments", description=__doc__)
    parser.add_argument("config", nargs="?", type=Path, default=ROOT / "serve_config.yaml")
    config = parser.parse_args().config.resolve()
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # A busy or cold machine needs more than Serve's three times 5 s to start the proxy, and Serve then gives up.
    os.environ.setdefault("RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S", "20")
    os.chdir(ROOT)

    import ray
    from ray.serve.scripts import cli

    ray.init(
        address="local",
        namespace="serve",
        include_dashboard=False,
        object_store_memory=OBJECT_STORE_BYTES,
    )
    for ending in (signal.SIGINT, signal.SIGTERM):  # a service manager's stop is as good as Ctrl-C
        signal.signal(ending, signal.default_int_handler)
    cli(["run", "--app-dir", str(ROOT), str(config)])


if __name__ == "__main__":
    main()
