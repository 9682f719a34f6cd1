"""The report store of a cluster: Redis keys that expire by themselves."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import redis

from medinterp.api.store.protocol import StoredReport, StoredStamp, new_version
from medinterp.api.store.settings import RedisStoreSettings
from medinterp.errors import ReportNotFoundError, StoreError, StoreFullError

_TIMEOUT_S = 5.0


_VERSION_BYTES = 8


class RedisStore:
    """Reports under `medinterp:report:2:ID`; the server's `maxmemory` is the size limit.

    A value is the version, 8 bytes, big-endian, and the blob: one key, so that both go at the same moment.
    """

    def __init__(self, settings: RedisStoreSettings) -> None:
        """Prepare a connection pool; nothing is sent yet."""
        self._lifetime_ms = max(1, round(settings.lifetime_s * 1000))
        self._client = redis.Redis.from_url(
            settings.url,
            password=os.environ.get(settings.password_env),
            socket_timeout=_TIMEOUT_S,
            socket_connect_timeout=_TIMEOUT_S,
        )

    def put(self, report_id: str, blob: bytes) -> float:
        """Keep the blob until its time to live is over."""
        with _errors():
            self._client.set(_key(report_id), _value(blob), px=self._lifetime_ms, nx=True)
        return time.time() + self._lifetime_ms / 1000

    def get(self, report_id: str) -> StoredReport:
        """Return what was put, with the server's own idea of the time left."""
        with _errors():
            pipeline = self._client.pipeline(transaction=True)
            pipeline.get(_key(report_id))
            pipeline.pttl(_key(report_id))
            value, left_ms = pipeline.execute()
        if value is None:
            raise ReportNotFoundError("no report has this id; it may have expired or been deleted")
        return StoredReport(blob=value[_VERSION_BYTES:], expires_at=time.time() + left_ms / 1000)

    def stamp(self, report_id: str) -> StoredStamp:
        """Return version and time; the server sends the value's first bytes alone."""
        with _errors():
            pipeline = self._client.pipeline(transaction=True)
            pipeline.getrange(_key(report_id), 0, _VERSION_BYTES - 1)
            pipeline.pttl(_key(report_id))
            version, left_ms = pipeline.execute()
        if not version:
            raise ReportNotFoundError("no report has this id; it may have expired or been deleted")
        return StoredStamp(version=int.from_bytes(version, "big"), expires_at=time.time() + left_ms / 1000)

    def update(self, report_id: str, change: Callable[[bytes], bytes]) -> StoredReport:
        """Change the blob; again from the start when another change came between."""
        key = _key(report_id)
        with _errors(), self._client.pipeline() as pipeline:
            while True:
                try:
                    pipeline.watch(key)  # type: ignore[no-untyped-call]
                    found = pipeline.get(key)
                    if not isinstance(found, bytes):
                        raise ReportNotFoundError("no report has this id; it may have expired or been deleted")
                    blob = change(found[_VERSION_BYTES:])
                    pipeline.multi()
                    pipeline.set(key, _value(blob), xx=True, keepttl=True)
                    pipeline.pttl(key)
                    _, left_ms = pipeline.execute()
                except redis.exceptions.WatchError:
                    continue
                return StoredReport(blob=blob, expires_at=time.time() + left_ms / 1000)

    def delete(self, report_id: str) -> None:
        """Forget the report at once."""
        with _errors():
            found = self._client.delete(_key(report_id))
        if not found:
            raise ReportNotFoundError("no report has this id; it may have expired or been deleted")

    def purge(self) -> int:
        """Nothing to do: Redis removes what has expired."""
        return 0

    def check(self) -> None:
        """Return when the server answers."""
        with _errors():
            self._client.ping()

    def close(self) -> None:
        """Close the connections."""
        self._client.close()


def _key(report_id: str) -> str:
    return f"medinterp:report:2:{report_id}"


def _value(blob: bytes) -> bytes:
    return new_version().to_bytes(_VERSION_BYTES, "big") + blob


@contextmanager
def _errors() -> Iterator[None]:
    """Redis's own errors leave as the tree's."""
    try:
        yield
    except redis.exceptions.OutOfMemoryError as error:
        raise StoreFullError("the Redis server that holds the reports is full (maxmemory)") from error
    except redis.exceptions.RedisError as error:
        raise StoreError(f"the Redis server that holds the reports cannot be used: {error}") from error
