"""A client as the README asks one to be: it waits as long as it is told, and tries again."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import httpx

TRIES = 60
LOST_S = 0.5
"""Before the next try where the connection broke and nobody could say when to come."""


@dataclass
class Tally:
    """What befell one client, or all of them."""

    asked: int = 0
    refused: int = 0
    waited: int = 0
    got_in: int = 0
    broken: int = 0
    again: int = 0
    wrong: list[str] = field(default_factory=list)
    kinds: Counter[str] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)
    slowest: float = 0.0

    def add(self, other: Tally) -> None:
        """Take in what another one had."""
        for name in ("asked", "refused", "waited", "got_in", "broken", "again"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.wrong += other.wrong
        self.kinds += other.kinds
        self.seconds += other.seconds
        self.slowest = max(self.slowest, other.slowest)


class Client:
    """Asks until it is answered. Every error on the way has to be one that says that it may be tried again."""

    def __init__(self, url: str, caller: str | None = None) -> None:
        """caller: an address that a proxy would name, where each client is to be another caller."""
        headers = {} if caller is None else {"X-Forwarded-For": caller}
        self._http = httpx.Client(base_url=url, timeout=120, headers=headers)
        self.tally = Tally()

    def ask(self, method: str, path: str, **options: Any) -> httpx.Response:
        """The final answer: a success, or an error that waiting does not mend."""
        tally, started, told = self.tally, time.monotonic(), False
        tally.asked += 1
        for _ in range(TRIES):
            try:
                answer = self._http.request(method, path, **options)
            except httpx.TransportError as error:
                tally.broken += 1
                tally.kinds[type(error).__name__] += 1
                told = False
                time.sleep(LOST_S)
                tally.again += 1
                continue
            if answer.status_code not in (429, 503):
                tally.got_in += told
                tally.seconds.append(time.monotonic() - started)
                tally.slowest = max(tally.slowest, tally.seconds[-1])
                return answer
            self._refused(answer)
            tally.waited += told
            told = answer.json().get("type") == "urn:medinterp:problem:service-busy"
            time.sleep(float(answer.headers.get("retry-after", 1)))
            tally.again += 1
        tally.wrong.append(f"{method} {path}: no answer in {TRIES} tries")
        return answer

    def _refused(self, answer: httpx.Response) -> None:
        """A refusal has to be a problem document with a request id and a time."""
        self.tally.refused += 1
        kind = answer.headers.get("content-type", "")
        if kind != "application/problem+json":
            self.tally.wrong.append(f"{answer.status_code} as {kind}")
            self.tally.kinds["bare"] += 1
            return
        self.tally.kinds[answer.json()["type"].rpartition(":")[2]] += 1
        if "retry-after" not in answer.headers or "x-request-id" not in answer.headers:
            self.tally.wrong.append(f"{answer.status_code} without a time or an id")

    def close(self) -> None:
        """Close the connections."""
        self._http.close()
