"""The SQLite store: lifetime, privacy, size limit, and that what is forgotten is gone."""

from __future__ import annotations

import base64
import sqlite3
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import cv2
import msgpack
import numpy as np
import pytest

from medinterp.api.report_id import new_report_id
from medinterp.api.store import SqliteStoreSettings, change_record, open_store, pack_record, unpack_record
from medinterp.api.store.parts import join_parts
from medinterp.api.store.record import unpack_plain
from medinterp.api.store.sqlite import SqliteStore
from medinterp.errors import ReportNotFoundError, StoreError, StoreFullError
from tests.api_samples import sample_explanation

MARK = b"a patient's film " * 64


class Clock:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def settings(tmp_path: Path) -> SqliteStoreSettings:
    return SqliteStoreSettings(path=str(tmp_path / "private" / "r.sqlite3"), lifetime_s=60, max_bytes=12_000)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(settings: SqliteStoreSettings, clock: Clock) -> Iterator[SqliteStore]:
    store = SqliteStore(settings, clock)
    yield store
    store.close()


def on_disk(settings: SqliteStoreSettings) -> bytes:
    """Every byte of every file: index, log, shared memory, payloads."""
    return b"".join(file.read_bytes() for file in sorted(Path(settings.path).parent.rglob("*")) if file.is_file())


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
    assert store.stamp("c" * 32)
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


def test_only_the_user_may_look(store: SqliteStore, settings: SqliteStoreSettings) -> None:
    store.put("a" * 32, MARK)
    directory = Path(settings.path).parent
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in directory.rglob("*") if file.is_file()}
    assert {"r.sqlite3", "r.sqlite3-wal", "reserve"} <= set(modes) and len(modes) == 5
    assert set(modes.values()) == {0o600}
    assert stat.S_IMODE((directory / "r.sqlite3.d").stat().st_mode) == 0o700


@pytest.mark.parametrize("open_place", ["directory", "file"])
def test_a_place_that_others_may_enter_is_refused(settings: SqliteStoreSettings, open_place: str) -> None:
    path = Path(settings.path)
    path.parent.mkdir(mode=0o700)
    path.touch(0o600)
    place = path.parent if open_place == "directory" else path
    place.chmod(place.stat().st_mode | 0o004)
    with pytest.raises(StoreError, match="chmod"):
        open_store(settings)


def test_the_size_limit_holds_and_the_expired_make_room(settings: SqliteStoreSettings, clock: Clock) -> None:
    store = SqliteStore(settings.model_copy(update={"when_full": "refuse", "max_bytes": 10_300}), clock)
    store.put("a" * 32, b"x" * 6000)
    with pytest.raises(StoreFullError):
        store.put("b" * 32, b"x" * 4301)
    store.put("c" * 32, b"x" * 4000)
    with pytest.raises(ReportNotFoundError):
        store.get("b" * 32)
    with pytest.raises(StoreFullError, match="of 10300 bytes"):
        store.check()
    store.require_room(200)
    with pytest.raises(StoreFullError, match="of 10300 bytes"):
        store.require_room(300)
    with pytest.raises(StoreFullError):
        store.update("c" * 32, lambda blob: blob + b"x" * 300)
    assert store.get("c" * 32).blob == b"x" * 4000
    store.get("c" * 32)
    clock.now += 61
    store.put("d" * 32, b"x" * 10_200)
    store.close()


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
        assert store.stamp("a" * 32).expires_at == clock.now + 9
        assert store.update("a" * 32, lambda blob: blob).blob == MARK
        store.close()


def index(settings: SqliteStoreSettings) -> bytes:
    """What SQLite itself has written: file, log and shared memory."""
    return b"".join(file.read_bytes() for file in Path(settings.path).parent.glob("r.sqlite3*") if file.is_file())


def test_while_somebody_reads_the_file_a_deleted_report_is_gone_and_its_row_follows(
    store: SqliteStore, settings: SqliteStoreSettings
) -> None:
    """A reader from outside keeps SQLite's log from being emptied: ids, sizes and times stay in it until it ends."""
    report_id = new_report_id()
    store.of("key of ward 7").put(report_id, join_parts(MARK, (b"film " * 999,)))
    with closing(sqlite3.connect(settings.path)) as reader:
        reader.execute("BEGIN")
        assert reader.execute("SELECT COUNT(*) FROM report").fetchone() == (1,)
        store.delete(report_id)
        assert b"patient" not in on_disk(settings) and b"film" not in on_disk(settings)
        assert report_id.encode() in index(settings) and b"ward 7" in index(settings)
        store.purge()
        assert report_id.encode() in index(settings)
        reader.execute("COMMIT")
    store.purge()
    assert report_id.encode() not in index(settings) and b"ward 7" not in index(settings)


