"""Reports kept unpacked: quick while they are there, and gone from memory when they are gone from the store."""

from __future__ import annotations

import gc
import time
import weakref
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medinterp.api.backend import PictureTask
from medinterp.api.kept import CHECK_S, KeptExplanation, KeptReports
from medinterp.api.pictures import film_png, overlay_png
from medinterp.api.selection import WordSelection
from medinterp.api.store import ReportStore, SqliteStoreSettings, open_store, pack_record, unpack_record
from medinterp.errors import ReportNotFoundError, StoreError
from medinterp.types import MapPack
from tests.api_samples import SPANS, sample_explanation, sample_film

ONE, TWO = "1" * 32, "2" * 32
BLOB = pack_record(sample_explanation())


class Counting:
    """A store that counts how often a blob is read."""

    def __init__(self, store: ReportStore) -> None:
        self._store = store
        self.read = 0
        self.broken = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def get(self, report_id: str) -> Any:
        self.read += 1
        return self._store.get(report_id)

    def stamp(self, report_id: str) -> Any:
        if self.broken:
            raise StoreError("the store cannot be reached")
        return self._store.stamp(report_id)

    def touch(self, report_id: str) -> Any:
        if self.broken:
            raise StoreError("the store cannot be reached")
        return self._store.touch(report_id)


@pytest.fixture
def store(tmp_path: Path) -> Counting:
    path = str(tmp_path / "private" / "r.sqlite3")
    return Counting(open_store(SqliteStoreSettings(path=path, lifetime_s=60)))


@pytest.fixture
def reports(store: Counting) -> Iterator[KeptReports]:
    """Whose thread looks at once, nearly."""
    reports = KeptReports(store, 10**6, every_s=0.02)
    yield reports
    reports.close()


def within_s(seconds: float, holds: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if holds():
            return True
        time.sleep(0.01)
    return holds()


def test_a_report_is_unpacked_once(store: Counting, reports: KeptReports) -> None:
    store.put(ONE, BLOB)
    first = reports.get(ONE)
    assert first is reports.get(ONE)
    assert store.read == 1
    assert reports.nbytes == 40 * 60 * (2 + 2) + len(SPANS) * 16 * 4


def test_what_is_deleted_is_not_found_at_once_and_leaves_memory_by_itself(
    store: Counting, reports: KeptReports
) -> None:
    store.put(ONE, BLOB)
    film = weakref.ref(reports.get(ONE).film.pixels)
    store.delete(ONE)
    assert within_s(2.0, lambda: reports.nbytes == 0)
    gc.collect()
    assert film() is None
    with pytest.raises(ReportNotFoundError):
        reports.get(ONE)


def test_the_next_request_drops_it_before_the_thread_does(store: Counting) -> None:
    slow = KeptReports(store, 10**6, every_s=60)
    store.put(ONE, BLOB)
    slow.get(ONE)
    store.delete(ONE)
    with pytest.raises(ReportNotFoundError):
        slow.get(ONE)
    assert slow.nbytes == 0
    slow.close()


def test_what_has_expired_is_gone_too(tmp_path: Path) -> None:
    store = open_store(SqliteStoreSettings(path=str(tmp_path / "private" / "r.sqlite3"), lifetime_s=0.3))
    reports = KeptReports(store, 10**6, every_s=0.02)
    store.put(ONE, BLOB)
    reports.get(ONE)
    assert reports.nbytes > 0
    assert within_s(2.0, lambda: reports.nbytes == 0)
    with pytest.raises(ReportNotFoundError):
        reports.get(ONE)
    reports.close()


def test_the_thread_looks_every_few_seconds() -> None:
    assert CHECK_S <= 3


def test_what_has_changed_is_read_again(store: Counting, reports: KeptReports) -> None:
    store.put(ONE, BLOB)
    assert list(reports.get(ONE).packs) == ["raw"]

    def change(blob: bytes) -> bytes:
        explanation = unpack_record(blob)
        values = np.ones((len(SPANS), 4, 4), np.float32)
        packs = {**explanation.packs, "occlusion": MapPack("occlusion", values, True, True)}
        return pack_record(replace(explanation, packs=packs))

    store.update(ONE, change)
    assert list(reports.get(ONE).packs) == ["raw", "occlusion"]
    assert store.read == 2


def test_what_was_looked_at_longest_ago_makes_room(store: Counting) -> None:
    store.put(ONE, BLOB)
    store.put(TWO, BLOB)
    size = KeptExplanation(**vars(unpack_record(BLOB))).nbytes
    reports = KeptReports(store, size, every_s=60)
    reports.get(ONE)
    reports.get(TWO)
    assert reports.nbytes == size
    reports.get(TWO)
    assert store.read == 2
    reports.get(ONE)
    assert store.read == 3
    reports.close()


def test_nothing_is_kept_where_nothing_may_be(store: Counting) -> None:
    reports = KeptReports(store, 0, every_s=60)
    store.put(ONE, BLOB)
    for _ in range(2):
        reports.get(ONE)
    assert (store.read, reports.nbytes) == (2, 0)
    reports.close()


def test_while_the_store_cannot_be_reached_nothing_is_kept_or_shown(store: Counting, reports: KeptReports) -> None:
    store.put(ONE, BLOB)
    reports.get(ONE)
    store.broken = True
    assert within_s(2.0, lambda: reports.nbytes == 0)
    with pytest.raises(StoreError):
        reports.get(ONE)
    store.broken = False
    reports.get(ONE)


@pytest.mark.parametrize(
    "task",
    [
        PictureTask(),
        PictureTask(size=30),
        PictureTask(size=200),
        PictureTask(scale="map", contours=True),
        PictureTask(without_sinks=True, colormap="gray"),
    ],
)
def test_pictures_are_the_same_kept_or_not(task: PictureTask) -> None:
    sample = sample_explanation(sample_film())
    sinks = np.eye(4, dtype=bool)
    sample = replace(sample, packs={"raw": replace(sample.packs["raw"], sinks=sinks)})
    fresh = unpack_record(pack_record(sample))
    kept = KeptExplanation(**vars(fresh))
    for others in (task, replace(task, opacity=0.9)):  # the second time from what was kept
        for _ in range(2):
            assert overlay_png(kept, WordSelection(1, 2), others) == overlay_png(fresh, WordSelection(1, 2), others)
    assert film_png(kept, None) == film_png(fresh, None)
    assert film_png(kept, 20) == film_png(fresh, 20)
