"""The Redis server behind the store: its errors, its memory, and reports that make room there."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import redis
from redis.backoff import ExponentialBackoff
from redis.retry import Retry

from medinterp.api.store import redis_scripts as scripts
from medinterp.api.store.settings import RedisStoreSettings
from medinterp.errors import StoreError, StoreFullError

logger = logging.getLogger(__name__)

WARN_AT = 0.8
"""Of maxmemory: from there on the log warns, once until it has fallen again."""
_TIMEOUT_S = 5.0
_FULL = "the Redis server that holds the reports is full (maxmemory)"


class RedisServer:
    """A pool of connections. Safe to use from several threads."""

    def __init__(self, settings: RedisStoreSettings) -> None:
        """Prepare the pool; nothing is sent yet."""
        self._evicts = settings.when_full == "evict"
        self._warned = False
        tls = {} if settings.ca_file is None else {"ssl_ca_certs": settings.ca_file}
        self.client = redis.Redis.from_url(
            settings.url,
            password=os.environ.get(settings.password_env),
            socket_timeout=_TIMEOUT_S,
            socket_connect_timeout=_TIMEOUT_S,
            retry=Retry(ExponentialBackoff(cap=0.2, base=0.05), 3),
            **tls,
        )

    def run(self, script: str, *arguments: Any) -> Any:
        """Run a script of redis_scripts. Raises StoreFullError or StoreError."""
        with self.errors():
            return self.client.eval(script, 0, *arguments)

    def run_with_room(self, needed: int, but: str, script: str, *arguments: Any) -> Any:
        """Run one that takes so many bytes; the reports read longest ago make room where they may, but never `but`."""
        evicted = 0
        while True:
            try:
                answer = self.run(script, *arguments)
            except StoreFullError:
                _, limit = self.memory()
                fits = limit is None or needed <= limit
                if not (self._evicts and fits and self.run(scripts.EVICT, but)):
                    raise
                evicted += 1
                continue
            if evicted:
                logger.info("the Redis server is full: %d reports made room for another", evicted)
            return answer

    def memory(self) -> tuple[int, int | None]:
        """Bytes used, and the limit. Raises StoreError, also for a server that throws away what it should keep."""
        with self.errors():
            told = self.client.info("memory")
        policy = told.get("maxmemory_policy")
        if policy != "noeviction":
            raise StoreError(
                f"the Redis server's maxmemory-policy is {policy}, under which reports vanish: "
                "set it to noeviction, and maxmemory to what reports may take"
            )
        return int(told["used_memory"]), int(told["maxmemory"]) or None

    def reports(self) -> int:
        """How many are kept."""
        return int(self.run(scripts.CLEAN)[1])

    def require_room(self, needed: int) -> None:
        """Return when so many bytes could be put. Raises StoreFullError or StoreError."""
        used, limit = self.memory()
        if limit is None or used + needed <= limit:
            return
        if not self._evicts or needed > limit or not self.reports():
            raise StoreFullError(_FULL)

    def warn(self) -> None:
        """Warn once when the server is nearly full; of reports it tells numbers alone."""
        used, limit = self.memory()
        nearly = limit is not None and used >= WARN_AT * limit
        if nearly and not self._warned:
            then = "the reports read longest ago make room" if self._evicts else "new ones are refused"
            logger.warning("the Redis server holds %d of %d bytes; when it is full, %s", used, limit, then)
        self._warned = nearly

    @contextmanager
    def errors(self) -> Iterator[None]:
        """Redis's own errors leave as the tree's."""
        try:
            yield
        except redis.exceptions.OutOfMemoryError as error:
            raise StoreFullError(_FULL) from error
        except (redis.exceptions.RedisError, OSError) as error:
            raise StoreError(f"the Redis server that holds the reports cannot be used: {error}") from error