def test_the_index_never_holds_what_a_report_or_a_record_says(
    store: SqliteStore, settings: SqliteStoreSettings
) -> None:
    store.put("a" * 32, join_parts(MARK, (b"film " * 999,)))
    store.put_record("job", "one", MARK, 0)
    store.update("a" * 32, lambda blob: blob)
    store.put_record("job", "one", MARK, 1)
    assert b"patient" in on_disk(settings) and b"film" in on_disk(settings)
    assert b"patient" not in index(settings) and b"film" not in index(settings)


def test_records_count_and_never_make_room(store: SqliteStore) -> None:
    store.put("a" * 32, bytes(6000))
    store.put_record("job", "one", bytes(8000), 0)  # the report does
    with pytest.raises(ReportNotFoundError):
        store.get("a" * 32)
    for put in (lambda: store.put("b" * 32, bytes(5000)), lambda: store.put_record("job", "two", bytes(5000), 0)):
        with pytest.raises(StoreFullError):
            put()
    with pytest.raises(StoreFullError):
        store.require_room(5000)
    assert len(store.get_record("job", "one").data) == 8000
    assert store.usage().bytes > 8000


def test_files_that_a_killed_process_left_are_swept(store: SqliteStore, settings: SqliteStoreSettings) -> None:
    store.put("a" * 32, b"kept")
    payloads = Path(settings.path).with_name("r.sqlite3.d")
    (payloads / ("0" * 32)).write_bytes(MARK)
    store.purge()
    assert b"patient" not in on_disk(settings)
    assert store.get("a" * 32).blob == b"kept"


def test_what_goes_is_overwritten_before_it_is_unlinked(
    store: SqliteStore, settings: SqliteStoreSettings, clock: Clock
) -> None:
    """Seen by who has the files open still, as a disk's blocks would be."""
    for letter, forget in (("a", lambda: store.delete("a" * 32)), ("b", store.purge)):
        store.put(letter * 32, join_parts(MARK, (b"film " * 999,)))
        files = [file.open("rb") for file in Path(settings.path).with_name("r.sqlite3.d").iterdir()]
        assert MARK in b"".join(file.read() for file in files)
        clock.now += 61 if letter == "b" else 0
        forget()
        for file in files:
            file.seek(0)
        assert not any(b"".join(file.read() for file in files))
        for file in files:
            file.close()


def test_a_damaged_file_is_told_and_not_shown(store: SqliteStore, settings: SqliteStoreSettings) -> None:
    store.put("a" * 32, MARK)
    (file,) = (one for one in Path(settings.path).with_name("r.sqlite3.d").iterdir() if one.name != "reserve")
    file.write_bytes(file.read_bytes().replace(b"film", b"folm"))
    with pytest.raises(StoreError, match="damaged"):
        store.get("a" * 32)
    store.delete("a" * 32)


def test_a_reader_and_a_deletion_at_once(settings: SqliteStoreSettings) -> None:
    """Who reads while the files are overwritten gets the whole report or none."""
    settings = settings.model_copy(update={"max_bytes": 10**8})
    stores = [SqliteStore(settings) for _ in range(2)]
    wrong: list[object] = []
    ended = threading.Event()
    blob = join_parts(b"body " * 9999, (b"film " * 99_999,))

    def read() -> None:
        while not ended.is_set():
            try:
                if stores[0].get("a" * 32).blob != blob:
                    wrong.append("torn")
            except ReportNotFoundError:
                pass
            except Exception as error:
                wrong.append(error)

    thread = threading.Thread(target=read)
    thread.start()
    for _ in range(40):
        stores[1].put("a" * 32, blob)
        stores[1].update("a" * 32, lambda blob: blob)
        stores[1].delete("a" * 32)
    ended.set()
    thread.join()
    assert wrong == []
    for store in stores:
        store.close()


