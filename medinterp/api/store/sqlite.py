"""The report store of one machine: a private SQLite index and sealed files beside it, shared by several processes."""

from __future__ import annotations

import copy
import logging
import sqlite3
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from medinterp.api.store.change import Change, changing
from medinterp.api.store.database import Database, make_private
from medinterp.api.store.parts import join_parts, pack_body, split_parts, unpack_body
from medinterp.api.store.payloads import Payloads
from medinterp.api.store.protocol import ANYONE, Owner, StoredReport, StoredStamp, Usage, new_version
from medinterp.api.store.room import Room
from medinterp.api.store.sealing import DamagedError, open_sealer, part_place, report_place
from medinterp.api.store.settings import SqliteStoreSettings
from medinterp.api.store.sqlite_records import SqliteRecords
from medinterp.errors import ReportNotFoundError, StoreError, StoreFullError

logger = logging.getLogger(__name__)

NOT_FOUND = "no report has this id; it may have expired or been deleted"
_FILES = "SELECT file FROM report UNION ALL SELECT file FROM part UNION ALL SELECT file FROM record"
_OWN_PARTS = "SELECT file FROM part JOIN report_part ON part = part.id GROUP BY part.id "
_OWN_PARTS += "HAVING COUNT(*) = 1 AND MAX(report) = ?"


class _Row(NamedTuple):
    """A report in the index."""

    report_id: str
    owner: str | None
    made_at: float
    expires_at: float
    version: int
    size: int
    file: str


