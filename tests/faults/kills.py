"""Replicas and the proxy killed in turn, under clients that check every answer."""

from __future__ import annotations

import hashlib
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import cv2
import httpx
import numpy as np
import psutil

from medinterp.api.schema import MapsModel
from tests.faults.client import Client, Tally
from tests.faults.films import film
from tests.faults.service import service
from tests.faults.table import print_table
from tests.served import Served

CLIENTS = 8
CALM_S = 6.0
"""Between one part that is healthy again and the next blow."""
VICTIMS = {
    "api": "ServeReplica:api:api",
    "generation": "ServeReplica:api:generation",
    "relevancy": "ServeReplica:api:relevancy",
    "rendering": "ServeReplica:api:rendering",
    "page": "ServeReplica:ui:ui",
    "proxy": "ProxyActor",
    "Serve's controller": "ServeController",
}
ALIKE = 0.98
"""Correlation of two answers about one film; of different films it is lower, and the reports are of other lengths."""
KINDS = {"report": 0.25, "overlay": 0.25, "maps": 0.15, "region": 0.15, "page": 0.1, "text": 0.1}
"""What is asked about a report, and how often; `text` asks the model."""
NEW = 0.15
"""How often a film is read anew."""


@dataclass
class Known:
    """What is right for a film: learned on the quiet service, and the same ever after."""

    sha256: str
    text: str
    answers: dict[str, np.ndarray] = field(default_factory=dict)


def kills(requests: int) -> None:
    """Print the tables."""
    with service() as served:
        known = [learn(served.url, number) for number in range(CLIENTS)]
        with ThreadPoolExecutor(CLIENTS) as pool:
            visits = [
                pool.submit(visit, served.url, number, right, requests) for number, right in enumerate(known)
            ]
            blows = [
                (name, *strike(served, pattern), not all(one.done() for one in visits))
                for name, pattern in VICTIMS.items()
            ]
        total = Tally()
        for one in visits:
            total.add(one.result())
        print_table(
            f"Killed (kill -9) in turn, under {CLIENTS} clients",
            ("killed", "healthy again", "connections refused for", "clients were busy"),
            (
                (name, f"{again:.1f} s", f"{refused:.1f} s", "yes" if busy else "no")
                for name, again, refused, busy in blows
            ),
        )
        kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(total.kinds.items())) or "none"
        print_table(
            "What the clients saw",
            ("requests", "answered rightly", "wrong or lost", "tried again after", "longest wait"),
            [(total.asked, total.asked - len(total.wrong), len(total.wrong), kinds, f"{total.slowest:.1f} s")],
        )
        for flaw in total.wrong[:10]:
            print(flaw)
        if total.wrong:
            raise AssertionError("not every request was answered rightly")


def learn(url: str, number: int) -> Known:
    """Every kind of answer about a film, once."""
    client = Client(url)
    made = read(client, number)
    known = Known(hashlib.sha256(film(number)).hexdigest(), made["report"]["text"])
    for kind in KINDS:
        known.answers[kind] = asked(client, kind, made["id"])
    client.ask("DELETE", f"/v1/reports/{made['id']}")
    client.close()
    return known


def read(client: Client, number: int) -> dict[str, Any]:
    """A film read anew."""
    answer = client.ask("POST", "/v1/reports", files={"image": ("film.png", film(number), "image/png")})
    if answer.status_code != 201:
        raise AssertionError(f"POST: {answer.status_code} {answer.text[:200]}")
    made: dict[str, Any] = answer.json()
    return made


