"""The store that goes away, and the store that is full."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from tests.faults.client import Client, Tally
from tests.faults.films import film
from tests.faults.service import service
from tests.faults.table import print_table
from tests.served import free_port

CLIENTS = 4
GONE_S = 5.0
DISK_BYTES = 24 * 2**20


def outages() -> None:
    """Print the tables."""
    if shutil.which("redis-server") is None:
        print("\nRedis: skipped, redis-server is not installed")
    else:
        redis_gone()
    with tempfile.TemporaryDirectory(prefix="medinterp-disk-") as directory:
        try:
            with mounted(Path(directory)):
                disk_full(Path(directory))
        except (OSError, subprocess.CalledProcessError) as error:
            print(f"\nFull disk: skipped, a small tmpfs cannot be mounted here ({error})")


class Redis:
    """A server that keeps what it was given."""

    def __init__(self, directory: Path) -> None:
        self.port = free_port()
        self._command = [
            "redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(directory), "--save", "",
            "--appendonly", "yes", "--appendfsync", "always", "--maxmemory-policy", "noeviction",
        ]  # fmt: skip
        self.start()

    def start(self) -> None:
        """Run it."""
        self._process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL)

    def kill(self) -> None:
        """As a machine that fails."""
        self._process.kill()
        self._process.wait()


def redis_gone() -> None:
    """Kill it under clients, and bring it back."""
    with tempfile.TemporaryDirectory(prefix="medinterp-redis-") as directory:
        redis = Redis(Path(directory))

        def change(config: dict[str, Any]) -> None:
            config["applications"][0]["args"]["store"] = {
                "kind": "redis", "url": f"redis://127.0.0.1:{redis.port}/0", "lifetime_s": 3600,
            }  # fmt: skip

        try:
            with service(change) as served:
                stop = threading.Event()
                with ThreadPoolExecutor(CLIENTS) as pool:
                    visits = [pool.submit(visit, served.url, number, stop) for number in range(CLIENTS)]
                    time.sleep(5)
                    redis.kill()
                    time.sleep(GONE_S)
                    redis.start()
                    started = time.monotonic()
                    while httpx.get(f"{served.url}/v1/readyz", timeout=30).status_code != 200:
                        time.sleep(0.1)
                    again = time.monotonic() - started
                    time.sleep(5)
                    stop.set()
        finally:
            redis.kill()
    total = Tally()
    for one in visits:
        total.add(one.result())
    kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(total.kinds.items())) or "none"
    print_table(
        f"Redis killed under {CLIENTS} clients and back after {GONE_S:g} s",
        ("requests", "answered rightly", "wrong or lost", "tried again after", "ready again after its return"),
        [(total.asked, total.asked - len(total.wrong), len(total.wrong), kinds, f"{again:.1f} s")],
    )
    for flaw in total.wrong[:10]:
        print(flaw)


def visit(url: str, number: int, stop: threading.Event) -> Tally:
    """A client that reads its film, and then looks at its reports, all of which have to be there."""
    client, texts = Client(url), dict[str, str]()
    while not stop.is_set():
        answer = client.ask("POST", "/v1/reports", files={"image": ("film.png", film(number), "image/png")})
        if answer.status_code != 201:
            client.tally.wrong.append(f"POST {answer.status_code}: {answer.text[:200]}")
            continue
        texts[answer.json()["id"]] = answer.json()["report"]["text"]
        for report, text in list(texts.items())[-5:]:
            kept = client.ask("GET", f"/v1/reports/{report}")
            if kept.status_code != 200 or kept.json()["report"]["text"] != text:
                client.tally.wrong.append(f"GET {kept.status_code}: {kept.text[:200]}")
    client.close()
    return client.tally


@contextmanager
def mounted(directory: Path) -> Iterator[None]:
    """A small disk, for its owner alone."""
    options = f"size={DISK_BYTES},mode=0700"
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(directory)], check=True, capture_output=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(directory)], check=True)


def disk_full(directory: Path) -> None:
    """Fill the disk that the store is on, and see what can still be done."""

    def change(config: dict[str, Any]) -> None:
        config["applications"][0]["args"]["store"]["path"] = str(directory / "reports.sqlite3")

    with service(change) as served:
        client, ids, rows = Client(served.url), [], []
        answer = client.ask("POST", "/v1/reports", files={"image": ("film.png", film(0), "image/png")})
        ids.append(answer.json()["id"])
        junk = directory / "junk"
        with junk.open("wb") as file:
            try:
                while True:
                    file.write(b"\0" * 4096)
                    file.flush()
            except OSError:
                pass
        http = httpx.Client(base_url=served.url, timeout=60)
        started = time.monotonic()
        full = http.post("/v1/reports", files={"image": ("film.png", film(1), "image/png")})
        rows.append(("a new report", full.status_code, f"{time.monotonic() - started:.1f} s"))
        for what, method, path in (
            ("the service's own word (`/readyz`)", "GET", "/v1/readyz"),
            ("a stored report", "GET", f"/v1/reports/{ids[0]}"),
            ("deleting it", "DELETE", f"/v1/reports/{ids[0]}"),
            ("the deleted report", "GET", f"/v1/reports/{ids[0]}"),
        ):
            started = time.monotonic()
            code = http.request(method, path).status_code
            rows.append((what, code, f"{time.monotonic() - started:.1f} s"))
        junk.unlink()
        started = time.monotonic()
        mended = http.post("/v1/reports", files={"image": ("film.png", film(1), "image/png")})
        rows.append(("a new report, once there is room", mended.status_code, f"{time.monotonic() - started:.1f} s"))
    print_table("The store's disk is full (a tmpfs of 24 MiB)", ("asked for", "status", "within"), rows)
