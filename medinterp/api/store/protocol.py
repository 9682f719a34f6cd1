"""What a report store does: keep one blob a report for a lifetime, and forget it on request."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol


@dataclass(frozen=True)
class StoredReport:
    """A report as it was put: the record's bytes, and when it is forgotten (seconds since 1970)."""

    blob: bytes = field(repr=False)
    expires_at: float


@dataclass(frozen=True)
class StoredStamp:
    """What tells whether a report is there still, and as it was: its version, and when it is forgotten.

    version: 63 random bits, drawn anew at every change of the blob; expires_at: seconds since 1970.
    """

    version: int
    expires_at: float


def made_at(expires_at: float, lifetime_s: float) -> datetime:
    """When a report was put, to the minute (Redis tells the time left, not to the second), as local time."""
    return datetime.fromtimestamp(round((expires_at - lifetime_s) / 60) * 60)


class ReportStore(Protocol):
    """Safe to call from several threads; every process opens its own."""

    def put(self, report_id: str, blob: bytes) -> float:
        """Keep the blob and return when it is forgotten.

        Raises StoreFullError when there is no room, StoreError when the store cannot be reached.
        """
        ...

    def get(self, report_id: str) -> StoredReport:
        """Return what was put. Raises ReportNotFoundError (unknown, expired, deleted) or StoreError."""
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
        """Forget the report at once. Raises ReportNotFoundError or StoreError."""
        ...

    def purge(self) -> int:
        """Remove what has expired and return how many reports that were. Raises StoreError."""
        ...

    def check(self) -> None:
        """Return when the store can be reached; raise StoreError when not."""
        ...

    def close(self) -> None:
        """Let go of the file or connection."""
        ...


def new_version() -> int:
    """Draw the version of a blob that is about to be stored: 0 to 2**63 - 1."""
    return secrets.randbits(63)
