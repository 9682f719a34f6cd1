"""What is sent with a film, how it is read, and that the service goes on answering while films are decoded."""

# ruff: noqa: F811 - a fixture is imported, and named again where it is used

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import cv2
import httpx
import numpy as np
import pytest
from starlette.datastructures import Headers
from starlette.formparsers import MultiPartParser

from medinterp.api.app import create_api
from medinterp.api.store import open_store
from medinterp.api.store.record import unpack_plain
from medinterp.imaging import FilmLimits
from medinterp.imaging.workers import DecodingLimits, DecodingPool
from tests.api_backend import FakeBackend, api_settings, png
from tests.api_films import PATIENT, dicom
from tests.api_service import Service, problem, service  # noqa: F401 - pytest finds fixtures by name
from tests.readers import READER


def inverted() -> bytes:
    """A film that the gate withholds."""
    pixels = cv2.imdecode(np.frombuffer(png(90, 80), np.uint8), cv2.IMREAD_UNCHANGED)
    return bytes(cv2.imencode(".png", np.uint16(65535) - pixels)[1])


def test_two_films_are_not_one_report(service: Service) -> None:
    files = [("image", (name, png(seed=k), "image/png")) for k, name in enumerate(("pa.png", "lateral.png"))]
    document = problem(service.client.post("/reports", files=files), 422)
    assert "one film a report" in document["detail"]
    mixed = {"image": "text"}, {"image": ("pa.png", png(), "image/png")}
    assert "one film a report" in problem(service.client.post("/reports", data=mixed[0], files=mixed[1]), 422)["detail"]
    assert service.backend.tasks == []


@pytest.mark.parametrize("name", ["prompt", "report", "window", "force", "max_new_tokens"])
def test_what_stands_in_a_form_once_is_not_given_twice(service: Service, name: str) -> None:
    value = {"max_new_tokens": "5", "force": "true"}.get(name, "x")
    document = problem(service.post(**{name: [value, value]}), 422)
    assert document["detail"] == f"`{name}` was sent more than once"
    assert service.post(methods=["raw", "raw"]).status_code == 201


def test_a_report_is_withheld_unless_it_is_forced(service: Service) -> None:
    document = problem(service.post(image=inverted()), 422)
    assert document["type"] == "urn:medinterp:problem:film-withheld"
    assert [flaw["where"] for flaw in document["flaws"]] == ["image.inverted"]
    assert "force=true" in document["detail"]
    assert service.backend.tasks == []
    answer = service.post(image=inverted(), force="true")
    assert answer.status_code == 201, answer.text
    (warning,) = answer.json()["film"]["warnings"]
    assert (warning["code"], warning["withholds"]) == ("inverted", True)
    assert service.client.get(f"/reports/{answer.json()['id']}").json() == answer.json()
    assert [task.force for task in service.backend.tasks] == [True]
    service.report()
    assert service.backend.tasks[-1].force is False
    problem(service.post(force="perhaps"), 422)


def test_the_window_of_a_dicom_can_be_chosen(service: Service) -> None:
    film = service.post(image=dicom()).json()["film"]
    names = [choice["name"] for choice in film["windows"]]
    assert film["window"] in names
    assert "full" in names
    assert service.post(image=dicom(), window="full").json()["film"]["window"] == "full"
    chosen = service.post(image=dicom(), window="30000,50000").json()["film"]
    assert chosen["window"] == "30000,50000"
    for image, window in ((dicom(), "window-9"), (png(), "full"), (dicom(), "x" * 65)):
        document = problem(service.post(image=image, window=window), 422)
        assert "x" * 65 not in document["detail"]


async def parts(body: bytes) -> AsyncGenerator[bytes]:
    for start in range(0, len(body), 2**16):
        yield body[start : start + 2**16]


def test_nothing_of_an_upload_is_written_to_a_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = dicom(1700, 1600)
    assert len(data) > 5_000_000
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "missing"))
    request = httpx.Request("POST", "http://test", files={"image": ("film.dcm", data)})
    body = request.read()

    async def spooled() -> None:
        await MultiPartParser(Headers(dict(request.headers)), parts(body)).parse()

    with pytest.raises(FileNotFoundError):  # Starlette's own parser would have written it
        asyncio.run(spooled())
    limits = FilmLimits()
    service = Service(tmp_path, pool=DecodingPool(limits), store_bytes=2**24, max_upload_bytes=limits.max_bytes)
    with service.client:
        answer = service.post(image=data)
        assert answer.status_code == 201, answer.text
        assert (answer.json()["film"]["width"], answer.json()["film"]["height"]) == (1700, 1600)
        report_id = answer.json()["id"]
        # What DICOM exports need of the header lies in the store, in the report's deflated file, and goes with it.
        plain, _ = unpack_plain(service.store.get(report_id).blob)
        assert PATIENT.encode() in plain["film"]["source"]["header"]
        files = {path for path in tmp_path.rglob("*") if path.is_file()}
        index = {path for path in files if path.name in ("r.sqlite3", "r.sqlite3-wal", "r.sqlite3-shm")}
        payloads = {path for path in files if path.parent.name == "r.sqlite3.d"}
        assert files == index | payloads and len(payloads) == 3
        assert service.client.delete(f"/reports/{report_id}").status_code == 204
        assert {path for path in tmp_path.rglob("*") if path.is_file()} - index == {
            tmp_path / "store" / "r.sqlite3.d" / "reserve"
        }
        assert PATIENT.encode() not in b"".join(path.read_bytes() for path in index)


