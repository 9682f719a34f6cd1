"""Records in the Redis store."""

from __future__ import annotations

from medinterp.api.store import redis_scripts as scripts
from medinterp.api.store.protocol import ANYONE, Owner, StoredRecord, check_kind
from medinterp.api.store.redis_server import RedisServer
from medinterp.api.store.sealing import Sealer, record_place
from medinterp.api.store.sqlite_records import CONFLICT, NOT_FOUND
from medinterp.errors import RecordConflictError, RecordNotFoundError


class RedisRecords:
    """One hash a record.

    A put whose answer was lost on the way is sent again by the client, and then meets its own version: it raises
    RecordConflictError though it was done. Read the record again to tell.
    """

    _life_ms: int
    _owner: Owner
    _sealer: Sealer
    _server: RedisServer

    def put_record(
        self, kind: str, record_id: str, data: bytes, expected_version: int, *, lifetime_s: float | None = None
    ) -> int:
        """Compare the version and set, in one step of the server."""
        check_kind(kind)
        owner = None if self._owner is ANYONE else self._owner
        if self._owner is ANYONE and expected_version:
            found = self._records(kind, record_id)
            if not found or found[0].version != expected_version:
                raise RecordConflictError(CONFLICT)
            owner = found[0].owner
        sealed = self._sealer.seal(data, record_place(kind, record_id, owner, expected_version + 1))
        life_ms = self._life_ms if lifetime_s is None else max(1, round(lifetime_s * 1000))
        arguments = (kind, record_id, expected_version, asked(self._owner), owner_text(owner), life_ms, sealed)
        version = int(self._server.run_with_room(len(sealed), "", scripts.PUT_RECORD, *arguments))
        if not version:
            raise RecordConflictError(CONFLICT)
        return version

    def get_record(self, kind: str, record_id: str) -> StoredRecord:
        """Read one."""
        found = self._records(kind, record_id)
        if not found:
            raise RecordNotFoundError(NOT_FOUND)
        return found[0]

    def delete_record(self, kind: str, record_id: str, expected_version: int | None = None) -> None:
        """Compare and remove, in one step of the server."""
        expected = "" if expected_version is None else expected_version
        done = self._server.run(scripts.DELETE_RECORD, kind, record_id, asked(self._owner), expected)
        if done == 0:
            raise RecordNotFoundError(NOT_FOUND)
        if done < 0:
            raise RecordConflictError(CONFLICT)

    def list_records(self, kind: str) -> tuple[StoredRecord, ...]:
        """All of a kind, in one step of the server."""
        return self._records(kind, "")

    def _records(self, kind: str, record_id: str) -> tuple[StoredRecord, ...]:
        listed = []
        rows = self._server.run(scripts.LIST_RECORDS, kind, asked(self._owner), record_id)
        for name, version, whose, expires_at, sealed in rows:
            found, owner = name.decode(), owner_of(whose)
            data = self._sealer.open(sealed, record_place(kind, found, owner, int(version)))
            listed.append(StoredRecord(found, data, int(version), owner, int(expires_at) / 1000))
        return tuple(listed)


def asked(owner: Owner) -> str:
    """Whose reports a script is to find."""
    return "a" if owner is ANYONE else owner_text(owner)


def owner_text(owner: str | None) -> str:
    """An owner as it stands at the server."""
    return "n" if owner is None else f"o{owner}"


def owner_of(text: bytes) -> str | None:
    """The owner again."""
    return None if text == b"n" else text[1:].decode()
