"""The report store of one machine: a private SQLite file that several processes share."""

from __future__ import annotations

import os
import sqlite3
import stat
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from medinterp.api.store.protocol import StoredReport, StoredStamp, new_version
from medinterp.api.store.settings import SqliteStoreSettings
from medinterp.errors import ReportNotFoundError, StoreError, StoreFullError

_BUSY_MS = 5000
_SCHEMA = """
CREATE TABLE IF NOT EXISTS report (
    id TEXT PRIMARY KEY,
    expires_at REAL NOT NULL,
    size INTEGER NOT NULL,
    version INTEGER NOT NULL DEFAULT 0,
    blob BLOB NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS report_expiry ON report (expires_at);
CREATE INDEX IF NOT EXISTS report_size ON report (size);
"""


class SqliteStore:
    """Reports in one file, 0600 in a directory of 0700, overwritten with zeros when they go.

    What is deleted or expired is overwritten (`secure_delete`), the freed pages are given back
    (`auto_vacuum`) and the write-ahead log is emptied, so that the directory's files hold
    nothing of it afterwards.
    """

    def __init__(self, settings: SqliteStoreSettings, clock: Callable[[], float] = time.time) -> None:
        """Open or create the file. Raises StoreError when its directory is not private to this user."""
        self._settings = settings
        self._clock = clock
        self._lock = threading.Lock()
        path = Path(settings.path).expanduser()
        make_private(path)
        self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        with self._statements() as database:
            database.execute(f"PRAGMA busy_timeout = {_BUSY_MS}")
            database.execute("PRAGMA auto_vacuum = FULL")
            database.execute("PRAGMA journal_mode = WAL")
            database.execute("PRAGMA secure_delete = ON")
            database.executescript(_SCHEMA)
            _add_version(database)
        self.purge()

    def put(self, report_id: str, blob: bytes) -> float:
        """Keep the blob; what has expired makes room first."""
        with self._statements() as database, _transaction(database):
            now = self._clock()
            database.execute("DELETE FROM report WHERE expires_at <= ?", (now,))
            (held,) = database.execute("SELECT COALESCE(SUM(size), 0) FROM report").fetchone()
            self._require_room(held, len(blob))
            expires_at = now + self._settings.lifetime_s
            database.execute(
                "INSERT INTO report (id, expires_at, size, blob, version) VALUES (?, ?, ?, ?, ?)",
                (report_id, expires_at, len(blob), blob, new_version()),
            )
        return expires_at

    def get(self, report_id: str) -> StoredReport:
        """Return what was put, unless it has expired."""
        with self._statements() as database:
            row = database.execute(
                "SELECT blob, expires_at FROM report WHERE id = ? AND expires_at > ?",
                (report_id, self._clock()),
            ).fetchone()
        if row is None:
            raise ReportNotFoundError("no report has this id; it may have expired or been deleted")
        return StoredReport(blob=row[0], expires_at=row[1])

    def stamp(self, report_id: str) -> StoredStamp:
        """Return version and time; of the row, the blob's pages are not read."""
        with self._statements() as database:
            row = database.execute(
                "SELECT version, expires_at FROM report WHERE id = ? AND expires_at > ?", (report_id, self._clock())
            ).fetchone()
        if row is None:
            raise ReportNotFoundError("no report has this id; it may have expired or been deleted")
        return StoredStamp(version=row[0], expires_at=row[1])

    def update(self, report_id: str, change: Callable[[bytes], bytes]) -> StoredReport:
        """Change the blob under the write lock, so that two changes never lose one another."""
        with self._statements() as database, _transaction(database):
            row = database.execute(
                "SELECT blob, expires_at, size FROM report WHERE id = ? AND expires_at > ?",
                (report_id, self._clock()),
            ).fetchone()
            if row is None:
                raise ReportNotFoundError("no report has this id; it may have expired or been deleted")
            blob = change(row[0])
            (held,) = database.execute("SELECT COALESCE(SUM(size), 0) FROM report").fetchone()
            self._require_room(held - row[2], len(blob))
            database.execute(
                "UPDATE report SET blob = ?, size = ?, version = ? WHERE id = ?",
                (blob, len(blob), new_version(), report_id),
            )
        return StoredReport(blob=blob, expires_at=row[1])

    def _require_room(self, held: int, needed: int) -> None:
        limit = self._settings.max_bytes
        if held + needed > limit:
            raise StoreFullError(
                f"the store holds {held} of {limit} bytes and this report needs {needed}; "
                "delete reports, wait until some expire, or raise the store's max_bytes"
            )

    def delete(self, report_id: str) -> None:
        """Forget the report at once."""
        with self._statements() as database:
            found = database.execute(
                "DELETE FROM report WHERE id = ? AND expires_at > ?", (report_id, self._clock())
            ).rowcount
            _empty_log(database)
        if not found:
            raise ReportNotFoundError("no report has this id; it may have expired or been deleted")

    def purge(self) -> int:
        """Remove what has expired."""
        with self._statements() as database:
            gone = database.execute("DELETE FROM report WHERE expires_at <= ?", (self._clock(),)).rowcount
            if gone:
                _empty_log(database)
        return int(gone)

    def check(self) -> None:
        """Return when the file can be read."""
        with self._statements() as database:
            database.execute("SELECT COUNT(*) FROM report").fetchone()

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._connection.close()

    @contextmanager
    def _statements(self) -> Iterator[sqlite3.Connection]:
        """One thread at a time; SQLite's own errors leave as the tree's."""
        with self._lock:
            try:
                yield self._connection
            except sqlite3.Error as error:
                if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL:
                    raise StoreFullError("the disk that holds the report store is full") from error
                raise StoreError(f"the report store cannot be used: {error}") from error


def make_private(path: Path) -> None:
    """Create the file as 0600 in a directory of 0700, or check that they are.

    Raises StoreError when others could read them, or when they belong to another user.
    """
    directory = path.parent
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    os.close(descriptor)
    for place, kind in ((directory, "directory"), (path, "file")):
        found = place.lstat()
        if found.st_uid != os.getuid():
            raise StoreError(f"the report store's {kind} {place} belongs to another user")
        if stat.S_IMODE(found.st_mode) & 0o077:
            raise StoreError(f"others may enter the report store: chmod go-rwx {place}")


@contextmanager
def _transaction(database: sqlite3.Connection) -> Iterator[None]:
    """All or nothing, with the write lock from the start."""
    database.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        database.execute("ROLLBACK")
        raise
    database.execute("COMMIT")


def _add_version(database: sqlite3.Connection) -> None:
    """Give a table that was made before reports had versions the column."""
    with _transaction(database):
        if "version" not in {row[1] for row in database.execute("PRAGMA table_info(report)")}:
            database.execute("ALTER TABLE report ADD COLUMN version INTEGER NOT NULL DEFAULT 0")


def _empty_log(database: sqlite3.Connection) -> None:
    """Carry the write-ahead log into the file and cut it to nothing."""
    database.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
