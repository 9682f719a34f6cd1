"""Decoding in worker processes: the film that comes back, and what becomes of a worker that goes over its limits."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from medinterp.errors import (
    FilmTooLargeError,
    FilmWithheldError,
    MedInterpError,
    NoPictureError,
    SelectionError,
    ServiceBusyError,
    ServiceInterruptedError,
    UnreadableFilmError,
)
from medinterp.imaging import FilmLimits, read_film
from medinterp.imaging.worker_messages import (
    BrokenMessageError,
    error_header,
    film_header,
    film_of,
    framed,
    parsed,
    pixel_bytes,
    unforeseen_of,
)
from medinterp.imaging.workers import DecodingLimits, DecodingPool
from medinterp.types import Film
from tests.api_backend import png
from tests.api_films import dicom
from tests.readers import PATIENT, READER, film

ROOT = Path(__file__).parent.parent
SMALL = DecodingLimits(workers=1, queue=2, memory_bytes=2**28, cpu_s=1, wall_s=8)
Body = Callable[[DecodingPool], Awaitable[None]]


@asynccontextmanager
async def pool_of(reader: str = READER, **limits: Any) -> AsyncIterator[DecodingPool]:
    pool = DecodingPool(FilmLimits(), replace(SMALL, **limits), reader=reader)
    try:
        yield pool
    finally:
        pool.close()


def with_pool(body: Body, **limits: Any) -> None:
    async def run() -> None:
        async with pool_of(**limits) as pool:
            await body(pool)

    asyncio.run(run())


def same(one: Film, other: Film) -> None:
    np.testing.assert_array_equal(one.pixels, other.pixels)
    assert one.pixels.dtype == other.pixels.dtype
    for name in ("media_type", "sha256", "notes", "warnings", "windows", "window"):
        assert getattr(one, name) == getattr(other, name), name


def test_a_film_comes_back_as_it_would_be_read_here() -> None:
    async def run() -> None:
        async with pool_of("medinterp.imaging.film:read_film", workers=2, cpu_s=10) as pool:
            for data in (png(), png(90, 70), dicom()):
                same(await pool.read(data), read_film(data))
            with pytest.raises(UnreadableFilmError) as here:
                read_film(png()[:-5])
            with pytest.raises(UnreadableFilmError) as there:
                await pool.read(png()[:-5])
            assert str(there.value) == str(here.value)

    asyncio.run(run())


def test_everything_that_a_film_carries_comes_through() -> None:
    async def body(pool: DecodingPool) -> None:
        same(await pool.read(b"plain"), film("plain"))
        (pid,) = pool.pids
        same(await pool.read(b"again"), film("again"))
        assert pool.pids == (pid,), "the same worker reads the next"
        cut = await pool.read(b"long")
        assert len(cut.notes) == 100
        assert len(cut.notes[0]) == 1000

    with_pool(body)


def test_a_worker_is_restricted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "secret")
    monkeypatch.setenv("MEDINTERP_REDIS_PASSWORD", "secret")

    async def body(pool: DecodingPool) -> None:
        notes = (await pool.read(b"tell", window="full")).notes
        assert notes[:2] == (f"limits {2**26} 32", "window full")
        assert notes[2:6] == (f"nice {os.nice(0) + 10}", "core 0", "file 0", "secret None []")
        # Jobs, answers, three that lead nowhere, and the listing's own.
        assert len(eval(notes[6].removeprefix("descriptors "))) <= 6, notes[6]

    with_pool(body)


def test_nothing_can_be_written_to_a_disk() -> None:
    async def body(pool: DecodingPool) -> None:
        with pytest.raises(UnreadableFilmError):
            await pool.read(b"write")

    with_pool(body)


def test_what_libraries_print_is_no_answer() -> None:
    async def body(pool: DecodingPool) -> None:
        same(await pool.read(b"print"), film("print"))

    with_pool(body)


@pytest.mark.parametrize(
    ("job", "kind", "text"),
    [
        (b"burn", FilmTooLargeError, "more than 1 s of computing"),
        (b"sleep", FilmTooLargeError, "longer than 3 s to decode"),
        (b"hungry 300000000", FilmTooLargeError, "more memory than it may"),
        (b"opencv", FilmTooLargeError, "more memory than it may"),
        (b"crash", UnreadableFilmError, "could not cope"),
        (b"leave", UnreadableFilmError, "could not cope"),
        (b"unforeseen", UnreadableFilmError, "could not cope"),
        (b"none", NoPictureError, "^The film shows nothing.$"),
        (b"window", SelectionError, "^no window full$"),
    ],
)
def test_over_a_limit_or_broken(
    job: bytes, kind: type[MedInterpError], text: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def body(pool: DecodingPool) -> None:
        await pool.read(b"first")
        with pytest.raises(kind, match=text) as caught:
            await pool.read(job, window="full")
        assert type(caught.value) is kind
        assert PATIENT not in str(caught.value)
        same(await pool.read(b"next"), film("next"))

    with caplog.at_level(logging.DEBUG, logger="medinterp"):
        with_pool(body, wall_s=3)
    assert PATIENT not in caplog.text
    assert ("KeyError" in caplog.text) == (job == b"unforeseen")


def test_each_film_has_its_own_seconds_of_computing() -> None:
    async def body(pool: DecodingPool) -> None:
        for _ in range(4):
            await pool.read(b"burn 0.7")
        assert len(set(pool.pids)) == 1

    with_pool(body)


def test_a_worker_that_keeps_memory_is_replaced() -> None:
    async def body(pool: DecodingPool) -> None:
        await pool.read(b"plain")
        (pid,) = pool.pids
        same(await pool.read(b"leak"), film("leak"))
        assert pid not in pool.pids
        same(await pool.read(b"leak"), film("leak"))

    with_pool(body, memory_bytes=2**29)


def test_who_goes_away_takes_the_worker_along() -> None:
    async def body(pool: DecodingPool) -> None:
        await pool.read(b"plain")
        (pid,) = pool.pids
        reading = asyncio.create_task(pool.read(b"sleep"))
        await asyncio.sleep(0.2)
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
        assert pid not in pool.pids
        await until(lambda: not psutil.pid_exists(pid))
        same(await pool.read(b"next"), film("next"))

    with_pool(body)


async def until(done: Callable[[], bool], within_s: float = 10.0) -> None:
    deadline = time.monotonic() + within_s
    while not done():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)


def test_so_many_at_once_so_many_wait_and_the_others_are_refused() -> None:
    async def body(pool: DecodingPool) -> None:
        await pool.read(b"plain")
        reading = [asyncio.create_task(pool.read(b"sleep 0.5")) for _ in range(4)]
        await asyncio.sleep(0.1)
        with pytest.raises(ServiceBusyError):
            await pool.read(b"plain")
        reading[2].cancel()  # waits, and leaves the queue
        await asyncio.sleep(0)
        waits = asyncio.create_task(pool.read(b"plain"))
        await asyncio.sleep(0.01)
        with pytest.raises(ServiceBusyError):
            await pool.read(b"plain")
        done = await asyncio.gather(*reading, waits, return_exceptions=True)
        assert [type(one).__name__ for one in done] == ["Film", "Film", "CancelledError", "ServiceBusyError", "Film"]
        assert len(pool.pids) == 1
        same(await pool.read(b"last"), film("last"))

    with_pool(body)


def test_the_turn_of_one_who_leaves_just_then_is_passed_on() -> None:
    async def body(pool: DecodingPool) -> None:
        first = asyncio.create_task(pool.read(b"sleep 0.3"))
        await asyncio.sleep(0)
        second, third = (asyncio.create_task(pool.read(b"plain")) for _ in range(2))
        await asyncio.sleep(0)
        first.add_done_callback(lambda _: second.cancel())
        await asyncio.wait([first, second, third], timeout=5)
        assert second.cancelled()
        same(third.result(), film("plain"))
        same(await pool.read(b"last"), film("last"))

    with_pool(body)


def test_a_worker_ended_from_outside_is_made_up_for() -> None:
    async def body(pool: DecodingPool) -> None:
        await pool.read(b"plain")
        os.kill(pool.pids[0], signal.SIGKILL)  # while idle: nobody notices
        await asyncio.sleep(0.2)
        same(await pool.read(b"next"), film("next"))
        reading = asyncio.create_task(pool.read(b"sleep"))
        await asyncio.sleep(0.2)
        os.kill(pool.pids[0], signal.SIGKILL)
        with pytest.raises(ServiceInterruptedError):
            await reading

    with_pool(body)


def test_a_worker_that_cannot_start_says_so(caplog: pytest.LogCaptureFixture) -> None:
    async def run() -> None:
        async with pool_of("tests.readers:no_such_thing") as pool:
            with pytest.raises(ServiceInterruptedError):
                await pool.read(b"plain")

    asyncio.run(run())
    assert "did not start" in caplog.text


def test_closing_ends_all() -> None:
    async def run() -> None:
        pool = DecodingPool(decoding=replace(SMALL, workers=3), reader=READER)
        pool.warm()
        reading = asyncio.create_task(pool.read(b"sleep"))
        await asyncio.sleep(0.2)
        pids = pool.pids
        assert len(pids) == 3
        await asyncio.to_thread(pool.close)
        assert not any(psutil.pid_exists(pid) for pid in pids)
        with pytest.raises(ServiceInterruptedError):
            await asyncio.wait_for(reading, 5)
        with pytest.raises(ServiceInterruptedError):
            await pool.read(b"plain")
        assert pool.pids == ()

    asyncio.run(run())


@pytest.mark.parametrize("job", ["plain", "burn"])
def test_workers_end_with_their_parent(job: str) -> None:
    """Killed, so that it can tell nobody."""
    script = f"""
