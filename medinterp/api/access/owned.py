"""The report store as the one who asks may see it: their own reports, each reading written down where wished."""

from __future__ import annotations

from collections.abc import Callable

from medinterp.api.access.audit import Action, AuditLog
from medinterp.api.access.principal import VISIT
from medinterp.api.store import ReportStore, StoredReport, StoredStamp
from medinterp.api.store.protocol import StoredRecord, Usage


class CallersStore:
    """A ReportStore that narrows each call to the owner of the request that makes it: `store.of(visit.owner)`.

    Whatever an id is (guessed, another's, expired), the same one question is asked of the store, and the same error
    comes back. Outside a request, or where nobody is asked who they are, it is the store of reports without an owner;
    what concerns no report (`purge`, `check`, `usage`, `close`) is the store's own.
    """

    def __init__(self, store: ReportStore, audit: AuditLog | None = None) -> None:
        self._store = store
        self._audit = audit

    @property
    def _mine(self) -> ReportStore:
        visit = VISIT.get()
        return self._store.of(None if visit is None else visit.owner)

    def _tell(self, action: Action, report_id: str) -> None:
        """Raises AuditError."""
        visit = VISIT.get()
        if self._audit is not None and visit is not None:
            self._audit.tell(visit, action, report_id)

    def of(self, owner: str | None) -> ReportStore:
        """The store of one owner, unwatched."""
        return self._store.of(owner)

    def put(self, report_id: str, blob: bytes) -> float:
        """As the store's, written down first."""
        self._tell("made", report_id)
        return self._mine.put(report_id, blob)

    def get(self, report_id: str) -> StoredReport:
        """As the store's; what is found is written down before it is handed out."""
        stored = self._mine.get(report_id)
        self._tell("read", report_id)
        return stored

    def touch(self, report_id: str) -> StoredStamp:
        """As the store's: stands before a reading by another part of the service, and counts as one."""
        stamp = self._mine.touch(report_id)
        self._tell("read", report_id)
        return stamp

    def stamp(self, report_id: str) -> StoredStamp:
        """As the store's; nobody sees the report by it."""
        return self._mine.stamp(report_id)

    def update(self, report_id: str, change: Callable[[bytes], bytes]) -> StoredReport:
        """As the store's; written down once the report is known to be there, before it is changed."""
        mine = self._mine
        if self._audit is not None:
            mine.stamp(report_id)
            self._tell("changed", report_id)
        return mine.update(report_id, change)

    def delete(self, report_id: str) -> None:
        """As the store's; written down once the report is known to be there, before it goes."""
        mine = self._mine
        if self._audit is not None:
            mine.stamp(report_id)
            self._tell("deleted", report_id)
        mine.delete(report_id)

    def put_record(
        self, kind: str, record_id: str, data: bytes, expected_version: int, *, lifetime_s: float | None = None
    ) -> int:
        """As the store's."""
        return self._mine.put_record(kind, record_id, data, expected_version, lifetime_s=lifetime_s)

    def get_record(self, kind: str, record_id: str) -> StoredRecord:
        """As the store's."""
        return self._mine.get_record(kind, record_id)

    def delete_record(self, kind: str, record_id: str, expected_version: int | None = None) -> None:
        """As the store's."""
        self._mine.delete_record(kind, record_id, expected_version)

    def list_records(self, kind: str) -> tuple[StoredRecord, ...]:
        """As the store's."""
        return self._mine.list_records(kind)

    def require_room(self, needed: int) -> None:
        """As the store's."""
        self._mine.require_room(needed)

    def usage(self) -> Usage:
        """As the store's."""
        return self._store.usage()

    def purge(self) -> int:
        """As the store's."""
        return self._store.purge()

    def check(self) -> None:
        """As the store's."""
        self._store.check()

    def close(self) -> None:
        """As the store's."""
        self._store.close()
