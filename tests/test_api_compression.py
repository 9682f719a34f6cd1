"""Answers are gzipped when that is asked and worth it, and an event stream still comes word by word."""

# ruff: noqa: F811 - a fixture is imported, and named again where it is used

from __future__ import annotations

import asyncio
import gzip
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.api_backend import png
from tests.api_samples import TEXT
from tests.api_service import Service, service  # noqa: F401 - pytest finds fixtures by name

GZIP, PLAIN = {"Accept-Encoding": "gzip, br"}, {"Accept-Encoding": "identity"}


def both(service: Service, path: str, **headers: str) -> tuple[httpx.Response, httpx.Response, bytes]:
    """The answer gzipped and not, and the gzipped bytes as they went over the wire."""
    with service.client.stream("GET", path, headers={**GZIP, **headers}) as gzipped:
        raw = b"".join(gzipped.iter_raw())
    return gzipped, service.client.get(path, headers={**PLAIN, **headers}), raw


@pytest.mark.parametrize(
    ("path", "accept"),
    [
        ("", "application/json"),
        ("", "application/msgpack"),
        ("/maps", "application/json"),
        ("/maps/packed", "application/json"),
        ("/maps/packed", "application/msgpack"),
        ("/export?format=html", "*/*"),
        ("/export?format=json", "*/*"),
    ],
)
def test_what_is_worth_it_is_gzipped_when_asked(service: Service, path: str, accept: str) -> None:
    there = f"/reports/{service.report()}{path}"
    gzipped, plain, raw = both(service, there, Accept=accept)
    assert gzipped.headers["content-encoding"] == "gzip"
    assert "accept-encoding" in gzipped.headers["vary"].lower()
    assert int(gzipped.headers["content-length"]) == len(raw) < len(plain.content)
    assert gzip.decompress(raw) == plain.content
    assert "content-encoding" not in plain.headers
    assert gzipped.headers["content-type"] == plain.headers["content-type"]
    assert gzipped.headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    ("path", "accept"),
    [
        ("/film.png?size=2000", "*/*"),
        ("/words/1/overlay.png?size=2000", "*/*"),
        ("/maps", "application/x-npz"),
        ("/export?format=npz", "*/*"),
    ],
)
def test_what_is_compressed_already_is_not_compressed_twice(service: Service, path: str, accept: str) -> None:
    gzipped, plain, raw = both(service, f"/reports/{service.report()}{path}", Accept=accept)
    assert gzipped.status_code == 200
    assert len(plain.content) > 512
    assert "content-encoding" not in gzipped.headers
    assert raw == plain.content


def test_an_event_stream_comes_word_by_word_all_the_same(tmp_path: Path) -> None:
    """Each word has left the application before the backend writes the next one."""
    service = Service(tmp_path)
    boundary = b"b"
    form = b'--b\r\nContent-Disposition: form-data; name="image"; filename="f"\r\n\r\n' + png() + b"\r\n--b--\r\n"
    scope: dict[str, Any] = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "POST", "scheme": "http",
        "path": "/reports", "raw_path": b"/reports", "query_string": b"", "root_path": "", "client": ("127.0.0.1", 1),
        "headers": [
            (b"host", b"x"), (b"accept", b"text/event-stream"), (b"accept-encoding", b"gzip"),
            (b"content-type", b"multipart/form-data; boundary=" + boundary), (b"content-length", b"%d" % len(form)),
        ],
    }  # fmt: skip
    sent: list[dict[str, Any]] = []
    words: list[int] = []
    """How many events had been sent each time that the backend was asked for the next word."""

    bodies = [{"type": "http.request", "body": form, "more_body": False}]

    async def receive() -> dict[str, Any]:
        return bodies.pop() if bodies else await asyncio.Future()  # nobody goes away

    async def send(message: Any) -> None:
        sent.append(message)

    async def run() -> None:
        original = service.backend.read_aloud

        async def read_aloud(*arguments: Any) -> Any:
            async for item in original(*arguments):
                await asyncio.sleep(0.01)
                words.append(sum(b"event: text" in message.get("body", b"") for message in sent))
                yield item

        service.backend.read_aloud = read_aloud  # type: ignore[method-assign]
        await asyncio.wait_for(service.app(scope, receive, send), 30)

    asyncio.run(run())
    assert sent[0]["status"] == 200
    assert b"content-encoding" not in dict(sent[0]["headers"])
    count = len(TEXT.split(" "))
    # The very first word is read before the status is sent, so that what fails till then has a status of its own.
    assert words == list(range(count + 1))
    assert b"event: report" in b"".join(message.get("body", b"") for message in sent)
