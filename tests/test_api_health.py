"""Health: each part's check finds what it says, and a slow machine is well."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest

from deployments.relevancy import RelevancyDeployment
from deployments.rendering import RenderingDeployment
from deployments.settings import UiArgs
from deployments.ui import UiDeployment
from medinterp.api import health
from medinterp.api.health import STALLED_S, STORE_AWAY_S, ApiHealth, Probe, UnderWay, store_probe
from medinterp.api.store import ReportStore, SqliteStoreSettings, open_store
from medinterp.errors import ServiceInterruptedError, StoreError, StoreFullError


class Clock:
    """Stands still until it is set forward."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "LOOK_S", 0.05)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[ReportStore]:
    opened = open_store(SqliteStoreSettings(path=str(tmp_path / "store" / "r.sqlite3")))
    yield opened
    opened.close()


class Broken:
    """A store that fails as it is told to."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error

    def check(self) -> None:
        if self.error is not None:
            raise self.error


def test_silence_is_borne_for_a_while_by_one_thread(clock: Clock) -> None:
    answered, asked = threading.Event(), 0

    def look() -> None:
        nonlocal asked
        asked += 1
        answered.wait(10)

    probe = Probe("the device", look, patience_s=lambda: 30, clock=clock)

    async def run() -> None:
        for _ in range(3):
            await probe.check()  # slow is well
            clock.now += 10
        clock.now += 1
        started = time.monotonic()
        with pytest.raises(ServiceInterruptedError, match="the device: no answer for 31 s"):
            await probe.check()
        assert time.monotonic() - started < 1
        assert asked == 1
        answered.set()
        for _ in range(20):
            await asyncio.sleep(0.01)
            try:
                await probe.check()
            except ServiceInterruptedError:
                continue
            return
        raise AssertionError("an answer in the end is an answer")

    asyncio.run(run())


def test_an_error_counts_at_once_unless_it_is_forgiven_for_a_while(clock: Clock) -> None:
    broken = Broken(RuntimeError("CUDA error: device-side assert"))
    with pytest.raises(RuntimeError, match="device-side"):
        asyncio.run(Probe("it", broken.check, patience_s=lambda: 30, clock=clock).check())
    broken.error = StoreError("connection refused")
    probe = store_probe(broken, clock)  # type: ignore[arg-type]

    async def run() -> None:
        await probe.check()
        clock.now += STORE_AWAY_S
        await probe.check()
        broken.error = None
        await probe.check()  # it is back, and the next absence begins anew
        broken.error = StoreError("connection refused")
        clock.now += 1
        await probe.check()
        clock.now += STORE_AWAY_S + 1
        with pytest.raises(StoreError, match="connection refused"):
            await probe.check()
        broken.error = StoreFullError("full")
        await probe.check()

    asyncio.run(run())


def test_what_nobody_waits_for_any_more_is_stuck(clock: Clock) -> None:
    under_way = UnderWay("maps", clock)
    under_way.check()
    with under_way.one():
        clock.now += STALLED_S
        with under_way.one():
            under_way.check()
            clock.now += 1
            with pytest.raises(ServiceInterruptedError, match="maps: one has taken 301 s; it is stuck"):
                under_way.check()
    under_way.check()


def test_the_api_misses_its_workers_its_store_and_its_purging(store: ReportStore, clock: Clock) -> None:
    workers = 2

    async def run() -> None:
        nonlocal workers
        found = ApiHealth(store, lambda: workers, clock)
        found.purging = asyncio.create_task(asyncio.sleep(60))
        await found.check()
        workers = 0
        await found.check()
        clock.now += STORE_AWAY_S + 1
        with pytest.raises(ServiceInterruptedError, match="no decoding worker"):
            await found.check()
        workers = 1
        await found.check()
        found.purging.cancel()
        await asyncio.sleep(0)
        with pytest.raises(ServiceInterruptedError, match="expired reports"):
            await found.check()

    asyncio.run(run())
    store.close()
    gone = ApiHealth(store, lambda: 1, clock)

    async def away() -> None:
        await gone.check()
        clock.now += STORE_AWAY_S + 1
        with pytest.raises(StoreError):
            await gone.check()

    asyncio.run(away())


def checked(deployment: Any) -> None:
    looking: Coroutine[Any, Any, None] = deployment.check_health()
    asyncio.run(looking)


def test_relevancy_misses_a_thread_that_is_stuck(clock: Clock) -> None:
    relevancy = RelevancyDeployment()
    relevancy._under_way._clock = clock
    checked(relevancy)
    with relevancy._under_way.one():
        clock.now += STALLED_S + 1
        with pytest.raises(ServiceInterruptedError, match="stuck"):
            checked(relevancy)


def test_rendering_misses_its_store_and_a_picture_that_is_stuck(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    rendering = RenderingDeployment(SqliteStoreSettings(path=str(tmp_path / "store" / "r.sqlite3")))
    rendering._under_way._clock = rendering._store_probe._clock = clock
    checked(rendering)
    asyncio.run(rendering.ping())
    held = threading.Event()

    async def stuck() -> None:
        drawing = asyncio.create_task(rendering._draw(lambda: held.wait(10)))
        await asyncio.sleep(0.05)
        clock.now += STALLED_S + 1
        with pytest.raises(ServiceInterruptedError, match="pictures and files: one has taken"):
            await rendering.check_health()
        held.set()
        await drawing
        await rendering.check_health()

    asyncio.run(stuck())
    rendering.reconfigure({"kept_bytes": 1234})
    assert rendering._reports._max_bytes == 1234
    rendering._reports.close()
    with pytest.raises(StoreError):
        asyncio.run(rendering.ping())
    checked(rendering)
    clock.now += STORE_AWAY_S + 1
    with pytest.raises(StoreError):
        checked(rendering)


def test_the_page_misses_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    plain: Any = UiDeployment.__bases__[0]  # without what Serve's decorator adds, which wants a loop of its own
    ui = plain(UiArgs())
    checked(ui)
    app = ui.__serve_build_asgi_app__()
    checked(ui)
    app.router.routes[:] = [route for route in app.router.routes if getattr(route, "path", "") != "/"]
    with pytest.raises(ServiceInterruptedError, match="the page answers 404"):
        checked(ui)
