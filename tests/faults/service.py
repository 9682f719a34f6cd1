"""The service for these runs: serve_config.yaml as it stands, but for its port and store."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from tests.served import ROOT, Served

Change = Callable[[dict[str, Any]], None]


def deployment(config: dict[str, Any], name: str) -> dict[str, Any]:
    """One deployment's block."""
    blocks = (block for application in config["applications"] for block in application["deployments"])
    found: dict[str, Any] = next(block for block in blocks if block["name"] == name)
    return found


@contextmanager
def service(change: Change = lambda _: None, environment: dict[str, str] | None = None) -> Iterator[Served]:
    """Started, and ended by SIGTERM. change: of the configuration."""

    def config(model: str, directory: Path, port: int) -> dict[str, Any]:
        made: dict[str, Any] = yaml.safe_load((ROOT / "serve_config.yaml").read_text())
        made["http_options"]["port"] = port
        arguments = made["applications"][0]["args"]
        arguments["model"]["name"] = model
        arguments["store"]["path"] = str(directory / "store" / "reports.sqlite3")
        change(made)
        return made

    served = Served("phantom", config, environment)
    try:
        yield served
    finally:
        served.stop(signal.SIGTERM)
