"""A Redis server of the tests' own."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def redis_server(
    directory: Path, *options: str, password: str = "secret", tls: bool = False, port: int = 0
) -> Iterator[int]:
    """Run a server on 127.0.0.1 that keeps nothing on the disk, and tell its port; skip where none is installed."""
    binary = shutil.which("redis-server")
    if binary is None:
        if os.environ.get("MEDINTERP_REQUIRE_ALL") == "1":
            pytest.fail("redis-server is not installed, and MEDINTERP_REQUIRE_ALL=1")
        pytest.skip("redis-server is not installed")
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(("127.0.0.1", port))
        port = probe.getsockname()[1]
    ports = ["--port", "0", "--tls-port", str(port)] if tls else ["--port", str(port)]
    fixed = ["--bind", "127.0.0.1", "--save", "", "--dir", str(directory), "--requirepass", password]
    server = subprocess.Popen([binary, *ports, *fixed, *options], stdout=subprocess.DEVNULL)
    try:
        for _ in range(200):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.05)
        yield port
    finally:
        server.terminate()
        server.wait()
