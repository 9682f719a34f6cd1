"""The tables of the SQLite store's index, a file of an earlier version, and whether the key is the right one."""

from __future__ import annotations

import logging
import sqlite3

from medinterp.api.store.parts import pack_body
from medinterp.api.store.payloads import Payloads
from medinterp.api.store.protocol import new_version
from medinterp.api.store.sealing import MissingKeyError, Sealer, report_place
from medinterp.errors import StoreError, StoreFullError

logger = logging.getLogger(__name__)

VERSION = 2
"""Of the file (PRAGMA user_version). 1: blobs stood in the table `report`, and it was not written down (0)."""
_CANARY = b"medinterp"
_SCHEMA = """
CREATE TABLE report (
    id TEXT PRIMARY KEY, owner TEXT, made_at REAL NOT NULL, expires_at REAL NOT NULL,
    version INTEGER NOT NULL, size INTEGER NOT NULL, file TEXT NOT NULL
) STRICT;
CREATE INDEX report_expiry ON report (expires_at);
CREATE TABLE part (id TEXT PRIMARY KEY, size INTEGER NOT NULL, file TEXT NOT NULL) STRICT;
CREATE TABLE report_part (report TEXT NOT NULL, part TEXT NOT NULL, PRIMARY KEY (report, part)) STRICT;
CREATE INDEX part_report ON report_part (part);
CREATE TABLE record (
    kind TEXT NOT NULL, id TEXT NOT NULL, owner TEXT, version INTEGER NOT NULL, expires_at REAL NOT NULL,
    size INTEGER NOT NULL, file TEXT NOT NULL, PRIMARY KEY (kind, id)
) STRICT;
CREATE TABLE meta (name TEXT PRIMARY KEY, value BLOB NOT NULL) STRICT;
"""


def bring_up(connection: sqlite3.Connection, payloads: Payloads, sealer: Sealer, lifetime_s: float) -> None:
    """Create the tables, or move the reports of a file of version 1 out of its table."""
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version == VERSION:
        return
    if version > VERSION:
        raise StoreError(
            f"the report store was written by a later version of medinterp (its file is of version {version}, "
            f"this one reads {VERSION}): run that version, or name another path"
        )
    columns = [row[1] for row in connection.execute("PRAGMA table_info(report)")]
    if columns and "blob" not in columns:
        raise StoreError("the report store's file holds tables of another program: name another path")
    if columns:
        connection.execute("ALTER TABLE report RENAME TO report_1")
        for index in ("report_expiry", "report_size"):
            connection.execute(f"DROP INDEX IF EXISTS {index}")
    for statement in _SCHEMA.split(";")[:-1]:
        connection.execute(statement)
    if columns:
        _move_reports(connection, payloads, sealer, lifetime_s, versions="version" in columns)
    connection.execute(f"PRAGMA user_version = {VERSION}")


def _move_reports(
    connection: sqlite3.Connection, payloads: Payloads, sealer: Sealer, lifetime_s: float, *, versions: bool
) -> None:
    version = "version" if versions else "0"
    moved: list[str] = []
    try:
        ids = connection.execute(f"SELECT id, expires_at, {version} FROM report_1").fetchall()
        for report_id, expires_at, number in ids:
            (blob,) = connection.execute("SELECT blob FROM report_1 WHERE id = ?", (report_id,)).fetchone()
            sealed = sealer.seal(pack_body(blob, ()), report_place(report_id, None))
            moved.append(payloads.write(sealed))
            connection.execute(
                "INSERT INTO report VALUES (?, NULL, ?, ?, ?, ?, ?)",
                (report_id, expires_at - lifetime_s, expires_at, number or new_version(), len(sealed), moved[-1]),
            )
        connection.execute("DROP TABLE report_1")
    except StoreFullError as error:
        payloads.destroy(moved)
        raise StoreFullError(
            "there is no room on the disk to bring the report store of an earlier version up to this one: "
            "make as much room as its file takes, or delete the file and its reports with it"
        ) from error
    if ids:
        logger.info("the report store of an earlier version was brought up: %d reports", len(ids))


def try_key(connection: sqlite3.Connection, sealer: Sealer) -> None:
    """Open what was sealed when the store was first used with a key; seal it anew after a change of keys."""
    found = connection.execute("SELECT value FROM meta WHERE name = 'canary'").fetchone()
    (held,) = connection.execute("SELECT (SELECT COUNT(*) FROM report) + (SELECT COUNT(*) FROM record)").fetchone()
    canary = renewed_canary(None if found is None else found[0], sealer, held)
    if canary is not None:
        connection.execute("INSERT OR REPLACE INTO meta VALUES ('canary', ?)", (canary,))


def renewed_canary(found: bytes | None, sealer: Sealer, held: int) -> bytes | None:
    """The canary to be kept in place of the one that was found, or None where that is as it should be.

    held: reports and records in the store; an empty one may change from plain to encrypted and back. Raises StoreError
    when the store was sealed in another way than it is about to be used.
    """
    if found is None or (held == 0 and sealer.encrypts != found.startswith(b"E")):
        return sealer.seal(_CANARY, b"canary")
    if sealer.encrypts and not found.startswith(b"E"):
        raise StoreError(
            f"the store holds {held} reports and records that are not encrypted, and encryption_key_file is set: "
            "delete them or let them expire under the settings of before, or name another store"
        )
    try:
        sealer.open(found, b"canary")
    except MissingKeyError as error:
        if not sealer.encrypts:
            raise
        raise StoreError(
            "the store is encrypted with another key: encryption_key_file must hold the key that it was used with, "
            "after the new one when keys are changed"
        ) from error
    return None if sealer.first(found) else sealer.seal(_CANARY, b"canary")
