"""The whole service as a user starts it: a process of its own, spoken to over HTTP, ended by Ctrl-C."""

from __future__ import annotations

import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import psutil
import yaml

ROOT = Path(__file__).parent.parent
READY_S = 120.0


def free_port() -> int:
    """A port that nobody listens on just now, and that the system gives to nobody who asks for any."""
    while True:
        port = random.randrange(20_000, 30_000)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def small_config(model: str, directory: Path, port: int) -> dict[str, Any]:
    """serve_config.yaml with another model, store, port, and a shorter queue."""
    config: dict[str, Any] = yaml.safe_load((ROOT / "serve_config.yaml").read_text())
    config["http_options"]["port"] = port
    api = config["applications"][0]
    api["args"]["model"]["name"] = model
    api["args"]["store"]["path"] = str(directory / "store" / "reports.sqlite3")
    api["deployments"][0]["user_config"]["queue"]["reports"] = 8
    return config


class Served:
    """A running service: `python -m deployments`, with a Ray of its own in a directory of its own."""

    def __init__(
        self,
        model: str,
        config: Callable[[str, Path, int], dict[str, Any]] = small_config,
        environment: dict[str, str] | None = None,
    ) -> None:
        self.other = ""
        """Where the model lies that requests choose by this name."""
        self.directory = Path(tempfile.mkdtemp(prefix="medinterp-"))  # short: Ray's sockets live in it
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        path = self.directory / "serve.yaml"
        path.write_text(yaml.safe_dump(config(model, self.directory, port)))
        self.log = self.directory / "log"
        self.environment = {
            **os.environ,
            "RAY_TMPDIR": str(self.directory),
            "OMP_NUM_THREADS": "1",
            **(environment or {}),
        }
        self.environment.pop("RAY_ADDRESS", None)
        self.started = time.monotonic()
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "deployments", str(path)],
                cwd=ROOT,
                env=self.environment,
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
        """The service's process and everything that it started: who is of its session, orphans too."""
        found = []
        for pid in psutil.pids():
            with suppress(ProcessLookupError, psutil.NoSuchProcess):
                if os.getsid(pid) == self._process.pid:
                    found.append(psutil.Process(pid))
        return found

    def replica(self, name: str) -> psutil.Process:
        """The process of a deployment's only replica, e.g. "api:generation"."""
        (found,) = self.named(f"ServeReplica:{name}")
        return found

    def named(self, name: str) -> list[psutil.Process]:
        """The processes whose command has this name in it, e.g. "ProxyActor"."""
        found = []
        for process in self.processes():
            with suppress(psutil.NoSuchProcess, psutil.ZombieProcess):
                if name in " ".join(process.cmdline()):
                    found.append(process)
        return found

    def tell(self, how: signal.Signals) -> None:
        """Press Ctrl-C, which everybody in the terminal's group gets, or send another signal to the process alone."""
        if how is signal.SIGINT:
            os.killpg(self._process.pid, how)
        else:
            self._process.send_signal(how)

    def ended(self, within_s: float) -> int:
        """The status of the service's process once it has ended; subprocess.TimeoutExpired where it does not."""
        return self._process.wait(within_s)

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """End it; raises AssertionError when it does not end or leaves something."""
        self.client.close()
        processes = self.processes()
        if self._process.poll() is None:
            self.tell(how)
        try:
            code = self.ended(60)
        except subprocess.TimeoutExpired:
            self._kill_all()
            raise AssertionError(f"{how.name} did not end the service within 60 s") from None
        psutil.wait_procs(processes, timeout=10)
        left = self.processes()
        names = [process.name() for process in left]
        for process in left:
            process.kill()
        if code != 0 or names:
            raise AssertionError(f"ended with {code}, left behind: {names}")
        shutil.rmtree(self.directory)

    def _kill_all(self) -> None:
        for process in reversed(self.processes()):
            process.kill()
