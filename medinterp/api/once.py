"""Idempotency-Key: a request that is sent again is not done again.

Under a key the id is kept of what the request makes, drawn before it is made, and a digest of the request. Sent again,
it is answered with what has that id; while that is being made, it is refused for the moment; and where whoever made it
went away on the way, or it was deleted or has expired, it is made anew under the same id.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import secrets
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from contextlib import suppress
from typing import Any

from fastapi import Response
from fastapi.responses import StreamingResponse

from medinterp.api.access.principal import VISIT
from medinterp.api.jobs.settings import JobSettings
from medinterp.api.prefer import digest_of
from medinterp.api.report_id import new_report_id
from medinterp.api.store import ReportStore
from medinterp.errors import (
    KeyReusedError,
    MedInterpError,
    RecordConflictError,
    RecordNotFoundError,
    ReportNotFoundError,
    RequestRunningError,
    StoreError,
)

logger = logging.getLogger(__name__)

LEASE = "idempotency-lease"
REPLAYED = "Idempotency-Replayed"
"""Says of an answer that nothing was done for it."""


class Once:
    """The keys of all callers, each of whom has their own."""

    def __init__(self, store: ReportStore, settings: JobSettings) -> None:
        """store: the whole one."""
        self._store, self._settings = store, settings

    @property
    def _mine(self) -> ReportStore:
        return self._store.of(_owner())

    async def drawn(self, key: str, parts: Iterable[bytes]) -> str:
        """The id of what the request makes, drawn when the key came first.

        Raises KeyReusedError where it came with another request, StoreFullError or StoreError.
        """
        return await asyncio.to_thread(self._drawn, key, digest_of(key, parts))

    def _drawn(self, key: str, digest: str) -> str:
        store, name = self._mine, hashlib.sha256(f"{_owner()!r} {key}".encode()).hexdigest()
        while True:
            try:
                found = store.get_record("idempotency", name)
                known, version = json.loads(found.data), found.version
            except RecordNotFoundError:
                known, version = {"digest": digest, "made": new_report_id()}, 0
            if known["digest"] != digest:
                raise KeyReusedError("this Idempotency-Key came with another request before; draw a new one for each")
            with suppress(RecordConflictError):
                data = json.dumps(known).encode()
                store.put_record("idempotency", name, data, version, lifetime_s=self._settings.keys_s)
                return str(known["made"])

    async def report(
        self,
        key: str | None,
        parts: Iterable[bytes],
        make: Callable[[str], Awaitable[Response]],
        again: Callable[[str], Awaitable[Response]],
    ) -> Response:
        """Make a report under a new id, or answer again with the one that this request made before.

        Raises KeyReusedError, RequestRunningError, and what `make` raises: then nothing was made, and it may be tried
        again under the same key.
        """
        if key is None:
            return await make(new_report_id())
        report_id = await self.drawn(key, parts)
        with suppress(ReportNotFoundError):
            return _replayed(await again(report_id))
        holder = _Holder(self._mine, report_id, self._settings.lease_s)
        await holder.take()
        try:
            with suppress(ReportNotFoundError):
                # It was made between the two questions.
                response = _replayed(await again(report_id))
                await holder.release()
                return response
            response = await make(report_id)
        except BaseException:
            await holder.release()
            raise
        if isinstance(response, StreamingResponse):
            response.body_iterator = _held(response.body_iterator, holder)
        else:
            await holder.release()
        return response


class _Holder:
    """Says that a request is being answered, for as long as it is."""

    def __init__(self, store: ReportStore, name: str, lease_s: float) -> None:
        self._store, self._name, self._lease_s = store, name, lease_s
        self._data = secrets.token_bytes(8)
        self._renewing: asyncio.Task[None] | None = None

    async def take(self) -> None:
        """Raises RequestRunningError or StoreError."""
        try:
            await asyncio.to_thread(self._put, 0)
        except RecordConflictError:
            raise RequestRunningError("this request is being answered just now; send it again when it is") from None
        self._renewing = asyncio.create_task(self._renew())

    def _put(self, version: int) -> int:
        try:
            return self._store.put_record(LEASE, self._name, self._data, version, lifetime_s=self._lease_s)
        except RecordConflictError:
            # Redis may have done it, and the word of that was lost on its way (store.redis_records).
            with suppress(RecordNotFoundError):
                found = self._store.get_record(LEASE, self._name)
                if found.data == self._data:
                    return found.version
            raise

    async def _renew(self) -> None:
        version = 1
        while True:
            await asyncio.sleep(self._lease_s / 3)
            try:
                version = await asyncio.to_thread(self._put, version)
            except MedInterpError as error:
                logger.warning("a request under an Idempotency-Key: %s", error)

    async def release(self) -> None:
        """From now on the same request may be sent again."""
        if self._renewing is not None:
            self._renewing.cancel()
            await asyncio.wait({self._renewing})
        with suppress(StoreError):  # it is forgotten by itself
            await asyncio.to_thread(self._forget)

    def _forget(self) -> None:
        if self._store.get_record(LEASE, self._name).data == self._data:
            self._store.delete_record(LEASE, self._name)


async def _held(body: Any, holder: _Holder) -> AsyncGenerator[Any]:
    try:
        async for chunk in body:
            yield chunk
    finally:
        close = getattr(body, "aclose", None)
        if close is not None:
            await close()
        await asyncio.shield(holder.release())


def _replayed(response: Response) -> Response:
    response.headers[REPLAYED] = "true"
    return response


def _owner() -> str | None:
    visit = VISIT.get()
    return None if visit is None else visit.owner
