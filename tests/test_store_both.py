"""What holds for both stores, each asked the same."""

from __future__ import annotations

import base64
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import redis

from medinterp.api.report_id import new_report_id
from medinterp.api.store import (
    RedisStoreSettings,
    ReportStore,
    SqliteStoreSettings,
    change_record,
    open_store,
    pack_record,
    unpack_record,
)
from medinterp.api.store.parts import join_parts
from medinterp.errors import (
    RecordConflictError,
    RecordNotFoundError,
    ReportNotFoundError,
    StoreError,
    StoreFullError,
)
from medinterp.types import Film
from tests.api_samples import sample_explanation
from tests.redis_server import redis_server

MARK = b"a patient's report " * 64
PARTS = (b"a patient's film " * 5000, b"the film of before " * 3000)
BLOB = join_parts(MARK, PARTS)
Opens = Callable[..., ReportStore]


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    with redis_server(tmp_path_factory.mktemp("redis"), "--maxmemory", "20mb") as port:
        yield port


@pytest.fixture(params=["sqlite", "redis"])
def kind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "redis":
        monkeypatch.setenv("MEDINTERP_REDIS_PASSWORD", "secret")
        flush(request.getfixturevalue("port"))
    return str(request.param)


def flush(port: int) -> None:
    with redis.Redis(port=port, password="secret") as client:
        client.flushall()


@pytest.fixture
def opens(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Opens]:
    opened: list[ReportStore] = []

    def opens(**settings: object) -> ReportStore:
        if kind == "sqlite":
            path = str(tmp_path / "private" / "r.sqlite3")
            store = open_store(SqliteStoreSettings.model_validate({"path": path, **settings}))
        else:
            url = f"redis://127.0.0.1:{request.getfixturevalue('port')}/0"
            store = open_store(RedisStoreSettings.model_validate({"kind": "redis", "url": url, **settings}))
        opened.append(store)
        return store

    yield opens
    for store in opened:
        store.close()


@pytest.fixture
def raw(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], bytes]:
    """All bytes that the store holds: every file of the directory, or every value of the server."""

    def on_disk() -> bytes:
        return b"".join(file.read_bytes() for file in sorted((tmp_path / "private").rglob("*")) if file.is_file())

    def in_memory() -> bytes:
        with redis.Redis(port=request.getfixturevalue("port"), password="secret") as client:
            found = b""
            for key in client.keys("medinterp:*"):
                found += key
                match client.type(key):
                    case b"hash":
                        found += b"".join(item for pair in client.hgetall(key).items() for item in pair)
                    case b"string":
                        found += client.get(key) or b""
            return found

    return on_disk if kind == "sqlite" else in_memory


def key_file(directory: Path, *keys: bytes) -> str:
    file = directory / f"keys-{len(list(directory.iterdir()))}"
    lines = ["# the newest first", "", *(base64.b64encode(key).decode() for key in keys)]
    file.write_text("\n".join(lines) + "\n")
    return str(file)


def test_put_get_stamp_delete(opens: Opens) -> None:
    store, other = opens(lifetime_s=60), opens(lifetime_s=60)
    store.check()
    before = time.time()
    assert abs(store.put("a" * 32, BLOB) - before - 60) < 2
    found = other.get("a" * 32)
    assert found.blob == BLOB
    assert abs(found.made_at - before) < 2 and abs(found.expires_at - before - 60) < 2
    stamp = other.stamp("a" * 32)
    assert (stamp.made_at, stamp.version) == (found.made_at, store.touch("a" * 32).version)
    other.delete("a" * 32)
    for ask in (store.get, store.stamp, store.touch, store.delete):
        with pytest.raises(ReportNotFoundError):
            ask("a" * 32)
    with pytest.raises(ReportNotFoundError):
        store.update("a" * 32, lambda blob: blob)


def test_reading_begins_the_lifetime_anew_and_looking_does_not(opens: Opens) -> None:
    store = opens(lifetime_s=1.5)
    for letter in "abc":
        store.put(letter * 32, MARK)
    made = store.stamp("a" * 32).made_at
    for _ in range(4):
        time.sleep(0.5)
        store.touch("a" * 32)
        assert store.get("b" * 32).expires_at > time.time() + 1
        if store.purge() == 0:
            try:
                store.stamp("c" * 32)
            except ReportNotFoundError:
                continue
    assert store.stamp("a" * 32).made_at == made
    assert store.get("b" * 32).blob == MARK
    with pytest.raises(ReportNotFoundError):
        store.get("c" * 32)


