"""The SQLite store on a disk that is really full: a small tmpfs of the test's own."""

from __future__ import annotations

import errno
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from medinterp.api.store import SqliteStoreSettings
from medinterp.api.store.parts import join_parts
from medinterp.api.store.payloads import RESERVE, Payloads
from medinterp.api.store.sqlite import SqliteStore
from medinterp.errors import ReportNotFoundError, StoreFullError
from tests.api_service import Service, problem

FILM = b"a patient's film " * 10_000


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """2 MiB, mounted for the test; skipped where this user may not mount."""
    place = tmp_path / "disk"
    place.mkdir()
    options = ["-t", "tmpfs", "-o", "size=2m,mode=0700", "tmpfs", str(place)]
    mounted = subprocess.run(["mount", *options], capture_output=True, text=True)
    if mounted.returncode:
        pytest.skip(f"a tmpfs cannot be mounted here: {mounted.stderr.strip()}")
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True)


def fill(disk: Path) -> None:
    """Leave no byte free."""
    with (disk / "other").open("ab", buffering=0) as file:
        for size in (2**16, 2**12, 1):
            while True:
                try:
                    file.write(bytes(size))
                except OSError:
                    break
    status = os.statvfs(disk)
    assert status.f_bavail == 0


def everything(disk: Path) -> bytes:
    return b"".join(file.read_bytes() for file in disk.rglob("*") if file.is_file() and file.name != "other")


def settings(disk: Path, **more: object) -> SqliteStoreSettings:
    return SqliteStoreSettings.model_validate({"path": str(disk / "store" / "r.sqlite3"), **more})


def test_on_a_full_disk_everything_can_be_read_and_deleted(disk: Path) -> None:
    store = SqliteStore(settings(disk, when_full="refuse", lifetime_s=1e-3 + 3600))
    ids = [f"{n:032x}" for n in range(20)]
    kept = []
    with pytest.raises(StoreFullError):
        for report_id in ids:
            store.put(report_id, join_parts(report_id.encode() * 4000, (FILM,)))
            kept.append(report_id)
    assert len(kept) > 5
    fill(disk)
    with pytest.raises(StoreFullError, match="disk"):
        store.check()
    with pytest.raises(StoreFullError, match="disk"):
        store.require_room(1)
    for number, report_id in enumerate(kept):
        fill(disk)  # what was deleted is taken by somebody else at once
        assert store.get(report_id).blob.startswith(b"MIRP1")
        store.delete(report_id)
        for ask in (store.get, store.stamp, store.delete):
            with pytest.raises(ReportNotFoundError):
                ask(report_id)
        assert report_id.encode() * 10 not in everything(disk)
        assert (b"patient" in everything(disk)) == (number < len(kept) - 1)
    (disk / "other").unlink()
    store.check()
    store.put(ids[0], b"again")
    store.close()
    assert SqliteStore(settings(disk)).get(ids[0]).blob == b"again"


def test_a_store_is_opened_on_a_full_disk_to_delete_from_it(disk: Path) -> None:
    store = SqliteStore(settings(disk))
    store.put("a" * 32, join_parts(b"report", (FILM,)))
    store.close()
    for left in (disk / "store").glob("r.sqlite3-*"):
        left.unlink()
    fill(disk)
    store = SqliteStore(settings(disk))
    assert store.get("a" * 32)
    store.delete("a" * 32)
    assert b"patient" not in everything(disk)
    with pytest.raises(ReportNotFoundError):
        store.get("a" * 32)
    store.close()


def test_the_reports_read_longest_ago_make_room_on_the_disk(disk: Path) -> None:
    store = SqliteStore(settings(disk))
    ids = [f"{n:032x}" for n in range(60)]
    for report_id in ids:
        store.put(report_id, os.urandom(100_000))
    assert len(store.get(ids[-1]).blob) == 100_000
    with pytest.raises(ReportNotFoundError):
        store.get(ids[0])
    held = store.usage().reports
    with pytest.raises(StoreFullError):
        store.put("f" * 32, os.urandom(2**21))  # does not fit: nobody goes for it
    assert store.usage().reports == held > 5
    store.check()
    store.close()


def test_over_http_a_report_is_refused_at_once_and_a_report_deleted(disk: Path) -> None:
    service = Service(disk, store_bytes=10**9, when_full="refuse")
    with service.client:
        report_id = service.report()
        fill(disk)
        read = len(service.backend.tasks)
        assert "disk" in problem(service.post(), 507)["detail"]
        assert len(service.backend.tasks) == read
        assert "disk" in problem(service.client.get("/readyz"), 503)["detail"]
        assert service.client.get(f"/reports/{report_id}").status_code == 200
        assert service.client.delete(f"/reports/{report_id}").status_code == 204
        problem(service.client.get(f"/reports/{report_id}"), 404)
        (disk / "other").unlink()
        assert service.client.get("/readyz").status_code == 200
        service.report()


def test_the_reserve_comes_back_when_there_is_room(disk: Path) -> None:
    store = SqliteStore(settings(disk))
    store.put("a" * 32, FILM)
    reserve = disk / "store" / "r.sqlite3.d" / RESERVE
    assert reserve.exists()
    fill(disk)
    store.delete("a" * 32)
    (disk / "other").unlink(missing_ok=True)
    store.purge()
    assert reserve.stat().st_size == 2**18
    store.close()


def test_a_file_that_cannot_be_written_whole_is_not_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same without a disk of its own: the system says that it is full after the first bytes."""
    real = os.write

    def full(descriptor: int, content: bytes) -> int:
        if len(content) <= 1000:
            raise OSError(errno.ENOSPC, "full")
        return real(descriptor, content[:1000])

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(StoreFullError):
        Payloads(tmp_path).write(b"x" * 2000)
    assert list(tmp_path.iterdir()) == []
