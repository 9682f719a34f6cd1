"""The report store of a cluster: Redis keys that expire by themselves."""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable, Mapping
from typing import Any

from medinterp.api.store import redis_scripts as scripts
from medinterp.api.store.parts import join_parts, pack_body, split_parts, unpack_body
from medinterp.api.store.protocol import ANYONE, Owner, StoredReport, StoredStamp, Usage, new_version
from medinterp.api.store.redis_records import RedisRecords, asked, owner_of, owner_text
from medinterp.api.store.redis_server import RedisServer
from medinterp.api.store.sealing import open_sealer, part_place, report_place
from medinterp.api.store.settings import RedisStoreSettings
from medinterp.api.store.upgrade import renewed_canary
from medinterp.errors import ReportNotFoundError, StoreError

logger = logging.getLogger(__name__)

NOT_FOUND = "no report has this id; it may have expired or been deleted"
_FORMAT = 3
_FORMAT_KEY = "medinterp:format"
_CANARY_KEY = f"{scripts.PREFIX}canary"
_BEFORE = "medinterp:report:2:"
_BEFORE_VERSION_BYTES = 8


class RedisStore(RedisRecords):
    """Reports under `medinterp:3:` (see redis_scripts); the server's `maxmemory` is the size limit.

    The server must keep what it was given until its time is over: `maxmemory-policy noeviction`.
    """

    def __init__(self, settings: RedisStoreSettings) -> None:
        """Ask the server, bring up what an earlier version put, and try the key.

        Raises StoreError when it cannot be reached, lets nobody in, would throw reports away by itself, holds a later
        version's, or was used with another key.
        """
        self._owner: Owner = ANYONE
        self._sealer = open_sealer(settings.encryption_key_file)
        self._life_ms = max(1, round(settings.lifetime_s * 1000))
        self._server = RedisServer(settings)
        try:
            with self._server.errors():
                self._server.memory()
                self._claim()
                self._bring_up()
        except BaseException:
            self.close()
            raise

    def of(self, owner: str | None) -> RedisStore:
        """The same connections for one owner."""
        view = copy.copy(self)
        view._owner = owner
        return view

    def put(self, report_id: str, blob: bytes) -> float:
        """Keep the blob until its time to live is over."""
        owner = None if self._owner is ANYONE else self._owner
        at = self._put(report_id, owner, blob)
        self._server.warn()
        return at / 1000

    def get(self, report_id: str) -> StoredReport:
        """Return what was put; the server begins its time to live anew."""
        return self._read(report_id, self._life_ms)[0]

    def touch(self, report_id: str) -> StoredStamp:
        """Begin its time to live anew; the body stays at the server."""
        return self._stamp(report_id, self._life_ms)

    def stamp(self, report_id: str) -> StoredStamp:
        """Return version and times."""
        return self._stamp(report_id, "")

    def update(self, report_id: str, change: Callable[[bytes], bytes]) -> StoredReport:
        """Change the blob; again from the start when another change came between."""
        while True:
            stored, owner, version, before = self._read(report_id, "")
            blob = change(stored.blob)
            names, sealed, parts = self._sealed(report_id, owner, blob, before)
            arguments = (report_id, version, new_version(), names, sealed, *parts)
            if self._server.run_with_room(len(sealed), report_id, scripts.UPDATE, *arguments):
                return StoredReport(blob, stored.made_at, stored.expires_at)

    def delete(self, report_id: str) -> None:
        """Forget the report at once."""
        if not self._server.run(scripts.DELETE, report_id, asked(self._owner)):
            raise ReportNotFoundError(NOT_FOUND)

    def require_room(self, needed: int) -> None:
        """Ask the server how much memory it has left, and whether reports could make room."""
        self._server.require_room(needed)

    def usage(self) -> Usage:
        """Reports by the index; bytes of all that the server holds, whoever put it."""
        used, limit = self._server.memory()
        return Usage(self._server.reports(), used, limit)

    def purge(self) -> int:
        """Redis removes what has expired; its ids are counted and leave the index here."""
        return int(self._server.run(scripts.CLEAN)[0])

    def check(self) -> None:
        """Return when the server answers, keeps what it is given, and has room."""
        self._server.require_room(1)

    def close(self) -> None:
        """Close the connections."""
        self._server.client.close()

    def _put(
        self, report_id: str, owner: str | None, blob: bytes, made_at: str = "", life_ms: int = 0, before: str = ""
    ) -> int:
        names, sealed, parts = self._sealed(report_id, owner, blob, ())
        named = (report_id, owner_text(owner), new_version(), life_ms or self._life_ms, made_at, names, sealed, before)
        return int(self._server.run_with_room(len(blob), report_id, scripts.PUT, *named, *parts))

    def _sealed(
        self, report_id: str, owner: str | None, blob: bytes, before: tuple[str, ...]
    ) -> tuple[str, bytes, list[str | bytes]]:
        """The parts' names (by content and owner: nobody's film is kept for somebody else), the sealed body, and name
        and content, in turn, of the parts that are not among those before."""
        body, parts = split_parts(blob)
        names = [self._sealer.name(part, owner) for part in parts]
        new: Mapping[str, bytes] = {
            name: part for name, part in zip(names, parts, strict=True) if name not in before
        }
        sealed = self._sealer.seal(pack_body(body, names), report_place(report_id, owner))
        return ",".join(names), sealed, [
            item for name, part in new.items() for item in (name, self._sealer.seal(part, part_place(name)))
        ]

    def _asked(self, report_id: str, life_ms: int | str, *, body: bool) -> Any:
        found = self._server.run(scripts.READ, report_id, asked(self._owner), life_ms, int(body))
        if found is None:
            raise ReportNotFoundError(NOT_FOUND)
        return found

    def _stamp(self, report_id: str, life_ms: int | str) -> StoredStamp:
        version, made_at, _, expires_at, _ = self._asked(report_id, life_ms, body=False)
        return StoredStamp(int(version), int(made_at) / 1000, int(expires_at) / 1000)

    def _read(self, report_id: str, life_ms: int | str) -> tuple[StoredReport, str | None, int, tuple[str, ...]]:
        """The report, its owner, its version, and the names of its parts."""
        version, made_at, whose, expires_at, _, sealed, *parts = self._asked(report_id, life_ms, body=True)
        owner = owner_of(whose)
        body, names = unpack_body(self._sealer.open(sealed, report_place(report_id, owner)))
        if len(parts) != len(names) or None in parts:
            raise StoreError("the stored report is damaged")
        contents = [self._sealer.open(part, part_place(name)) for name, part in zip(names, parts, strict=True)]
        blob = join_parts(body, contents) if names else body
        return StoredReport(blob, int(made_at) / 1000, int(expires_at) / 1000), owner, int(version), names

    def _claim(self) -> None:
        """See that the format is this one, and that the key is the one that the store was used with."""
        client: Any = self._server.client
        client.set(_FORMAT_KEY, _FORMAT, nx=True)
        found = int(client.get(_FORMAT_KEY))
        if found > _FORMAT:
            raise StoreError(
                f"the Redis server holds reports of a later version of medinterp (format {found}, this one reads "
                f"{_FORMAT}): run that version, or name another database in the url"
            )
        if client.set(_CANARY_KEY, renewed_canary(None, self._sealer, 0), nx=True):
            return
        held = sum(1 for kind in ("report", "record") for _ in client.scan_iter(f"{scripts.PREFIX}{kind}:*", 1000))
        canary = renewed_canary(client.get(_CANARY_KEY), self._sealer, held)
        if canary is not None:
            client.set(_CANARY_KEY, canary)

    def _bring_up(self) -> None:
        """Move reports of the format before (a version of 8 bytes and the blob, in one value) to this one."""
        client: Any = self._server.client
        moved = 0
        for key in client.scan_iter(f"{_BEFORE}*", 1000):
            value, left_ms = client.get(key), client.pttl(key)
            if value is None or left_ms <= 0:
                continue
            seconds, _ = client.time()
            made_at = str(seconds * 1000 + left_ms - self._life_ms)
            report_id = key.decode().removeprefix(_BEFORE)
            moved += self._put(report_id, None, value[_BEFORE_VERSION_BYTES:], made_at, left_ms, key.decode()) > 0
        if moved:
            logger.info("%d reports of an earlier version were brought up", moved)
