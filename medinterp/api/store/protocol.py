"""What a report store does: keep one blob a report for a lifetime, and forget it on request; and small records."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from typing import Literal, Protocol


class Anyone(Enum):
    """The owner of a store that was not narrowed by `of`."""

    ANYONE = "anyone"


ANYONE: Literal[Anyone.ANYONE] = Anyone.ANYONE
Owner = str | None | Anyone
"""Whose reports a store finds: a key's name, None for those put without a key, ANYONE for all."""


@dataclass(frozen=True)
class StoredReport:
    """A report as it was put, when that was, and when it is forgotten (seconds since 1970)."""

    blob: bytes = field(repr=False)
    made_at: float
    expires_at: float


@dataclass(frozen=True)
class StoredStamp:
    """What tells whether a report is there still, and as it was: its version, when it was put and is forgotten.

    version: 63 random bits, drawn anew at every change of the blob; times: seconds since 1970.
    """

    version: int
    made_at: float
    expires_at: float


@dataclass(frozen=True)
class StoredRecord:
    """A record: 1 is its version when it is first put, and each further put adds 1.

    owner: of the store that put it first; expires_at: seconds since 1970.
    """

    record_id: str
    data: bytes = field(repr=False)
    version: int
    owner: str | None
    expires_at: float


@dataclass(frozen=True)
class Usage:
    """How full a store is: reports kept, the bytes of everything kept, and the limit (None: none is set)."""

    reports: int
    bytes: int
    max_bytes: int | None

    @property
    def share(self) -> float:
        """Of the limit: 0 to 1; 0 where there is no limit."""
        return 0.0 if self.max_bytes is None else self.bytes / self.max_bytes


def made_minute(made_at: float) -> datetime:
    """When a report was put, to the minute, as local time: what files tell."""
    return datetime.fromtimestamp(round(made_at / 60) * 60)


class RecordStore(Protocol):
    """Records beside the reports: small data by kind and id, changed one version at a time.

    Kinds, lower-case words ("job", "job-result"), keep namespaces apart. The version is what leases stand on: of two
    who read version 4 and write, one gets 5 and the other RecordConflictError. Records are encrypted, owned and
    forgotten as reports are, count towards the size limit, and never make room for a report.
    """

    def put_record(
        self, kind: str, record_id: str, data: bytes, expected_version: int, *, lifetime_s: float | None = None
    ) -> int:
        """Put data where the record's version is the expected one (0: there is none yet), and return its new version.

        Its lifetime (seconds; the store's own by default) begins anew. Raises RecordConflictError when the version is
        another one, also when the record is gone; StoreFullError or StoreError. Nothing has changed then.
        """
        ...

    def get_record(self, kind: str, record_id: str) -> StoredRecord:
        """Return the record. Raises RecordNotFoundError (unknown, expired, deleted, another's) or StoreError."""
        ...

    def delete_record(self, kind: str, record_id: str, expected_version: int | None = None) -> None:
        """Forget the record at once; with an expected version only that one.

        Raises RecordNotFoundError, RecordConflictError or StoreError.
        """
        ...

    def list_records(self, kind: str) -> tuple[StoredRecord, ...]:
        """All records of a kind, by id: this owner's, or everybody's where `of` was not used. Raises StoreError."""
        ...


class ReportStore(RecordStore, Protocol):
    """Safe to call from several threads; every process opens its own."""

    def of(self, owner: str | None) -> ReportStore:
        """The same store for one owner: what it puts is theirs, and what is not theirs is not found.

        owner: a key's name; None: what was put without a key. Without `of` a store finds everybody's (parts behind
        the door) and puts as None. Costs nothing; it is closed with the store that it came from.
        """
        ...

    def put(self, report_id: str, blob: bytes) -> float:
        """Keep the blob and return when it is forgotten; the reports read longest ago make room where they may.

        Raises StoreFullError when there is no room, StoreError when the store cannot be reached.
        """
        ...

    def get(self, report_id: str) -> StoredReport:
        """Return what was put; its lifetime begins anew.

        Raises ReportNotFoundError (unknown, expired, deleted, another's) or StoreError.
        """
        ...

    def touch(self, report_id: str) -> StoredStamp:
        """Begin the report's lifetime anew, as `get` does, without reading its blob; errors as `stamp`."""
        ...

    def stamp(self, report_id: str) -> StoredStamp:
        """Return the report's stamp without reading its blob. Raises ReportNotFoundError or StoreError."""
        ...

    def update(self, report_id: str, change: Callable[[bytes], bytes]) -> StoredReport:
        """Put change(blob) in the blob's place, as one step, and return it; its lifetime goes on as it was.

        Raises ReportNotFoundError, StoreFullError or StoreError, and what `change` raises; nothing is lost then.
        """
        ...

    def delete(self, report_id: str) -> None:
        """Forget the report at once, also where disk or memory are full. Raises ReportNotFoundError or StoreError."""
        ...

    def require_room(self, needed: int) -> None:
        """Return when a report of so many bytes could be put now. Raises StoreFullError or StoreError."""
        ...

    def usage(self) -> Usage:
        """How full the store is. Raises StoreError."""
        ...

    def purge(self) -> int:
        """Remove what has expired and return how many reports that were. Raises StoreError."""
        ...

    def check(self) -> None:
        """Return when the store can be used; raise StoreError when not, StoreFullError when nothing more fits."""
        ...

    def close(self) -> None:
        """Let go of the file or connection."""
        ...


def check_kind(kind: str) -> None:
    """Raise ValueError for a kind that is no lower-case word: a store joins it with ids."""
    if not re.fullmatch(r"[a-z]+(-[a-z]+)*", kind):
        raise ValueError("a record's kind is a lower-case word")


def new_version() -> int:
    """Draw the version of a blob that is about to be stored: 0 to 2**63 - 1."""
    return secrets.randbits(63)