import asyncio
from medinterp.imaging.workers import DecodingLimits, DecodingPool
async def main():
    pool = DecodingPool(decoding=DecodingLimits(cpu_s=60, wall_s=60), reader={READER!r})
    await pool.read(b"plain")
    print(*pool.pids, flush=True)
    await pool.read({job!r}.encode())
    await asyncio.sleep(60)
asyncio.run(main())
"""
    parent = subprocess.Popen([sys.executable, "-c", script], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    pids = [int(word) for word in parent.stdout.readline().split()]
    assert len(pids) == 2
    time.sleep(0.3)
    assert all(psutil.pid_exists(pid) for pid in pids)
    parent.kill()
    parent.wait()
    parent.stdout.close()
    _, left = psutil.wait_procs([psutil.Process(pid) for pid in pids if psutil.pid_exists(pid)], timeout=5)
    assert left == []


def answer(**changes: Any) -> dict[str, Any]:
    header = parsed(framed(film_header(film("note")))[4:])
    return {**header, "film": {**header["film"], **changes}}


PIXELS = np.arange(12, dtype=np.uint16).view(np.uint8)


def test_an_answer_that_is_as_it_should_be() -> None:
    header = answer()
    assert pixel_bytes(header, FilmLimits()) == 24
    same(film_of(header, PIXELS, FilmLimits()), film("note"))


@pytest.mark.parametrize(
    "changes",
    [
        {"shape": [3, 5]},
        {"shape": [-3, -4]},
        {"shape": [0, 4]},
        {"shape": [12]},
        {"shape": [3.0, 4]},
        {"shape": None},
        {"dtype": "uint8"},
        {"dtype": "object"},
        {"dtype": ["uint16"]},
        {"media_type": "text/html\r\nX: y"},
        {"sha256": "0"},
        {"notes": "note"},
        {"notes": [1]},
        {"notes": ["x" * 1001]},
        {"notes": ["x"] * 101},
        {"warnings": [["CODE!", "text", True]]},
        {"warnings": [["code", "text", 1]]},
        {"warnings": [["code", "text"]]},
        {"windows": [["name"]]},
        {"window": 1},
    ],
    ids=str,
)
def test_an_answer_that_is_not_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(BrokenMessageError):
        film_of(answer(**changes), PIXELS, FilmLimits())


@pytest.mark.parametrize("length", [-1, 2**29 + 1, 1.0, True, None, "24"])
def test_no_more_is_read_than_a_film_may_have(length: Any) -> None:
    with pytest.raises(BrokenMessageError):
        pixel_bytes({"bytes": length}, FilmLimits())


def test_a_film_of_more_pixels_than_allowed_is_refused() -> None:
    with pytest.raises(BrokenMessageError):
        film_of(answer(), PIXELS, FilmLimits(max_pixels=11))


@pytest.mark.parametrize(
    "header",
    [
        {"error": "KeyError", "text": ""},
        {"error": "FilmWithheldError", "text": "x"},
        {"error": "ServiceBusyError", "text": "x"},
        {"error": "annotations", "text": "x"},
        {"error": "UnreadableFilmError", "text": None},
        {"error": 1},
        {"film": None},
        {},
    ],
    ids=str,
)
def test_only_errors_that_reading_raises_come_out(header: dict[str, Any]) -> None:
    with pytest.raises(BrokenMessageError):
        film_of(header, PIXELS, FilmLimits())


@pytest.mark.parametrize("text", [b"", b"\xff", b"[]", b"1", b"[" * 100_000, b"{"])
def test_a_header_is_an_object(text: bytes) -> None:
    with pytest.raises(BrokenMessageError):
        parsed(text)


def test_an_exception_of_others_is_named_by_its_class_only() -> None:
    header = error_header(KeyError(PATIENT))
    assert PATIENT not in str(header)
    assert unforeseen_of(header) == "KeyError"
    with pytest.raises(BrokenMessageError):
        unforeseen_of({"unforeseen": "Key\nError"})
    assert error_header(FilmWithheldError((film().warnings[0],)))["error"] == "FilmWithheldError"
