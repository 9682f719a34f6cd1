"""`python -m deployments [CONFIG]`: the service on one machine, with a small Ray beside it.

The same as `serve run CONFIG`, with what only `ray.init` and the environment can tell: no dashboard, an
object store of moderate size, no usage statistics, and patience with a slow machine.
"""

from __future__ import annotations

import argparse
import os
import signal
import tempfile
from pathlib import Path

import yaml  # type: ignore[import-untyped]
from pydantic import ValidationError

from medinterp.errors import MedInterpError

ROOT = Path(__file__).parent.parent
OBJECT_STORE_BYTES = 400 * 2**20


def main() -> None:
    """Start Ray and the applications of the configuration file, and end both on Ctrl-C."""
    parser = argparse.ArgumentParser(prog="python -m deployments", description=__doc__)
    parser.add_argument("config", nargs="?", type=Path, default=ROOT / "serve_config.yaml")
    parser.add_argument(
        "--insecure", action="store_true", help="serve without keys on an address that others can reach"
    )
    options = parser.parse_args()
    config = options.config.resolve()
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # A busy or cold machine needs more than Serve's three times 5 s to start the proxy, and Serve then gives up.
    os.environ.setdefault("RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S", "20")
    # The server itself believes X-Forwarded-For of this machine: access.trusted_proxies alone says who is believed.
    os.environ.setdefault("FORWARDED_ALLOW_IPS", "none")
    # Request ids and hints of clients are checked before Serve's own middleware reads them.
    os.environ.setdefault("RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH", "deployments.edge:middlewares")
    os.chdir(ROOT)

    from deployments.listening import checked

    try:
        content = checked(yaml.safe_load(config.read_text(encoding="utf-8")), insecure=options.insecure)
    except (MedInterpError, ValidationError) as error:
        parser.exit(2, f"medinterp: {error}\n")
    if options.insecure:
        with tempfile.NamedTemporaryFile("w", suffix=".yaml", delete=False) as changed:
            yaml.safe_dump(content, changed)
        config = Path(changed.name)

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