def old_file(settings: SqliteStoreSettings, blob: bytes, expires_at: float) -> None:
    """As the version before this one left it."""
    path = Path(settings.path)
    path.parent.mkdir(mode=0o700)
    path.touch(mode=0o600)
    with closing(sqlite3.connect(path)) as old, old:
        old.execute("PRAGMA auto_vacuum = FULL")
        old.execute("PRAGMA journal_mode = WAL")
        old.executescript(
            """CREATE TABLE IF NOT EXISTS report (
                id TEXT PRIMARY KEY, expires_at REAL NOT NULL, size INTEGER NOT NULL,
                version INTEGER NOT NULL DEFAULT 0, blob BLOB NOT NULL
            ) STRICT;
            CREATE INDEX IF NOT EXISTS report_expiry ON report (expires_at);
            CREATE INDEX IF NOT EXISTS report_size ON report (size);"""
        )
        row = (expires_at, len(blob), 77, blob)
        old.execute("INSERT INTO report VALUES (?, ?, ?, ?, ?)", ("a" * 32, *row))
        old.execute("INSERT INTO report VALUES (?, ?, ?, ?, ?)", ("b" * 32, *row))


@pytest.mark.parametrize("encrypted", [False, True])
def test_a_file_of_the_version_before_is_brought_up(
    settings: SqliteStoreSettings, clock: Clock, tmp_path: Path, encrypted: bool
) -> None:
    plain, _ = unpack_plain(pack_record(sample_explanation()))
    film = sample_explanation().film
    png = cv2.imencode(".png", film.pixels, [cv2.IMWRITE_PNG_COMPRESSION, 1])[1].tobytes()
    plain["film"] = {**{k: v for k, v in plain["film"].items() if k not in ("part", "coding")}, "png": png}
    old_file(settings, msgpack.packb({**plain, "version": 4}, use_bin_type=True), clock.now + 50)
    assert b"pleural effusion" in index(settings)
    if encrypted:
        key = tmp_path / "key"
        key.write_text(base64.b64encode(b"1" * 32).decode())
        settings = settings.model_copy(update={"encryption_key_file": str(key)})
    settings = settings.model_copy(update={"max_bytes": 10**6})
    store = SqliteStore(settings, clock)
    assert b"pleural effusion" not in index(settings)
    assert (b"pleural effusion" in on_disk(settings)) == (not encrypted)
    stamp = store.stamp("a" * 32)
    assert (stamp.version, stamp.expires_at, stamp.made_at) == (77, clock.now + 50, clock.now - 10)
    found = unpack_record(store.of(None).get("a" * 32).blob)
    np.testing.assert_array_equal(found.film.pixels, film.pixels)
    assert found.report == sample_explanation().report
    store.update("a" * 32, lambda blob: change_record(blob, lambda kept: kept))
    np.testing.assert_array_equal(unpack_record(store.get("a" * 32).blob).film.pixels, film.pixels)
    clock.now += 51
    assert store.purge() == 1  # "a" was read
    store.close()


def test_a_file_of_a_later_version_or_another_program_is_refused(settings: SqliteStoreSettings) -> None:
    SqliteStore(settings).close()
    with closing(sqlite3.connect(settings.path)) as later, later:
        later.execute("PRAGMA user_version = 3")
    with pytest.raises(StoreError, match=r"version 3, this one reads 2.*run that version, or name another path"):
        open_store(settings)
    with closing(sqlite3.connect(settings.path)) as other, other:
        other.executescript("PRAGMA user_version = 0; DROP TABLE report; CREATE TABLE report (author TEXT)")
    with pytest.raises(StoreError, match="another program"):
        open_store(settings)


def test_three_processes_open_a_new_store_at_once(settings: SqliteStoreSettings) -> None:
    script = (
        "import sys; from medinterp.api.store import SqliteStoreSettings, open_store\n"
        "store = open_store(SqliteStoreSettings(path=sys.argv[1])); store.put(sys.argv[2] * 32, b'x'); store.close()"
    )
    running = [
        subprocess.Popen([sys.executable, "-c", script, settings.path, letter], stderr=subprocess.PIPE, text=True)
        for letter in "abc"
    ]
    assert [(one.communicate()[1], one.returncode) for one in running] == [("", 0)] * 3
    store = SqliteStore(settings)
    assert store.usage().reports == 3
    store.close()
