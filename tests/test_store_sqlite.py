"""The SQLite store: lifetime, privacy, size limit, and that what is forgotten is gone."""

from __future__ import annotations

import sqlite3
import stat
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from medinterp.api.report_id import new_report_id
from medinterp.api.store import SqliteStoreSettings, open_store
from medinterp.api.store.sqlite import SqliteStore
from medinterp.errors import ReportNotFoundError, StoreError, StoreFullError

MARK = b"a patient's film " * 64


class Clock:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def settings(tmp_path: Path) -> SqliteStoreSettings:
    return SqliteStoreSettings(path=str(tmp_path / "private" / "r.sqlite3"), lifetime_s=60, max_bytes=10_000)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(settings: SqliteStoreSettings, clock: Clock) -> Iterator[SqliteStore]:
    store = SqliteStore(settings, clock)
    yield store
    store.close()


def on_disk(settings: SqliteStoreSettings) -> bytes:
    return b"".join(file.read_bytes() for file in sorted(Path(settings.path).parent.iterdir()))


def test_what_is_put_is_got_by_another_process_too(
    store: SqliteStore, settings: SqliteStoreSettings, clock: Clock
) -> None:
    assert store.put("a" * 32, MARK) == clock.now + 60
    other = SqliteStore(settings, clock)
    assert other.get("a" * 32).blob == MARK
    assert other.get("a" * 32).expires_at == clock.now + 60
    other.close()


def test_unknown_deleted_and_expired_are_not_found(store: SqliteStore, clock: Clock) -> None:
    with pytest.raises(ReportNotFoundError):
        store.get("b" * 32)
    with pytest.raises(ReportNotFoundError):
        store.delete("b" * 32)
    store.put("b" * 32, MARK)
    store.delete("b" * 32)
    with pytest.raises(ReportNotFoundError):
        store.get("b" * 32)
    store.put("c" * 32, MARK)
    clock.now += 59.9
    assert store.get("c" * 32).blob == MARK
    clock.now += 0.1
    with pytest.raises(ReportNotFoundError):
        store.get("c" * 32)
    with pytest.raises(ReportNotFoundError):
        store.delete("c" * 32)


def test_the_deleted_leave_no_bytes_behind(store: SqliteStore, settings: SqliteStoreSettings) -> None:
    store.put("a" * 32, MARK)
    store.put("b" * 32, b"another " * 500)
    assert MARK in on_disk(settings)
    store.delete("a" * 32)
    assert b"patient" not in on_disk(settings)
    assert b"another" in on_disk(settings)


def test_the_expired_leave_no_bytes_behind(
    store: SqliteStore, settings: SqliteStoreSettings, clock: Clock
) -> None:
    store.put("a" * 32, MARK)
    clock.now += 61
    assert store.purge() == 1
    assert store.purge() == 0
    assert b"patient" not in on_disk(settings)


def test_opening_purges(store: SqliteStore, settings: SqliteStoreSettings, clock: Clock) -> None:
    store.put("a" * 32, MARK)
    clock.now += 61
    SqliteStore(settings, clock).close()
    assert b"patient" not in on_disk(settings)


def test_only_the_owner_may_look(store: SqliteStore, settings: SqliteStoreSettings) -> None:
    store.put("a" * 32, MARK)
    directory = Path(settings.path).parent
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in directory.iterdir()}
    assert {"r.sqlite3", "r.sqlite3-wal"} <= set(modes)
    assert set(modes.values()) == {0o600}


@pytest.mark.parametrize("open_place", ["directory", "file"])
def test_a_place_that_others_may_enter_is_refused(settings: SqliteStoreSettings, open_place: str) -> None:
    path = Path(settings.path)
    path.parent.mkdir(mode=0o700)
    path.touch(0o600)
    place = path.parent if open_place == "directory" else path
    place.chmod(place.stat().st_mode | 0o004)
    with pytest.raises(StoreError, match="chmod"):
        open_store(settings)


def test_the_size_limit_holds_and_the_expired_make_room(store: SqliteStore, clock: Clock) -> None:
    store.put("a" * 32, b"x" * 6000)
    with pytest.raises(StoreFullError):
        store.put("b" * 32, b"x" * 4001)
    store.put("c" * 32, b"x" * 4000)
    with pytest.raises(ReportNotFoundError):
        store.get("b" * 32)
    clock.now += 61
    store.put("d" * 32, b"x" * 10_000)


