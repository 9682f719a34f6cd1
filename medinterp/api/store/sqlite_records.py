"""Records in the SQLite store."""

from __future__ import annotations

from collections.abc import Callable

from medinterp.api.store.change import changing
from medinterp.api.store.database import Database
from medinterp.api.store.payloads import Payloads
from medinterp.api.store.protocol import ANYONE, Owner, StoredRecord, check_kind
from medinterp.api.store.room import Room
from medinterp.api.store.sealing import DamagedError, Sealer, record_place
from medinterp.api.store.settings import SqliteStoreSettings
from medinterp.errors import RecordConflictError, RecordNotFoundError, StoreError

NOT_FOUND = "there is no such record; it may have expired or been deleted"
CONFLICT = "another change of the record came first: read it again"
_COLUMNS = "id, owner, version, expires_at, file"


class SqliteRecords:
    """One row a record, its data in a sealed file."""

    _settings: SqliteStoreSettings
    _clock: Callable[[], float]
    _owner: Owner
    _sealer: Sealer
    _payloads: Payloads
    _database: Database
    _room: Room

    def put_record(
        self, kind: str, record_id: str, data: bytes, expected_version: int, *, lifetime_s: float | None = None
    ) -> int:
        """Compare the version and set, under the write lock."""
        check_kind(kind)
        now = self._clock()
        expires_at = now + (self._settings.lifetime_s if lifetime_s is None else lifetime_s)
        with changing(self._database, self._payloads) as change:
            change.drop_expired(now)
            found = change.database.execute(
                "SELECT owner, version, file FROM record WHERE kind = ? AND id = ?", (kind, record_id)
            ).fetchone()
            owner, version = (self._mine(), 0) if found is None else found[:2]
            if version != expected_version or (self._owner is not ANYONE and owner != self._owner):
                raise RecordConflictError(CONFLICT)
            sealed = self._sealer.seal(data, record_place(kind, record_id, owner, version + 1))
            row = (kind, record_id, owner, version + 1, expires_at, len(sealed), change.write(sealed))
            change.database.execute("INSERT OR REPLACE INTO record VALUES (?, ?, ?, ?, ?, ?, ?)", row)
            if found is not None:
                change.gone.append(found[2])
            self._room.make(change, len(sealed), None)
        return int(version) + 1

    def get_record(self, kind: str, record_id: str) -> StoredRecord:
        """Read row and file; again where a change came between."""
        while True:
            found = self._records("kind = ? AND id = ?", kind, record_id)
            if not found:
                raise RecordNotFoundError(NOT_FOUND)
            record = self._read(kind, *found[0])
            if record is not None:
                return record

    def delete_record(self, kind: str, record_id: str, expected_version: int | None = None) -> None:
        """Remove row and file."""
        with changing(self._database, self._payloads) as change:
            found = self._records("kind = ? AND id = ?", kind, record_id)
            if not found:
                raise RecordNotFoundError(NOT_FOUND)
            _, _, version, _, file = found[0]
            if expected_version not in (None, version):
                raise RecordConflictError(CONFLICT)
            change.database.execute("DELETE FROM record WHERE kind = ? AND id = ?", (kind, record_id))
            change.gone.append(file)

    def list_records(self, kind: str) -> tuple[StoredRecord, ...]:
        """All of a kind; one that changes meanwhile is read again, one that goes is left out."""
        listed = []
        for row in self._records("kind = ?", kind):
            record = self._read(kind, *row)
            if record is None:
                try:
                    record = self.get_record(kind, row[0])
                except RecordNotFoundError:
                    continue
            listed.append(record)
        return tuple(listed)

    def _mine(self) -> str | None:
        return None if self._owner is ANYONE else self._owner

    def _records(self, where: str, *arguments: str) -> list[tuple[str, str | None, int, float, str]]:
        whose = () if self._owner is ANYONE else (self._owner,)
        clause = " AND owner IS ?" if whose else ""
        with self._database.reading() as database:
            return database.execute(
                f"SELECT {_COLUMNS} FROM record WHERE {where} AND expires_at > ?{clause} ORDER BY id",
                (*arguments, self._clock(), *whose),
            ).fetchall()

    def _read(
        self, kind: str, record_id: str, owner: str | None, version: int, expires_at: float, file: str
    ) -> StoredRecord | None:
        """The record, or None where its file went meanwhile. Raises StoreError."""
        try:
            data = self._sealer.open(self._payloads.read(file), record_place(kind, record_id, owner, version))
        except (FileNotFoundError, DamagedError) as error:
            if not self._still(kind, record_id, version):
                return None
            raise StoreError("the stored record is damaged") from error
        return StoredRecord(record_id, data, version, owner, expires_at)

    def _still(self, kind: str, record_id: str, version: int) -> bool:
        found = self._records("kind = ? AND id = ?", kind, record_id)
        return bool(found) and found[0][2] == version
