"""Room in the SQLite store: what it holds, what may make room for more, and what is said about it."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable

from medinterp.api.store.change import Change
from medinterp.api.store.database import Database
from medinterp.api.store.payloads import Payloads
from medinterp.api.store.protocol import Usage
from medinterp.api.store.settings import SqliteStoreSettings
from medinterp.errors import StoreFullError

logger = logging.getLogger(__name__)

WARN_AT = 0.8
"""Of the limit: from there on the log warns, once until it has fallen again."""
DISK_MARGIN = 2**17
"""Left on the disk for the index when it is asked whether something has room."""
DISK_FULL = "the disk that holds the report store is full"
_SIZES = "SELECT (SELECT COALESCE(SUM(size), 0) FROM report) + (SELECT COALESCE(SUM(size), 0) FROM part), "
_SIZES += "(SELECT COALESCE(SUM(size), 0) FROM record), (SELECT COUNT(*) FROM report)"


class Room:
    """The limit and the disk. Reports make room, the one read longest ago first; records never do."""

    def __init__(self, settings: SqliteStoreSettings, database: Database, payloads: Payloads) -> None:
        self._limit = settings.max_bytes
        self._evicts = settings.when_full == "evict"
        self._database, self._payloads = database, payloads
        self._warned = False

    def usage(self) -> Usage:
        """Count rows."""
        with self._database.reading() as database:
            in_reports, in_records, reports = database.execute(_SIZES).fetchone()
        return Usage(reports, in_reports + in_records, self._limit)

    def require(self, needed: int) -> None:
        """Return when so many bytes could be put. Raises StoreFullError."""
        with self._database.reading() as database:
            in_reports, in_records, _ = database.execute(_SIZES).fetchone()
        leaving = in_reports if self._evicts else 0
        if in_reports - leaving + in_records + needed > self._limit:
            raise self._full(in_reports + in_records, needed)
        if self._payloads.free() + leaving < needed + DISK_MARGIN:
            raise StoreFullError(DISK_FULL)

    def typical(self) -> int:
        """Bytes that are asked for before a report like the largest is made: its film's pixels are not compressed then,
        to about half; at least 1."""
        with self._database.reading() as database:
            report, part = database.execute(
                "SELECT (SELECT COALESCE(MAX(size), 1) FROM report), (SELECT COALESCE(MAX(size), 0) FROM part)"
            ).fetchone()
        return int(report + 2 * part)

    def make(self, change: Change, needed: int, report_id: str | None) -> None:
        """After the rows of what is put were written: let reports go until all fits, but never that one.

        needed: bytes of what was put. Raises StoreFullError, before any report has gone where that would not be enough.
        """
        in_reports, in_records, _ = change.database.execute(_SIZES).fetchone()
        held = in_reports + in_records
        if held > self._limit:
            staying = in_records + (0 if report_id is None else _size(change.database, report_id))
            if not self._evicts or staying > self._limit:
                raise self._full(held - needed, needed)
        evicted = 0
        while held > self._limit:
            change.drop_reports([_oldest(change.database, report_id)])
            evicted += 1
            in_reports, in_records, _ = change.database.execute(_SIZES).fetchone()
            held = in_reports + in_records
        _tell(evicted, "the report store")
        self._warn(held)

    def make_on_disk(self, needed: int, forget: Callable[[str], None]) -> None:
        """Let reports go by `forget` until the disk has so many bytes, where all of them together would do.

        Raises StoreFullError.
        """
        if self._payloads.free() >= needed + DISK_MARGIN:
            return
        self.require(needed)
        evicted, before = 0, None
        while self._payloads.free() < needed + DISK_MARGIN:
            with self._database.reading() as database:
                oldest = _oldest(database, before)
            forget(oldest)
            before = oldest  # its row may stay where the disk has no room for a line in the log
            evicted += 1
        _tell(evicted, "the disk of the report store")

    def _full(self, held: int, needed: int) -> StoreFullError:
        return StoreFullError(
            f"the store holds {held} of {self._limit} bytes and this needs {needed}; "
            "delete reports, wait until some expire, or raise the store's max_bytes"
        )

    def _warn(self, held: int) -> None:
        nearly = held >= WARN_AT * self._limit
        if nearly and not self._warned:
            then = "the reports read longest ago make room" if self._evicts else "new ones are refused"
            logger.warning("the report store holds %d of %d bytes; when it is full, %s", held, self._limit, then)
        self._warned = nearly


def _oldest(database: sqlite3.Connection, but: str | None) -> str:
    """The report read longest ago: lifetimes begin anew with reading."""
    found = database.execute("SELECT id FROM report WHERE id IS NOT ? ORDER BY expires_at LIMIT 1", (but,)).fetchone()
    if found is None:
        raise StoreFullError(DISK_FULL)
    return str(found[0])


def _size(database: sqlite3.Connection, report_id: str) -> int:
    """Bytes of a report with its parts."""
    (size,) = database.execute(
        "SELECT (SELECT size FROM report WHERE id = :id) + (SELECT COALESCE(SUM(size), 0) FROM part"
        " WHERE id IN (SELECT part FROM report_part WHERE report = :id))",
        {"id": report_id},
    ).fetchone()
    return int(size)


def _tell(evicted: int, what: str) -> None:
    if evicted:
        logger.info("%s is full: %d reports made room for another", what, evicted)