def test_several_threads_and_processes_do_not_lose_reports(
    settings: SqliteStoreSettings, clock: Clock
) -> None:
    stores = [SqliteStore(settings, clock) for _ in range(2)]
    ids = [[new_report_id() for _ in range(10)] for _ in range(4)]
    failures: list[Exception] = []

    def work(number: int) -> None:
        try:
            for report_id in ids[number]:
                stores[number % 2].put(report_id, report_id.encode())
        except StoreError as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    for report_id in (report_id for part in ids for report_id in part):
        assert stores[0].get(report_id).blob == report_id.encode()
    for store in stores:
        store.close()


def test_a_file_that_is_no_database_is_a_store_error(settings: SqliteStoreSettings) -> None:
    path = Path(settings.path)
    path.parent.mkdir(mode=0o700)
    path.touch(0o600)
    path.write_bytes(b"not a database " * 100)
    with pytest.raises(StoreError):
        open_store(settings)


def test_ids_are_random_and_well_formed() -> None:
    from medinterp.api.report_id import is_report_id, log_name

    ids = {new_report_id() for _ in range(1000)}
    assert len(ids) == 1000
    assert all(is_report_id(text) for text in ids)
    assert not any(is_report_id(text) for text in ("", "A" * 32, "a" * 31, "a" * 33, "a" * 32 + "\n"))
    assert len(log_name(new_report_id())) == 8


def test_update_changes_the_blob_and_not_its_time(tmp_path: Path) -> None:
    now = 1000.0
    store = SqliteStore(SqliteStoreSettings(path=str(tmp_path / "s" / "r.sqlite3"), max_bytes=100), lambda: now)
    expires = store.put("a", b"first")
    now += 100
    changed = store.update("a", lambda blob: blob + b" second")
    assert changed.blob == store.get("a").blob == b"first second"
    assert changed.expires_at == expires
    with pytest.raises(StoreFullError):
        store.update("a", lambda blob: b"x" * 101)
    with pytest.raises(ZeroDivisionError):
        store.update("a", lambda blob: bytes(1 // 0))
    assert store.get("a").blob == b"first second"
    with pytest.raises(ReportNotFoundError):
        store.update("b", lambda blob: blob)
    store.close()


def test_two_updates_at_once_lose_nothing(tmp_path: Path) -> None:
    settings = SqliteStoreSettings(path=str(tmp_path / "s" / "r.sqlite3"))
    stores = [SqliteStore(settings) for _ in range(2)]
    stores[0].put("a", b"")

    def add(store: SqliteStore, letter: bytes) -> None:
        for _ in range(20):
            store.update("a", lambda blob: blob + letter)

    threads = [threading.Thread(target=add, args=pair) for pair in zip(stores, (b"x", b"y"), strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(stores[0].get("a").blob) == sorted(b"x" * 20 + b"y" * 20)
    for store in stores:
        store.close()


def test_a_stamp_changes_with_the_blob_and_goes_with_the_report(store: SqliteStore, clock: Clock) -> None:
    expires_at = store.put("a" * 32, MARK)
    first = store.stamp("a" * 32)
    assert first.expires_at == expires_at
    assert store.stamp("a" * 32) == first
    store.put("b" * 32, MARK)
    assert store.stamp("b" * 32).version != first.version
    store.update("a" * 32, lambda blob: blob)
    changed = store.stamp("a" * 32)
    assert changed.version != first.version
    assert changed.expires_at == expires_at
    store.delete("a" * 32)
    with pytest.raises(ReportNotFoundError):
        store.stamp("a" * 32)
    clock.now += 61
    with pytest.raises(ReportNotFoundError):
        store.stamp("b" * 32)


def test_a_file_from_before_there_were_stamps_is_opened(settings: SqliteStoreSettings, clock: Clock) -> None:
    path = Path(settings.path)
    path.parent.mkdir(mode=0o700)
    path.touch(mode=0o600)
    with closing(sqlite3.connect(path)) as old, old:
        old.execute("CREATE TABLE report (id TEXT PRIMARY KEY, expires_at REAL, size INTEGER, blob BLOB) STRICT")
        old.execute("INSERT INTO report VALUES (?, ?, ?, ?)", ("a" * 32, clock.now + 9, len(MARK), MARK))
    for _ in range(2):
        store = SqliteStore(settings, clock)
        assert store.get("a" * 32).blob == MARK
        assert store.stamp("a" * 32).expires_at == clock.now + 9
        store.close()