class SqliteStore(SqliteRecords):
    """Reports as sealed files of their own, films once for reports that have them in common; the index in SQLite.

    What is deleted, has expired or made room is overwritten and unlinked, and its row with it (`secure_delete`, and
    the log emptied), so that the directory holds nothing of it afterwards. What a process that was killed in between
    left is swept by the next purge, of any process.
    """

    def __init__(self, settings: SqliteStoreSettings, clock: Callable[[], float] = time.time) -> None:
        """Open or create the store, and bring one of an earlier version up.

        Raises StoreError when its place is not private to this user, or its key is another one.
        """
        self._settings = settings
        self._clock = clock
        self._owner: Owner = ANYONE
        self._sealer = open_sealer(settings.encryption_key_file)
        path = Path(settings.path).expanduser()
        self._payloads = Payloads(make_private(path))
        try:
            self._database = Database(path, self._payloads, self._sealer, settings.lifetime_s)
        except StoreFullError:
            # On a full disk the index cannot even be opened; what it needs was kept free.
            self._payloads.release_reserve()
            self._database = Database(path, self._payloads, self._sealer, settings.lifetime_s)
        self._room = Room(settings, self._database, self._payloads)
        with suppress(StoreFullError):
            self.purge()

    def of(self, owner: str | None) -> SqliteStore:
        """The same connection for one owner."""
        view = copy.copy(self)
        view._owner = owner
        return view

    def put(self, report_id: str, blob: bytes) -> float:
        """Keep the blob; what has expired makes room first, then what was read longest ago."""
        owner = self._mine()
        body, parts = split_parts(blob)
        names, sealed = self._sealed(report_id, owner, body, parts)
        self._room.make_on_disk(len(sealed) + sum(map(len, parts)), self._evict)
        now = self._clock()
        expires_at = now + self._settings.lifetime_s
        with changing(self._database, self._payloads) as change:
            change.drop_expired(now)
            row = (report_id, owner, now, expires_at, new_version(), len(sealed), change.write(sealed))
            change.database.execute("INSERT INTO report VALUES (?, ?, ?, ?, ?, ?, ?)", row)
            self._keep_parts(change, report_id, names, parts)
            self._room.make(change, len(blob), report_id)
        return expires_at

    def get(self, report_id: str) -> StoredReport:
        """Return what was put, unless it has expired."""
        row = self._touched(report_id)
        return StoredReport(self._blob(row), row.made_at, row.expires_at)

    def touch(self, report_id: str) -> StoredStamp:
        """Begin its lifetime anew; no file is read."""
        row = self._touched(report_id)
        return StoredStamp(row.version, row.made_at, row.expires_at)

    def stamp(self, report_id: str) -> StoredStamp:
        """Return version and times."""
        with self._database.reading() as database:
            row = self._row(database, report_id)
        return StoredStamp(row.version, row.made_at, row.expires_at)

    def update(self, report_id: str, change: Callable[[bytes], bytes]) -> StoredReport:
        """Change the blob; again from the start when another change came between. The write lock is held briefly."""
        while True:
            with self._database.reading() as database:
                row = self._row(database, report_id)
            blob = change(self._blob(row))
            body, parts = split_parts(blob)
            names, sealed = self._sealed(report_id, row.owner, body, parts)
            self._room.make_on_disk(len(sealed), self._evict)
            with changing(self._database, self._payloads) as step:
                if self._row(step.database, report_id).version != row.version:
                    continue
                step.database.execute(
                    "UPDATE report SET file = ?, size = ?, version = ? WHERE id = ?",
                    (step.write(sealed), len(sealed), new_version(), report_id),
                )
                step.gone.append(row.file)
                step.database.execute("DELETE FROM report_part WHERE report = ?", (report_id,))
                self._keep_parts(step, report_id, names, parts)
                step.drop_loose_parts()
                self._room.make(step, len(sealed), report_id)
            return StoredReport(blob, row.made_at, row.expires_at)

    def delete(self, report_id: str) -> None:
        """Forget the report at once: row and files."""
        with self._database.reading() as database:
            row = self._row(database, report_id)
        self._forget(row.report_id, row.file)

    def require_room(self, needed: int) -> None:
        """Ask the limit and the disk; what has expired goes first."""
        try:
            self._room.require(needed)
        except StoreFullError:
            self.purge()
            self._room.require(needed)

    def usage(self) -> Usage:
        """Count rows."""
        return self._room.usage()

    def purge(self) -> int:
        """Remove what has expired, and files that a killed process left."""
        with changing(self._database, self._payloads) as change:
            gone = change.drop_expired(self._clock())
            known = {name for (name,) in change.database.execute(_FILES)}
            # Under the write lock nobody is writing a file that no row knows yet.
            self._payloads.sweep(known.union(change.gone))
        self._payloads.hold_reserve()
        return gone

    def check(self) -> None:
        """Return when the index can be read, and a report like the largest that is kept would be begun."""
        self.require_room(self._room.typical())

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    def _row(self, database: sqlite3.Connection, report_id: str) -> _Row:
        """The report's row; one query whether it is unknown, has expired or is another's."""
        clause, whose = ("", ()) if self._owner is ANYONE else (" AND owner IS ?", (self._owner,))
        found = database.execute(
            f"SELECT * FROM report WHERE id = ? AND expires_at > ?{clause}", (report_id, self._clock(), *whose)
        ).fetchone()
        # Without its file it was deleted on a disk too full to write that down.
        if found is None or not self._payloads.has((row := _Row(*found)).file):
            raise ReportNotFoundError(NOT_FOUND)
        return row

    def _touched(self, report_id: str) -> _Row:
        """The row, its lifetime begun anew: written down at most 20 times a lifetime, and once a minute."""
        lifetime = self._settings.lifetime_s
        with self._database.reading() as database:
            row = self._row(database, report_id)
            expires_at = self._clock() + lifetime
            if expires_at - row.expires_at < min(lifetime / 20, 60):
                return row
            try:
                with self._database.writing():
                    database.execute("UPDATE report SET expires_at = ? WHERE id = ?", (expires_at, report_id))
            except StoreFullError:  # reading goes on where nothing can be written
                return row
        return row._replace(expires_at=expires_at)

    def _blob(self, row: _Row) -> bytes:
        """Read the report's files; another process may delete or change it meanwhile."""
        while True:
            try:
                packed = self._sealer.open(self._payloads.read(row.file), report_place(row.report_id, row.owner))
                body, names = unpack_body(packed)
                return join_parts(body, [self._part(name) for name in names]) if names else body
            except (FileNotFoundError, DamagedError) as error:
                with self._database.reading() as database:
                    now = self._row(database, row.report_id)
                if now.file == row.file:
                    raise StoreError("the stored report is damaged") from error
                row = now

    def _part(self, name: str) -> bytes:
        with self._database.reading() as database:
            found = database.execute("SELECT file FROM part WHERE id = ?", (name,)).fetchone()
        if found is None:
            raise FileNotFoundError
        return self._sealer.open(self._payloads.read(found[0]), part_place(name))

    def _sealed(
        self, report_id: str, owner: str | None, body: bytes, parts: Sequence[bytes]
    ) -> tuple[list[str], bytes]:
        """The parts' names, by content and owner (nobody's film is kept for somebody else), and the sealed body."""
        names = [self._sealer.name(part, owner) for part in parts]
        return names, self._sealer.seal(pack_body(body, names), report_place(report_id, owner))

    def _keep_parts(self, change: Change, report_id: str, names: Sequence[str], parts: Sequence[bytes]) -> None:
        """Write what is not kept yet, and that the report refers to it."""
        for name, part in dict(zip(names, parts, strict=True)).items():
            change.database.execute("INSERT INTO report_part VALUES (?, ?)", (report_id, name))
            found = change.database.execute("SELECT file FROM part WHERE id = ?", (name,)).fetchone()
            if found is None or not self._payloads.has(found[0]):
                sealed = self._sealer.seal(part, part_place(name))
                row = (name, len(sealed), change.write(sealed))
                change.database.execute("INSERT OR REPLACE INTO part VALUES (?, ?, ?)", row)

    def _evict(self, report_id: str) -> None:
        with self._database.reading() as database:
            found = database.execute("SELECT file FROM report WHERE id = ?", (report_id,)).fetchone()
        if found is not None:
            self._forget(report_id, found[0])

    def _forget(self, report_id: str, file: str) -> None:
        """Remove row and files; where the disk has no room for a line in the index's log, the files go first."""
        try:
            self._drop(report_id)
        except StoreFullError:
            self._payloads.release_reserve()
            with self._database.reading() as database:
                parts = [name for (name,) in database.execute(_OWN_PARTS, (report_id,))]
            self._payloads.destroy([file, *parts])
            try:
                self._drop(report_id)
            except StoreFullError:
                logger.warning("a report was deleted, and the disk is too full to write down that it was")

    def _drop(self, report_id: str) -> None:
        with changing(self._database, self._payloads) as change:
            change.drop_reports([report_id])
