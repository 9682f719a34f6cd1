"""The index of the SQLite store: one connection, its transactions and its log."""

from __future__ import annotations

import logging
import os
import sqlite3
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from medinterp.api.store.payloads import Payloads
from medinterp.api.store.sealing import Sealer
from medinterp.api.store.upgrade import bring_up, try_key
from medinterp.errors import StoreError, StoreFullError

logger = logging.getLogger(__name__)

_BUSY_MS = 5000
_UPGRADE_MS = 60_000
_LOG_MS = 200
"""How long somebody who reads the file from outside may keep the log from being emptied before it is left for later."""
_FULL = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_WRITE, sqlite3.SQLITE_IOERR_SHMSIZE)


class Database:
    """What the copies of one store share: the connection, its lock, and whether the log waits to be emptied."""

    def __init__(self, path: Path, payloads: Payloads, sealer: Sealer, lifetime_s: float) -> None:
        """Open or create the file, bring an older one up, and try the key. Raises StoreError."""
        self._lock = threading.RLock()
        self._log_waits = False
        try:
            self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        except sqlite3.Error as error:
            raise StoreError(f"the report store cannot be opened: {error}") from error
        try:
            with self.reading() as connection:
                connection.execute(f"PRAGMA busy_timeout = {_UPGRADE_MS}")
                connection.execute("PRAGMA auto_vacuum = FULL")
                connection.execute("PRAGMA journal_mode = WAL")
                connection.execute("PRAGMA secure_delete = ON")
            with self.writing() as connection:
                bring_up(connection, payloads, sealer, lifetime_s)
                try_key(connection, sealer)
            with self.reading() as connection:
                connection.execute(f"PRAGMA busy_timeout = {_BUSY_MS}")
            self._log_waits = True  # somebody else's, who was killed
            self.empty_log()
        except BaseException:
            self.close()
            raise

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """One thread at a time; SQLite's own errors leave as the tree's."""
        with self._lock:
            try:
                yield self._connection
            except sqlite3.Error as error:
                if getattr(error, "sqlite_errorcode", None) in _FULL:
                    raise StoreFullError("the disk that holds the report store is full") from error
                raise StoreError(f"the report store cannot be used: {error}") from error

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """All or nothing, with the write lock from the start."""
        with self.reading() as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:  # a full disk ends it by itself
                    connection.execute("ROLLBACK")
                raise

    def empty_log(self, *, changed: bool = False) -> None:
        """Carry the write-ahead log into the file and cut it to nothing, where rows went or it waits for that.

        The log holds no film, report or record: ids, owners' names, sizes and times of what is gone. Who reads the file
        from outside keeps them there; then it is tried again at every later change, and by every purge.
        """
        with self.reading() as connection:
            self._log_waits = self._log_waits or changed
            if not self._log_waits:
                return
            try:
                connection.execute(f"PRAGMA busy_timeout = {_LOG_MS}")
                busy, _, _ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            except sqlite3.OperationalError as error:
                busy = 1
                logger.warning("the store's log could not be emptied yet: %s", error)
            finally:
                connection.execute(f"PRAGMA busy_timeout = {_BUSY_MS}")
            self._log_waits = bool(busy)

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._connection.close()


def make_private(path: Path) -> Path:
    """Create the file as 0600 in a directory of 0700, or check that they are, and so the directory of its payloads.

    Returns the latter. Raises StoreError when others could read them, or when they belong to another user.
    """
    directory, payloads = path.parent, path.with_name(f"{path.name}.d")
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600))
        payloads.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise StoreError(f"the report store cannot be made at {path}: {error.strerror}") from error
    for place, kind in ((directory, "directory"), (path, "file"), (payloads, "directory")):
        found = place.lstat()
        if found.st_uid != os.getuid():
            raise StoreError(f"the report store's {kind} {place} belongs to another user")
        if stat.S_IMODE(found.st_mode) & 0o077:
            raise StoreError(f"others may enter the report store: chmod go-rwx {place}")
    return payloads