def asked(client: Client, kind: str, report_id: str) -> np.ndarray:
    """One answer about a report as numbers; those of a reading in other company differ a little in their last digits.

    Raises AssertionError for an answer that is none.
    """
    place = f"/v1/reports/{report_id}"
    calls: dict[str, tuple[str, str, dict[str, Any]]] = {
        "report": ("GET", place, {}),
        "overlay": ("GET", f"{place}/words/2/overlay.png", {"params": {"size": 256}}),
        "maps": ("GET", f"{place}/maps", {}),
        "region": ("POST", f"{place}/region", {"json": {"box": [0.1, 0.5, 0.45, 0.9]}}),
        "text": ("POST", f"{place}/text", {"json": {"words": "1"}}),
        "page": ("GET", "/", {}),
    }
    method, path, options = calls[kind]
    answer = client.ask(method, path, **options)
    if answer.status_code != 200:
        raise AssertionError(f"{kind}: {answer.status_code} {answer.text[:200]}")
    if kind == "overlay":
        picture = cv2.imdecode(np.frombuffer(answer.content, np.uint8), cv2.IMREAD_COLOR)
        return np.asarray(picture, np.float64).ravel()
    if kind == "page":
        return np.frombuffer(answer.content, np.uint8).astype(np.float64)
    if kind == "report":
        return np.frombuffer(answer.json()["report"]["text"].encode(), np.uint8).astype(np.float64)
    if kind == "maps":
        return np.asarray(MapsModel.model_validate_json(answer.content).tokens, np.float64).ravel()
    if kind == "region":
        words = sorted((word["index"], word["value"]) for word in answer.json()["words"])
        return np.array([value for _, value in words])
    return np.array(numbers(answer.json()))


def alike(kind: str, told: np.ndarray, right: np.ndarray) -> bool:
    """Whether an answer is the right one: of maps and pictures, but for rounding."""
    if kind in ("report", "page"):
        return np.array_equal(told, right)
    return told.shape == right.shape and float(np.corrcoef(told, right)[0, 1]) > ALIKE


def numbers(value: Any) -> list[float]:
    """All of them in a JSON value."""
    if isinstance(value, dict):
        return [number for one in value.values() for number in numbers(one)]
    if isinstance(value, list):
        return [number for one in value for number in numbers(one)]
    return [float(value)] if isinstance(value, int | float) and not isinstance(value, bool) else []


def visit(url: str, number: int, known: Known, requests: int) -> Tally:
    """One client: reads its film, asks about it, forgets it, and begins again, at least until its number is full."""
    client, random = Client(url), np.random.default_rng(number)
    wrong = client.tally.wrong
    report: str | None = None
    try:
        while client.tally.asked < requests:
            if report is None or random.random() < NEW:
                if report is not None and client.ask("DELETE", f"/v1/reports/{report}").status_code not in (204, 404):
                    wrong.append("DELETE did not delete")
                made = read(client, number)
                report = made["id"]
                if (made["provenance"]["film_sha256"], made["report"]["text"]) != ([known.sha256], known.text):
                    wrong.append(f"client {number} got another report than its own")
                continue
            kind = str(random.choice(list(KINDS), p=list(KINDS.values())))
            if not alike(kind, asked(client, kind, report), known.answers[kind]):
                wrong.append(f"client {number}: another {kind} than its own")
    except Exception as error:
        wrong.append(f"client {number} stopped: {type(error).__name__}: {error}")
    client.close()
    return client.tally


def strike(served: Served, pattern: str) -> tuple[float, float]:
    """Kill the processes of that name. Returns seconds until all is healthy again, and those of refused connections."""
    time.sleep(CALM_S)
    victims = served.named(pattern)
    started, refused = time.monotonic(), 0.0
    for victim in victims:
        victim.kill()
    psutil.wait_procs(victims, timeout=10)
    gone = {victim.pid for victim in victims}
    while time.monotonic() - started < 120:
        time.sleep(0.2)
        now = time.monotonic() - started
        alive = {process.pid for process in served.named(pattern)} - gone
        try:
            with httpx.Client(base_url=served.url, timeout=5) as probe:
                codes = [probe.get(path).status_code for path in ("/v1/readyz", "/")]
        except httpx.ConnectError:
            refused = now
            continue
        except httpx.TransportError:
            continue
        if alive and codes == [200, 200]:
            return time.monotonic() - started, refused
    raise AssertionError(f"{pattern}: not healthy again within 120 s")
