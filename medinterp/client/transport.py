"""Between a call and httpx: addresses, headers, which failures are tried again and when, and what is never logged."""

from __future__ import annotations

import logging
import os
import random
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import httpx

from medinterp.client.calls import EVENTS, Answer, Call
from medinterp.client.errors import REPORT_ID, NotUnderstoodError, UnreachableError, problem_from
from medinterp.errors import MedInterpError

logger = logging.getLogger("medinterp.client")

T = TypeVar("T")
API_KEY_VARIABLE = "MEDINTERP_API_KEY"
DEFAULT_URL = "http://127.0.0.1:8000"
CONNECT_S = 5.0
FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 10.0
BUSY = frozenset({429, 503})
"""Nothing was done for such a request: it may be sent again whatever it is."""
RUNNING = 409
"""With Retry-After: the same request, by its Idempotency-Key, is still being answered."""

NO_EVENTS = "the answer is no event stream; is this the service's address?"


@dataclass(frozen=True)
class Settings:
    """Where the service is, and how patient a call is; see `Client`."""

    url: str
    api_key: str | None = field(repr=False)
    timeout_s: float
    patience_s: float

    @classmethod
    def of(cls, url: str, api_key: str | None, timeout_s: float, patience_s: float) -> Settings:
        """Check them. Raises ValueError, which quotes no key."""
        address = httpx.URL(url)
        if address.scheme not in ("http", "https") or not address.host:
            raise ValueError("the service's address is written http://HOST:PORT or https://HOST")
        if address.userinfo:
            raise ValueError("the address holds a name or password; a key goes into api_key")
        root = url.rstrip("/")
        key = api_key if api_key is not None else os.environ.get(API_KEY_VARIABLE) or None
        if key is not None and not (key.isascii() and key.isprintable() and " " not in key):
            raise ValueError("the API key holds characters that no key has; was it read with a line feed?")
        return cls(root if root.endswith("/v1") else f"{root}/v1", key, timeout_s, patience_s)

    @property
    def timeout(self) -> httpx.Timeout:
        """Of each step of a request."""
        return httpx.Timeout(self.timeout_s, connect=min(CONNECT_S, self.timeout_s))

    @property
    def headers(self) -> dict[str, str]:
        """Of every request."""
        from medinterp import __version__

        told = {"User-Agent": f"medinterp/{__version__}"}
        return told if self.api_key is None else told | {"Authorization": f"Bearer {self.api_key}"}

    def request(self, call: Call[Any], *, events: bool = False) -> dict[str, Any]:
        """What httpx is given."""
        accept = EVENTS if events else call.accept
        asked: dict[str, Any] = {
            "method": call.method,
            "url": f"{self.url}{call.path}",
            "params": {name: _text(value) for name, value in call.query.items()},
            "headers": {
                "Accept": accept,
                **({} if call.key is None else {"Idempotency-Key": call.key}),
                **({"Prefer": "respond-async"} if call.as_job else {}),
            },
        }
        if call.json is not None:
            asked["json"] = call.json
        if call.films:
            asked["files"] = [(name, ("film", data, "application/octet-stream")) for name, data in call.films]
            asked["data"] = {name: _field(value) for name, value in call.form.items()}
        return asked


class Attempts:
    """One call's attempts, until its patience ends.

    What is sent again: whatever never arrived (the connection was refused), or was turned away (429, 503); and what
    broke off on the way, for all calls can be repeated: GET and DELETE, questions about a report that is kept, and
    POST /reports by its Idempotency-Key. What took too long is not.
    """

    def __init__(self, call: Call[Any], patience_s: float) -> None:
        self._call = call
        self._until = time.monotonic() + patience_s
        self._count = 0

    def failed(self, error: httpx.TransportError) -> float:
        """Seconds to wait before the next attempt. Raises UnreachableError when there is none."""
        arrived = not isinstance(error, httpx.ConnectError | httpx.ConnectTimeout | httpx.PoolTimeout)
        kind = type(error).__name__
        slow = isinstance(error, httpx.TimeoutException) and arrived
        text = "the service did not answer in time" if slow else "the service cannot be reached"
        broken = UnreachableError(f"{text} ({kind})")
        if slow or isinstance(error, httpx.UnsupportedProtocol | httpx.LocalProtocolError | httpx.ProxyError):
            raise broken
        return self._pause(None, broken)

    def answered(self, response: httpx.Response) -> float | None:
        """The same for an answer whose body was read; None for one that is no error. Raises ProblemError."""
        if response.is_success:
            return None
        if response.is_redirect:
            raise NotUnderstoodError(f"the service answers with HTTP {response.status_code}: no redirect is followed")
        if self._count and self._call.method == "DELETE" and response.status_code == 404:
            return None  # the first attempt's answer was lost
        problem = problem_from(response.status_code, response.headers, response.content)
        again = response.status_code in BUSY or (
            response.status_code == RUNNING and self._call.key is not None and problem.retry_after_s is not None
        )
        if not again:
            raise problem
        return self._pause(problem.retry_after_s, problem)

    def _pause(self, told_s: int | None, problem: MedInterpError) -> float:
        backoff = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2**self._count)
        # Whoever was told when to come comes then, and a little later than all others that were told the same.
        pause = backoff * random.uniform(0.5, 1.0) if told_s is None else told_s + random.uniform(0.0, 0.25)
        if time.monotonic() + pause > self._until:
            raise problem
        self._count += 1
        logger.info("%s %s: attempt %d after %.1f s", self._call.method, type(problem).__name__, self._count + 1, pause)
        return pause


def pause_after(attempts: Attempts, error: httpx.TransportError) -> float:
    """As `failed`, without httpx's error in the traceback: it holds the request, and with it the film."""
    try:
        return attempts.failed(error)
    except UnreachableError as problem:
        raise problem from None


def begins(response: httpx.Response) -> bool:
    """Whether an event stream begins."""
    return response.is_success and response.headers.get("content-type", "").startswith(EVENTS)


def answer_of(response: httpx.Response) -> Answer:
    """The answer's body and media type."""
    return Answer(response.content, response.headers.get("content-type", "").partition(";")[0].strip().lower())


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _field(value: Any) -> Any:
    """A form's field; several of one name for a list."""
    return _text(value) if isinstance(value, str | bool | int | float) else [_text(one) for one in value]


class ShortIds(logging.Filter):
    """Cuts reports' ids in what httpx logs of addresses and headers: whoever has an id can read the report."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Always true."""
        message = record.getMessage()
        short = REPORT_ID.sub(r"\1...", message)
        if short != message:
            record.msg, record.args = short, ()
        return True


_SHORT_IDS = ShortIds()
_LOGGERS = ("httpx", *(f"httpcore.{part}" for part in ("connection", "http11", "http2", "proxy", "socks")))


def keep_ids_out_of_logs() -> None:
    """Of httpx's own loggers, which write whole addresses at INFO; once a process."""
    for name in _LOGGERS:
        logging.getLogger(name).addFilter(_SHORT_IDS)


def http_options(settings: Settings, proxy: str | None, verify: Any) -> Mapping[str, Any]:
    """What both of httpx's clients are given: films go to the service's address, and nowhere else."""
    return {
        "headers": settings.headers,
        "timeout": settings.timeout,
        "follow_redirects": False,
        "trust_env": False,
        "proxy": proxy,
        "verify": verify,
    }
