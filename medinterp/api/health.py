"""Whether a part of the service is well: found out without making a slow machine ill."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager

from medinterp.api.store import ReportStore
from medinterp.errors import ServiceInterruptedError, StoreError, StoreFullError

LOOK_S = 2.0
"""How long one look waits for an answer; a later look goes on waiting for the same one."""
STORE_AWAY_S = 60.0
"""So long a store may be away: a new replica would not find it either, and once it is back nothing was lost."""
STALLED_S = 300.0
"""Nobody waits for what takes longer (limits.timeout_s): whoever is at it still is stuck."""

Clock = Callable[[], float]


class Probe:
    """Asks something that may fail, or never answer, in a thread of its own; one at a time."""

    def __init__(
        self,
        what: str,
        look: Callable[[], None],
        *,
        patience_s: Callable[[], float],
        forgives: tuple[type[Exception], ...] = (),
        clock: Clock = time.monotonic,
    ) -> None:
        """patience_s: how long there may be no answer, or errors of the kinds that are forgiven; others count at once.

        what: it is, for the error's text.
        """
        self._what, self._look, self._patience_s, self._forgives, self._clock = what, look, patience_s, forgives, clock
        self._asked: Future[None] | None = None
        self._asked_at = 0.0
        self._failing_since: float | None = None

    async def check(self) -> None:
        """Return after LOOK_S at the latest. Raises ServiceInterruptedError for silence, or the look's own error."""
        if self._asked is None:
            self._asked, self._asked_at = Future(), self._clock()
            threading.Thread(target=self._ask, args=(self._asked,), name="health", daemon=True).start()
        done, _ = await asyncio.wait({asyncio.wrap_future(self._asked)}, timeout=LOOK_S)
        now = self._clock()
        if not done:
            if now - self._asked_at > self._patience_s():
                raise ServiceInterruptedError(f"{self._what}: no answer for {now - self._asked_at:.0f} s")
            return
        error, self._asked = self._asked.exception(), None
        if error is None:
            self._failing_since = None
            return
        self._failing_since = self._asked_at if self._failing_since is None else self._failing_since
        if not isinstance(error, self._forgives) or now - self._failing_since > self._patience_s():
            raise error

    def _ask(self, asked: Future[None]) -> None:
        try:
            self._look()
        except Exception as error:
            asked.set_exception(error)
        else:
            asked.set_result(None)


def store_probe(store: ReportStore, clock: Clock = time.monotonic) -> Probe:
    """Of a store, which may be full, and away for STORE_AWAY_S."""

    def look() -> None:
        try:
            store.check()
        except StoreFullError:
            return

    return Probe("the report store", look, patience_s=lambda: STORE_AWAY_S, forgives=(StoreError,), clock=clock)


class UnderWay:
    """Work in threads: none of it may take longer than anybody would wait for it."""

    def __init__(self, what: str, clock: Clock = time.monotonic) -> None:
        """what: is under way, for the error's text."""
        self._what, self._clock = what, clock
        self._lock = threading.Lock()
        self._began: dict[object, float] = {}

    @contextmanager
    def one(self) -> Iterator[None]:
        """Around each."""
        key = object()
        with self._lock:
            self._began[key] = self._clock()
        try:
            yield
        finally:
            with self._lock:
                del self._began[key]

    def check(self) -> None:
        """Raise ServiceInterruptedError when one is stuck."""
        with self._lock:
            oldest = min(self._began.values(), default=None)
        if oldest is not None and self._clock() - oldest > STALLED_S:
            raise ServiceInterruptedError(f"{self._what}: one has taken {self._clock() - oldest:.0f} s; it is stuck")


class ApiHealth:
    """Of the HTTP API's process: its store, its workers, and the task that removes what has expired."""

    def __init__(self, store: ReportStore, workers: Callable[[], int], clock: Clock = time.monotonic) -> None:
        """workers: how many decoding workers are alive, or about to be, after those that died were started again."""
        self._store = store_probe(store, clock)
        self._workers = Probe(
            "decoding", lambda: _some(workers()), patience_s=lambda: STORE_AWAY_S,
            forgives=(ServiceInterruptedError,), clock=clock,
        )
        self.purging: asyncio.Task[None] | None = None
        """Set when it is started."""

    async def check(self) -> None:
        """Raise for what is broken."""
        if self.purging is not None and self.purging.done():
            raise ServiceInterruptedError("expired reports are not removed any more")
        await self._store.check()
        await self._workers.check()


def _some(workers: int) -> None:
    if not workers:
        raise ServiceInterruptedError("no decoding worker can be started")