@pytest.mark.parametrize(
    ("content_type", "status"),
    [
        ("multipart/form-data", 400),
        ("multipart/form-data; boundary=", 400),
        ("multipart/form-data; boundary=" + "b" * 71, 400),
        ('multipart/form-data; boundary="b\xe9"', 400),
        ("multipart/form-data; boundary=c", 400),
        ("multipart/form-data; boundary=b; charset=utf-7", 201),
        ("multipart/form-data; boundary=b; charset=idna", 201),
        ("multipart/form-data; boundary=b; charset=undefined", 201),
        ("application/x-www-form-urlencoded", 422),
        ("text/plain", 422),
        ("", 422),
    ],
)
def test_how_a_form_is_written(service: Service, content_type: str, status: int) -> None:
    body = b'--b\r\nContent-Disposition: form-data; name="prompt"\r\n\r\n+2AA-\xff\r\n'
    body += b'--b\r\nContent-Disposition: form-data; name="image"; filename="+2AA-"\r\n\r\n' + png() + b"\r\n--b--\r\n"
    answer = service.client.post("/reports", content=body, headers={"Content-Type": content_type.encode("latin-1")})
    assert answer.status_code == status, answer.text
    if status != 201:
        problem(answer, status)


def slow(**limits: Any) -> DecodingPool:
    return DecodingPool(FilmLimits(), DecodingLimits(workers=2, cpu_s=1, wall_s=20, **limits), reader=READER)


def test_the_service_answers_while_films_are_decoded(tmp_path: Path) -> None:
    """Eight films that take all the computing that they may, and more: they are refused, two at a time."""
    settings = api_settings(tmp_path)
    store = open_store(settings.store)
    pool = slow()
    app = create_api(FakeBackend(store), settings, store, pool)

    async def run() -> tuple[list[float], list[httpx.Response]]:
        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(app), base_url="http://test", timeout=60
        ) as client:
            forced = await client.post("/reports", files={"image": b"plain"}, data={"force": "1"})
            plain = forced.json()["id"]
            posts = [asyncio.create_task(client.post("/reports", files={"image": b"burn"})) for _ in range(8)]
            await asyncio.sleep(0.5)
            seconds = []
            while not all(post.done() for post in posts):
                for path in ("/readyz", f"/reports/{plain}"):
                    started = time.monotonic()
                    assert (await client.get(path)).status_code == 200
                    seconds.append(time.monotonic() - started)
                await asyncio.sleep(0.1)
            return seconds, [post.result() for post in posts]

    try:
        seconds, answers = asyncio.run(run())
    finally:
        pool.close()
        store.close()
    assert len(seconds) > 20
    assert max(seconds) <= 0.5, max(seconds)
    for answer in answers:
        assert "more than 1 s of computing" in problem(answer, 413)["detail"]


def test_too_many_films_at_once_are_refused_with_a_time_to_come_again(tmp_path: Path) -> None:
    settings = api_settings(tmp_path)
    store = open_store(settings.store)
    pool = slow(queue=1)
    app = create_api(FakeBackend(store), settings, store, pool)

    async def run() -> list[httpx.Response]:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
            await client.post("/reports", files={"image": b"plain"})
            return await asyncio.gather(
                *(client.post("/reports", files={"image": b"sleep 0.5"}, data={"force": "1"}) for _ in range(6))
            )

    try:
        answers = asyncio.run(run())
    finally:
        pool.close()
        store.close()
    assert sorted(answer.status_code for answer in answers) == [201] * 3 + [503] * 3
    refused = [answer for answer in answers if answer.status_code == 503]
    assert all(int(answer.headers["retry-after"]) > 0 for answer in refused)


def test_workers_start_and_end_with_the_application(tmp_path: Path) -> None:
    pool = slow()
    service = Service(tmp_path, pool=pool)
    with service.client:
        assert len(pool.pids) == 2
        assert service.post(image=b"plain", force="true").json()["film"]["notes"] == ["plain"]
    assert pool.pids == ()


def test_decoding_that_takes_longer_than_a_request_may_is_given_up(tmp_path: Path) -> None:
    service = Service(tmp_path, pool=slow(), timeout_s=0.5)
    with service.client:
        problem(service.post(image=b"sleep"), 504)


def test_a_body_that_is_no_form_is_small(service: Service) -> None:
    """It is parsed in one piece while everybody waits: what no question needs is refused unread."""
    answer = service.client.post(
        f"/reports/{service.report()}/region",
        content=b'{"cells": [' + b"[1, 1], " * 200_000 + b"[1, 1]]}",
        headers={"Content-Type": "application/json"},
    )
    problem(answer, 413)
    assert "longer than 1048576 bytes" in answer.json()["detail"]
