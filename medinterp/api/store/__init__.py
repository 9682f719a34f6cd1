"""Where reports are kept for their lifetime: SQLite on one machine, Redis on a cluster."""

from __future__ import annotations

from medinterp.api.store.protocol import (
    RecordStore,
    ReportStore,
    StoredRecord,
    StoredReport,
    StoredStamp,
    Usage,
    made_minute,
)
from medinterp.api.store.record import alias_of, change_record, pack_record, unpack_record
from medinterp.api.store.settings import RedisStoreSettings, SqliteStoreSettings, StoreSettings

__all__ = [
    "RecordStore",
    "RedisStoreSettings",
    "ReportStore",
    "SqliteStoreSettings",
    "StoreSettings",
    "StoredRecord",
    "StoredReport",
    "StoredStamp",
    "Usage",
    "alias_of",
    "change_record",
    "made_minute",
    "open_store",
    "pack_record",
    "unpack_record",
]


def open_store(settings: SqliteStoreSettings | RedisStoreSettings) -> ReportStore:
    """Open the store that the settings describe, and ask it. Raises StoreError when it cannot be used."""
    if isinstance(settings, SqliteStoreSettings):
        from medinterp.api.store.sqlite import SqliteStore

        return SqliteStore(settings)
    from medinterp.api.store.redis import RedisStore

    return RedisStore(settings)
