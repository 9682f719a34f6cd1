"""One change of the SQLite store: rows and files, which come and go together."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from medinterp.api.store.database import Database
from medinterp.api.store.payloads import Payloads


@dataclass
class Change:
    """Under the write lock: the connection, the files written for it, and those of rows that it removes."""

    database: sqlite3.Connection
    payloads: Payloads
    written: list[str] = field(default_factory=list)
    gone: list[str] = field(default_factory=list)

    def write(self, content: bytes) -> str:
        """Write a file of this change and return its name. Raises StoreFullError or StoreError."""
        self.written.append(self.payloads.write(content))
        return self.written[-1]

    def drop_reports(self, ids: Sequence[str]) -> None:
        """Remove reports' rows, and parts that nobody else refers to."""
        for report_id in ids:
            self.database.execute("DELETE FROM report_part WHERE report = ?", (report_id,))
            self._remove("DELETE FROM report WHERE id = ? RETURNING file", report_id)
        self.drop_loose_parts()

    def drop_loose_parts(self) -> None:
        """Parts go with the last report that refers to them."""
        self._remove("DELETE FROM part WHERE id NOT IN (SELECT part FROM report_part) RETURNING file")

    def drop_expired(self, now: float) -> int:
        """Remove what has expired; returns how many reports that were."""
        ids = [one for (one,) in self.database.execute("SELECT id FROM report WHERE expires_at <= ?", (now,))]
        if ids:
            self.drop_reports(ids)
        self._remove("DELETE FROM record WHERE expires_at <= ? RETURNING file", now)
        return len(ids)

    def _remove(self, statement: str, *arguments: object) -> None:
        self.gone += [name for (name,) in self.database.execute(statement, arguments).fetchall()]


@contextmanager
def changing(database: Database, payloads: Payloads) -> Iterator[Change]:
    """All or nothing: files written go when it fails, those of removed rows are destroyed once it holds."""
    change: Change | None = None
    try:
        with database.writing() as connection:
            change = Change(connection, payloads)
            yield change
    except BaseException:
        if change is not None:
            payloads.destroy(change.written)
        raise
    payloads.destroy(change.gone)
    database.empty_log(changed=bool(change.gone))
