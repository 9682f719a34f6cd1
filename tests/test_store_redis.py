"""The Redis store, against a server of its own."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from pydantic import ValidationError

from medinterp.api.store import RedisStoreSettings, open_store
from medinterp.errors import ReportNotFoundError, StoreError, StoreFullError


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    binary = shutil.which("redis-server")
    if binary is None:
        if os.environ.get("MEDINTERP_REQUIRE_ALL") == "1":
            pytest.fail("redis-server is not installed, and MEDINTERP_REQUIRE_ALL=1")
        pytest.skip("redis-server is not installed")
    directory: Path = tmp_path_factory.mktemp("redis")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    options = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(directory)]
    options += ["--maxmemory", "10mb", "--maxmemory-policy", "noeviction", "--requirepass", "secret"]
    server = subprocess.Popen([binary, *options], stdout=subprocess.DEVNULL)
    for _ in range(100):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                break
        time.sleep(0.05)
    yield f"redis://127.0.0.1:{port}/0"
    server.terminate()
    server.wait()


@pytest.fixture(autouse=True)
def password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEDINTERP_REDIS_PASSWORD", "secret")


def test_put_get_delete(url: str) -> None:
    store = open_store(RedisStoreSettings(kind="redis", url=url, lifetime_s=60))
    store.check()
    assert abs(store.put("a" * 32, b"blob") - time.time() - 60) < 2
    assert store.get("a" * 32).blob == b"blob"
    assert abs(store.get("a" * 32).expires_at - time.time() - 60) < 2
    store.delete("a" * 32)
    with pytest.raises(ReportNotFoundError):
        store.get("a" * 32)
    with pytest.raises(ReportNotFoundError):
        store.delete("a" * 32)
    assert store.purge() == 0
    store.close()


def test_a_stamp_changes_with_the_blob_and_goes_with_the_report(url: str) -> None:
    store = open_store(RedisStoreSettings(kind="redis", url=url, lifetime_s=60))
    expires_at = store.put("e" * 32, b"blob")
    first = store.stamp("e" * 32)
    assert abs(first.expires_at - expires_at) < 2
    assert store.stamp("e" * 32).version == first.version
    store.update("e" * 32, lambda blob: blob)
    assert store.stamp("e" * 32).version != first.version
    assert store.get("e" * 32).blob == b"blob"
    store.delete("e" * 32)
    with pytest.raises(ReportNotFoundError):
        store.stamp("e" * 32)
    store.close()


def test_it_expires_by_itself(url: str) -> None:
    store = open_store(RedisStoreSettings(kind="redis", url=url, lifetime_s=0.05))
    store.put("b" * 32, b"blob")
    time.sleep(0.1)
    with pytest.raises(ReportNotFoundError):
        store.get("b" * 32)
    store.close()


def test_a_full_server_is_store_full(url: str) -> None:
    with redis.Redis.from_url(url, password=os.environ.get("MEDINTERP_REDIS_PASSWORD")) as client:
        client.flushall()  # what other tests left would fill the server too early
    store = open_store(RedisStoreSettings(kind="redis", url=url, lifetime_s=60))
    store.put("a" * 32, b"x" * 1_000_000)
    written = 0
    with pytest.raises(StoreFullError):
        for written in range(1, 20):
            store.put(f"{written:032x}", b"x" * 1_000_000)
    assert written > 3
    assert len(store.get("a" * 32).blob) == 1_000_000
    store.close()


def test_no_server_or_a_wrong_password_is_a_store_error(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEDINTERP_REDIS_PASSWORD", "wrong")
    store = open_store(RedisStoreSettings(kind="redis", url=url))
    with pytest.raises(StoreError):
        store.check()
    store.close()
    store = open_store(RedisStoreSettings(kind="redis", url="redis://127.0.0.1:1/0"))
    with pytest.raises(StoreError):
        store.get("a" * 32)
    store.close()


@pytest.mark.parametrize("url", ["http://x", "redis://:secret@host/0", "unix:///tmp/x"])
def test_no_password_in_the_file(url: str) -> None:
    with pytest.raises(ValidationError):
        RedisStoreSettings(kind="redis", url=url)


def test_update_changes_the_blob_and_not_its_time(url: str) -> None:
    store = open_store(RedisStoreSettings(kind="redis", url=url, lifetime_s=60))
    expires = store.put("c" * 32, b"first")
    changed = store.update("c" * 32, lambda blob: blob + b" second")
    assert changed.blob == store.get("c" * 32).blob == b"first second"
    assert abs(changed.expires_at - expires) < 2
    with pytest.raises(ReportNotFoundError):
        store.update("d" * 32, lambda blob: blob)

    between = iter([True])

    def change(blob: bytes) -> bytes:
        if next(between, False):  # another change comes between reading and writing, once
            store.update("c" * 32, lambda blob: blob + b" third")
        return blob + b" fourth"

    assert store.update("c" * 32, change).blob == b"first second third fourth"
    store.delete("c" * 32)