def test_an_update_changes_the_blob_and_not_its_time(opens: Opens) -> None:
    store = opens(lifetime_s=60)
    store.put("a" * 32, BLOB)
    first = store.stamp("a" * 32)
    changed = store.update("a" * 32, lambda blob: join_parts(b"changed", PARTS[1:]))
    assert changed.blob == store.get("a" * 32).blob == join_parts(b"changed", PARTS[1:])
    assert abs(changed.expires_at - first.expires_at) < 0.1
    assert store.stamp("a" * 32).version != first.version
    with pytest.raises(ZeroDivisionError):
        store.update("a" * 32, lambda blob: bytes(1 // 0))
    assert store.get("a" * 32).blob == changed.blob


def test_two_updates_at_once_lose_nothing(opens: Opens) -> None:
    stores = [opens(), opens()]
    stores[0].put("a", b"")

    def add(store: ReportStore, letter: bytes) -> None:
        for _ in range(20):
            store.update("a", lambda blob: blob + letter)

    threads = [threading.Thread(target=add, args=pair) for pair in zip(stores, (b"x", b"y"), strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(stores[0].get("a").blob) == sorted(b"x" * 20 + b"y" * 20)


def test_a_film_is_kept_once_an_owner_and_goes_with_the_last_report(opens: Opens, raw: Callable[[], bytes]) -> None:
    store = opens()
    for letter in "abc":
        store.put(letter * 32, join_parts(letter.encode() * 99, PARTS[:1]))
    assert raw().count(PARTS[0]) == 1
    store.of("alice").put("d" * 32, BLOB)
    assert raw().count(PARTS[0]) == 2 and raw().count(PARTS[1]) == 1
    store.update("d" * 32, lambda blob: join_parts(MARK, (PARTS[0], PARTS[0], PARTS[1])))
    assert store.get("d" * 32).blob == join_parts(MARK, (PARTS[0], PARTS[0], PARTS[1]))
    assert raw().count(PARTS[0]) == 2
    store.delete("d" * 32)
    assert raw().count(PARTS[0]) == 1 and PARTS[1] not in raw() and MARK not in raw()
    store.delete("a" * 32)
    store.update("b" * 32, lambda blob: b"without")
    assert store.get("c" * 32).blob == join_parts(b"c" * 99, PARTS[:1])
    store.delete("c" * 32)
    assert b"film" not in raw()
    assert store.get("b" * 32).blob == b"without"


def test_the_expired_leave_nothing_behind(opens: Opens, raw: Callable[[], bytes]) -> None:
    store = opens(lifetime_s=0.3)
    store.put("a" * 32, BLOB)
    store.put_record("job", "one", b"a patient's prompt", 0)
    time.sleep(0.4)
    store.put("b" * 32, b"another")  # a put removes what has expired, and leaves no more of it than a purge
    assert b"patient" not in raw() and b"film" not in raw()


def test_an_owner_finds_their_own(opens: Opens) -> None:
    store = opens()
    alice, bob, nobody = store.of("alice"), store.of("bob"), store.of(None)
    alice.put("a" * 32, BLOB)
    nobody.put("b" * 32, MARK)
    for asking in (bob, nobody, bob.of("ali"), store.of("n"), store.of("")):
        for ask in (asking.get, asking.stamp, asking.touch, asking.delete):
            with pytest.raises(ReportNotFoundError) as theirs:
                ask("a" * 32)
            with pytest.raises(ReportNotFoundError) as unknown:
                ask("f" * 32)
            assert str(theirs.value) == str(unknown.value)
        with pytest.raises(ReportNotFoundError):
            asking.update("a" * 32, lambda blob: b"")
    with pytest.raises(ReportNotFoundError):
        alice.get("b" * 32)
    assert store.get("a" * 32).blob == alice.get("a" * 32).blob == BLOB
    store.update("a" * 32, lambda blob: blob + b"")
    assert alice.get("a" * 32).blob == BLOB
    assert nobody.get("b" * 32).blob == MARK
    alice.delete("a" * 32)


def test_records_change_one_version_at_a_time(opens: Opens) -> None:
    store = opens()
    assert store.put_record("job", "one", b"1", 0) == 1
    with pytest.raises(RecordConflictError):
        store.put_record("job", "one", b"?", 0)
    assert store.put_record("job", "one", b"2", 1, lifetime_s=100) == 2
    found = store.get_record("job", "one")
    assert (found.record_id, found.data, found.version, found.owner) == ("one", b"2", 2, None)
    assert abs(found.expires_at - time.time() - 100) < 2
    for version in (1, 3):
        with pytest.raises(RecordConflictError):
            store.put_record("job", "one", b"?", version)
        with pytest.raises(RecordConflictError):
            store.delete_record("job", "one", version)
    with pytest.raises(RecordConflictError):
        store.put_record("job", "gone", b"?", 5)
    store.put_record("other", "one", b"another kind", 0)
    with pytest.raises(ValueError, match="lower-case word"):
        store.put_record("job:a", "b", b"", 0)
    store.of("alice").put_record("job", "two", b"hers", 0)
    assert [(one.record_id, one.owner) for one in store.list_records("job")] == [("one", None), ("two", "alice")]
    assert [one.record_id for one in store.of("alice").list_records("job")] == ["two"]
    assert store.list_records("none") == ()
    store.delete_record("job", "one", 2)
    for ask in (store.get_record, store.delete_record):
        with pytest.raises(RecordNotFoundError):
            ask("job", "one")
    assert store.get_record("other", "one").data == b"another kind"


def test_a_record_belongs_to_its_owner(opens: Opens) -> None:
    store = opens()
    store.of("alice").put_record("job", "one", b"hers", 0)
    bob = store.of("bob")
    with pytest.raises(RecordNotFoundError):
        bob.get_record("job", "one")
    with pytest.raises(RecordNotFoundError):
        bob.delete_record("job", "one")
    for version in (0, 1):
        with pytest.raises(RecordConflictError):
            bob.put_record("job", "one", b"his", version)
    assert store.put_record("job", "one", b"a worker's", 1) == 2  # behind the door
    assert store.of("alice").get_record("job", "one").data == b"a worker's"


def test_of_many_who_take_a_lease_one_gets_it(opens: Opens) -> None:
    stores = [opens() for _ in range(4)]
    stores[0].put_record("job", "one", b"", 0)
    taken: list[int] = []

    def take(number: int) -> None:
        for version in range(1, 11):
            try:
                stores[number].put_record("job", "one", bytes([number]), version)
                taken.append(version)
            except RecordConflictError:
                pass
            while stores[number].get_record("job", "one").version <= version:
                time.sleep(0.001)

    threads = [threading.Thread(target=take, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(taken) == list(range(1, 11))


def test_a_record_expires(opens: Opens) -> None:
    store = opens()
    store.put_record("job", "one", b"", 0, lifetime_s=0.1)
    time.sleep(0.2)
    with pytest.raises(RecordNotFoundError):
        store.get_record("job", "one")
    assert store.list_records("job") == ()
    assert store.put_record("job", "one", b"", 0) == 1


def test_with_a_key_nothing_can_be_read_in_the_store(opens: Opens, raw: Callable[[], bytes], tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    keys.mkdir()
    store = opens(encryption_key_file=key_file(keys, b"1" * 32))
    store.put("a" * 32, BLOB)
    store.put_record("job", "one", b"a patient's prompt", 0)
    assert b"patient" not in raw() and b"film" not in raw() and b"prompt" not in raw()
    assert store.get("a" * 32).blob == BLOB
    assert store.get_record("job", "one").data == b"a patient's prompt"
    store.update("a" * 32, lambda blob: blob)
    assert b"patient" not in raw()


def test_keys_are_changed_by_putting_the_new_one_first(opens: Opens, tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    keys.mkdir()
    old, new, other = b"1" * 32, b"2" * 32, b"3" * 32
    opens(encryption_key_file=key_file(keys, old)).put("a" * 32, BLOB)
    with pytest.raises(StoreError, match="another key"):
        opens(encryption_key_file=key_file(keys, other))
    with pytest.raises(StoreError, match="encrypted: name its key"):
        opens()
    both = opens(encryption_key_file=key_file(keys, new, old))
    both.put("b" * 32, BLOB)
    assert both.get("a" * 32).blob == both.get("b" * 32).blob == BLOB
    only_new = opens(encryption_key_file=key_file(keys, new))
    assert only_new.get("b" * 32).blob == BLOB
    with pytest.raises(StoreError, match="a key that encryption_key_file has not"):
        only_new.get("a" * 32)
    only_new.delete("a" * 32)
    with pytest.raises(StoreError, match="another key"):
        opens(encryption_key_file=key_file(keys, old))


def test_a_store_in_use_is_not_encrypted_by_the_way_and_an_empty_one_is(opens: Opens, tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    keys.mkdir()
    plain, file = opens(), key_file(keys, b"1" * 32)
    plain.put("a" * 32, BLOB)
    with pytest.raises(StoreError, match="1 reports and records that are not encrypted"):
        opens(encryption_key_file=file)
    plain.delete("a" * 32)
    store = opens(encryption_key_file=file)
    store.put("a" * 32, BLOB)
    store.delete("a" * 32)
    opens().put("a" * 32, BLOB)


def test_a_key_file_that_holds_no_key_is_told(opens: Opens, tmp_path: Path) -> None:
    file = tmp_path / "file"
    for content, told in (("", "holds no key"), ("# one\nQUJD\n", "line 2"), ("\n\nsecret-words!\n", "line 3")):
        file.write_text(content)
        with pytest.raises(StoreError, match=told) as raised:
            opens(encryption_key_file=str(file))
        assert "QUJD" not in str(raised.value) and "secret" not in str(raised.value)
    with pytest.raises(StoreError, match="cannot be read: No such file"):
        opens(encryption_key_file=str(tmp_path / "none"))


@pytest.mark.parametrize("when_full", ["evict", "refuse"])
def test_the_report_read_longest_ago_makes_room_or_nobody_does(
    opens: Opens, when_full: str, caplog: pytest.LogCaptureFixture
) -> None:
    limits = {"max_bytes": 10_000_000} if "sqlite" in repr(type(opens())).lower() else {}
    store = opens(when_full=when_full, lifetime_s=600, **limits)
    ids = [f"{n:032x}" for n in range(40)]
    with caplog.at_level(logging.INFO, logger="medinterp"):
        store.put(ids[0], os.urandom(1_000_000))
        if when_full == "refuse":
            with pytest.raises(StoreFullError):
                for report_id in ids[1:]:
                    store.put(report_id, os.urandom(1_000_000))
            with pytest.raises(StoreFullError):
                store.require_room(10_000_000)
            assert len(store.get(ids[0]).blob) == 1_000_000
            store.delete(ids[0])
            with pytest.raises(ReportNotFoundError):
                store.get(ids[0])
            store.put("f" * 32, os.urandom(500_000))
        else:
            for report_id in ids[1:]:
                time.sleep(0.002)
                store.put(report_id, os.urandom(1_000_000))
            for report_id in (ids[0], ids[20]):
                with pytest.raises(ReportNotFoundError):
                    store.get(report_id)
            for report_id in ids[-4:]:
                assert len(store.get(report_id).blob) == 1_000_000
            store.check()
            store.require_room(5_000_000)
            with pytest.raises(StoreFullError):
                store.put("f" * 32, os.urandom(25_000_000))
            assert store.get(ids[-1])
            assert "1 reports made room for another" in caplog.text
    used = store.usage()
    assert used.max_bytes is not None and used.share > 0.8 and used.reports > 4
    nearly = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert len(nearly) == 1 and "when it is full" in nearly[0].getMessage()
    assert not any(report_id in caplog.text for report_id in ids)


def test_nothing_is_read_from_another_place(opens: Opens, kind: str, tmp_path: Path, port: int) -> None:
    """A report's bytes are bound to its id: what was moved under another id is refused, with a key and without."""
    store = opens()
    store.put("a" * 32, MARK)
    store.put("b" * 32, MARK + b"!")
    if kind == "redis":
        with redis.Redis(port=port, password="secret") as client:
            client.hset(f"medinterp:3:report:{'a' * 32}", "b", client.hget(f"medinterp:3:report:{'b' * 32}", "b"))
    else:
        import sqlite3
        from contextlib import closing

        with closing(sqlite3.connect(tmp_path / "private" / "r.sqlite3")) as index, index:
            index.execute("UPDATE report SET file = (SELECT file FROM report WHERE id = ?)", ("b" * 32,))
    with pytest.raises(StoreError):
        store.get("a" * 32)
    assert store.get("b" * 32).blob == MARK + b"!"


def test_a_report_comes_back_from_the_store(opens: Opens) -> None:
    store, report_id = opens(), new_report_id()
    pixels = np.random.default_rng(1).integers(0, 2**16, (50, 40)).astype(np.uint16)
    explanation = sample_explanation(Film(pixels, "application/dicom", "12" * 32))
    store.put(report_id, pack_record(explanation))
    found = unpack_record(store.get(report_id).blob)
    np.testing.assert_array_equal(found.film.pixels, pixels)
    assert found.report == explanation.report
    store.update(report_id, lambda blob: change_record(blob, lambda kept: kept))
    np.testing.assert_array_equal(unpack_record(store.get(report_id).blob).film.pixels, pixels)
