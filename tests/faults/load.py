"""Many clients at once, each of which sends its next film as soon as it has its report."""

from __future__ import annotations

import threading
import time
from typing import Any

from tests.faults.client import Client, Tally
from tests.faults.films import film
from tests.faults.service import service
from tests.faults.table import percentile, print_table

HEAD = (
    "clients",
    "callers",
    "reports a second",
    "median",
    "p95",
    "longest",
    "refusals",
    "got in after Retry-After",
)


def load(seconds: float, counts: tuple[int, ...] = (1, 8, 32, 64)) -> None:
    """Print the table."""

    def believe(config: dict[str, Any]) -> None:
        """What this machine says of who is asking, as of a proxy's."""
        config["applications"][0]["args"]["access"]["trusted_proxies"] = ["127.0.0.1/32"]

    with service(believe) as served:
        for number in range(max(counts)):
            film(number)
        runs = [(count, apart) for count in counts for apart in ((False, True) if count > 8 else (False,))]
        rows = (row(served.url, count, seconds, apart) for count, apart in runs)
        print_table(f"Load: {seconds:g} s each, one film a client, reports of about 100 tokens", HEAD, rows)


def row(url: str, count: int, seconds: float, apart: bool) -> tuple[object, ...]:
    """One line. apart: whether every client is a caller of its own."""
    end = time.monotonic() + seconds
    tallies = [Tally() for _ in range(count)]

    def go(number: int) -> None:
        client = Client(url, f"10.0.0.{number}" if apart else None)
        data = film(number)
        while time.monotonic() < end:
            answer = client.ask("POST", "/v1/reports", files={"image": ("film.png", data, "image/png")})
            if answer.status_code != 201:
                client.tally.wrong.append(f"{answer.status_code}: {answer.text[:200]}")
        tallies[number] = client.tally
        client.close()

    threads = [threading.Thread(target=go, args=(number,)) for number in range(count)]
    started = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    took = time.monotonic() - started
    total = Tally()
    for tally in tallies:
        total.add(tally)
    if total.wrong:
        raise AssertionError(f"{count} clients: {total.wrong[:5]}")
    refusals = total.refused
    tried = total.got_in + total.waited
    share = f"{total.got_in / tried:.1%} of {tried}" if tried else ""
    return (
        count,
        count if apart else 1,
        f"{len(total.seconds) / took:.1f}",
        percentile(total.seconds, 50),
        percentile(total.seconds, 95),
        percentile(total.seconds, 100),
        refusals,
        share,
    )
