"""What the service takes, and what it leaves behind."""

from __future__ import annotations

import signal
import time
from contextlib import suppress

import psutil

from tests.faults.client import Client
from tests.faults.films import film
from tests.faults.service import service
from tests.faults.table import print_table
from tests.served import Served


def footprint() -> None:
    """Print the table."""
    print_table(
        "Footprint",
        ("ended by", "ready after", "memory of all (shared pages once)", "ended within", "left behind"),
        (row(how) for how in (signal.SIGINT, signal.SIGTERM)),
    )


def row(how: signal.Signals) -> tuple[object, ...]:
    """One start and end, with some work in between."""
    with service() as served:
        client = Client(served.url)
        for number in range(8):
            answer = client.ask("POST", "/v1/reports", files={"image": ("film.png", film(number), "image/png")})
            client.ask("GET", f"/v1/reports/{answer.json()['id']}/words/0/overlay.png")
        client.close()
        total = sum(map(pss, served.processes()))
        started = time.monotonic()
        served.tell(how)
        psutil.wait_procs(served.processes(), timeout=60)
        took, left = time.monotonic() - started, len(served.processes())
    return how.name, f"{served.ready_s:.0f} s", f"{total / 2**30:.2f} GiB", f"{took:.1f} s", f"{left} processes"


def pss(process: psutil.Process) -> int:
    """Bytes, of shared pages its part; 0 once it has ended."""
    with suppress(psutil.NoSuchProcess):
        return int(process.memory_full_info().pss)
    return 0


def named(served: Served) -> dict[str, psutil.Process]:
    """The service's lasting processes by what they are."""
    parts = {
        "api": "ServeReplica:api:api",
        "generation": "ServeReplica:api:generation",
        "relevancy": "ServeReplica:api:relevancy",
        "rendering": "ServeReplica:api:rendering",
        "page": "ServeReplica:ui:ui",
        "proxy": "ProxyActor",
        "controller": "ServeController",
        "raylet": "core/src/ray/raylet/raylet",
        "GCS": "gcs_server",
        "python -m deployments": "-m deployments",
    }
    return {name: found[0] for name, pattern in parts.items() if (found := served.named(pattern))}
