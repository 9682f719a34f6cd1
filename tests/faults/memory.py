"""A thousand reports, and whether any process keeps something of them."""

from __future__ import annotations

import threading
from contextlib import suppress

import psutil

from tests.faults.client import Client
from tests.faults.films import film
from tests.faults.footprint import named
from tests.faults.service import service
from tests.faults.table import print_table

CLIENTS = 8
WARM = 0.2
"""Of the reports, those after which caches are full."""


def memory(reports: int) -> None:
    """Print the table."""
    with service() as served:
        processes = named(served)
        send(served.url, int(WARM * reports))
        before = {name: unique(process) for name, process in processes.items()}
        send(served.url, reports - int(WARM * reports))
        after = {name: unique(process) for name, process in processes.items()}
    print_table(
        f"Memory of each process's own (USS), after {int(WARM * reports)} reports and after {reports}",
        ("process", "before", "after", "more"),
        (
            (name, f"{before[name] >> 20} MiB", f"{after[name] >> 20} MiB", f"{after[name] / before[name] - 1:+.1%}")
            for name in processes
        ),
    )


def unique(process: psutil.Process) -> int:
    """Bytes that are this process's alone."""
    with suppress(psutil.NoSuchProcess):
        return int(process.memory_full_info().uss)
    return 1


def send(url: str, reports: int) -> None:
    """Read films, each client its own, look at a word, and forget."""
    numbers, lock = iter(range(reports)), threading.Lock()
    wrong: list[str] = []

    def go(number: int) -> None:
        client = Client(url)
        while True:
            with lock:
                if next(numbers, None) is None:
                    break
            answer = client.ask("POST", "/v1/reports", files={"image": ("film.png", film(number), "image/png")})
            place = f"/v1/reports/{answer.json().get('id')}"
            picture = client.ask("GET", f"{place}/words/0/overlay.png")
            gone = client.ask("DELETE", place)
            if (answer.status_code, picture.status_code, gone.status_code) != (201, 200, 204):
                wrong.append(f"{answer.status_code}, {picture.status_code}, {gone.status_code}")
        client.close()

    threads = [threading.Thread(target=go, args=(number,)) for number in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if wrong:
        raise AssertionError(wrong[:5])
