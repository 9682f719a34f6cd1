"""The whole service as a user starts it: a process of its own, spoken to over HTTP, ended by Ctrl-C."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import httpx
import psutil
import yaml

ROOT = Path(__file__).parent.parent
READY_S = 120.0


def free_port() -> int:
    """A port that nobody listens on just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def small_config(model: str, directory: Path, port: int) -> dict[str, Any]:
    """serve_config.yaml with another model, store, port, and a shorter queue."""
    config: dict[str, Any] = yaml.safe_load((ROOT / "serve_config.yaml").read_text())
    config["http_options"]["port"] = port
    api = config["applications"][0]
    api["args"]["model"]["name"] = model
    api["args"]["store"]["path"] = str(directory / "store" / "reports.sqlite3")
    generation = next(block for block in api["deployments"] if block["name"] == "generation")
    generation["max_ongoing_requests"] = 4
    generation["max_queued_requests"] = 4
    return config


class Served:
    """A running service: `python -m deployments`, with a Ray of its own in a directory of its own."""

    def __init__(self, model: str) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="medinterp-"))  # short: Ray's sockets live in it
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        config = self.directory / "serve.yaml"
        config.write_text(yaml.safe_dump(small_config(model, self.directory, port)))
        self.log = self.directory / "log"
        environment = {**os.environ, "RAY_TMPDIR": str(self.directory), "OMP_NUM_THREADS": "1"}
        environment.pop("RAY_ADDRESS", None)
        self.started = time.monotonic()
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "deployments", str(config)],
                cwd=ROOT,
                env=environment,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.client = httpx.Client(base_url=self.url, timeout=120)
        try:
            self.wait_until_ready()
        except BaseException:
            self._kill_all()
            raise
        self.ready_s = time.monotonic() - self.started

    def wait_until_ready(self, within_s: float = READY_S) -> None:
        """Return when the API is ready and the page is there."""
        deadline = time.monotonic() + within_s
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                break
            try:
                if all(self.client.get(path).status_code == 200 for path in ("/v1/readyz", "/")):
                    return
            except httpx.TransportError:
                pass
            time.sleep(0.5)
        raise AssertionError(f"not ready within {within_s} s:\n{self.log.read_text()[-5000:]}")

    def processes(self) -> list[psutil.Process]:
        """The service's process and everything that it started."""
        own = psutil.Process(self._process.pid)
        return [own, *own.children(recursive=True)]

    def replica(self, name: str) -> psutil.Process:
        """The process of a deployment's only replica, e.g. "api:generation"."""
        (found,) = [p for p in self.processes() if f"ServeReplica:{name}" in " ".join(p.cmdline())]
        return found

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """Press Ctrl-C, or send another signal; raises AssertionError when it does not end or leaves something."""
        self.client.close()
        processes = self.processes()
        self._process.send_signal(how)
        try:
            code = self._process.wait(60)
        except subprocess.TimeoutExpired:
            self._kill_all()
            raise AssertionError(f"{how.name} did not end the service within 60 s") from None
        _, left = psutil.wait_procs(processes, timeout=10)
        names = [process.name() for process in left]
        for process in left:
            process.kill()
        if code != 0 or names:
            raise AssertionError(f"ended with {code}, left behind: {names}")
        shutil.rmtree(self.directory)

    def _kill_all(self) -> None:
        for process in reversed(self.processes()):
            process.kill()
