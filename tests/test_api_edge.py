"""The outermost edge: what clients get where nothing behind it answers, or in bare text."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, StreamingResponse
from starlette.routing import Route
from starlette.testclient import TestClient
from starlette.types import Receive, Scope, Send

from medinterp.api import edge
from medinterp.api.edge import Door, Edge
from tests.api_service import problem


async def silent(scope: Scope, receive: Receive, send: Send) -> None:
    """As Serve's proxy where the replica died before it answered."""


async def broken(scope: Scope, receive: Receive, send: Send) -> None:
    """As Serve's proxy where the replica died in the middle."""
    kind = b"text/event-stream; charset=utf-8" if scope["path"].endswith("stream") else b"application/json"
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", kind)]})
    await send({"type": "http.response.body", "body": b"event: text\ndata: {}\n\n", "more_body": True})


def answers() -> Starlette:
    async def bare(request: Request) -> PlainTextResponse:
        headers = {"Retry-After": "7"} if "later" in request.query_params else None
        return PlainTextResponse("Path '/SECRET' not found.", int(request.path_params["status"]), headers)

    async def json(request: Request) -> JSONResponse:
        return JSONResponse({"detail": "Not Found"}, 404)

    async def ours(request: Request) -> JSONResponse:
        return JSONResponse({"status": 422}, 422, media_type="application/problem+json")

    async def page(request: Request) -> HTMLResponse:
        return HTMLResponse("<p>no</p>", 404)

    async def well(request: Request) -> PlainTextResponse:
        return PlainTextResponse(request.headers["x-request-id"])

    async def events(request: Request) -> StreamingResponse:
        async def lines() -> Any:
            yield b"event: report\ndata: {}\n\n"

        return StreamingResponse(lines(), media_type="text/event-stream")

    names = {"bare/{status}": bare, "json": json, "gradio/json": json, "ours": ours, "page": page, "well": well}
    return Starlette(routes=[Route(f"/{name}", call) for name, call in {**names, "events": events}.items()])


def client(app: Any, door: Door | None = None) -> TestClient:
    return TestClient(Edge(app, door or Door()), raise_server_exceptions=False)


def test_a_replica_that_died_before_it_answered_is_a_clear_error_that_may_be_tried_again() -> None:
    answer = client(silent).post("/v1/reports")
    assert problem(answer, 503)["type"] == "urn:medinterp:problem:service-interrupted"
    assert int(answer.headers["retry-after"]) > 0
    assert len(answer.headers["x-request-id"]) == 36


def test_a_listener_of_a_replica_that_died_learns_that_no_report_comes() -> None:
    answer = client(broken).get("/v1/stream")
    *_, last = answer.text.strip().split("\n\n")
    assert last.startswith('event: error\ndata: {"type":"urn:medinterp:problem:service-interrupted"')


def test_any_other_answer_that_broke_off_does_not_look_whole() -> None:
    sent: list[Any] = []

    async def run() -> None:
        async def send(message: Any) -> None:
            sent.append(message)

        async def receive() -> Any:
            return {"type": "http.request"}

        scope = {"type": "http", "path": "/v1/x", "headers": [], "method": "GET"}
        await Edge(broken, Door())(scope, receive, send)

    asyncio.run(run())
    assert [message.get("more_body") for message in sent] == [None, True]


@pytest.mark.parametrize("status", [400, 404, 408, 429, 500, 503])
def test_bare_text_becomes_a_problem_document(status: int) -> None:
    answer = client(answers()).get(f"/bare/{status}")
    assert "SECRET" not in problem(answer, status)["detail"]
    assert ("retry-after" in answer.headers) == (status in (429, 503))
    assert answer.headers["x-request-id"]
    assert int(answer.headers["content-length"]) == len(answer.content)


def test_a_time_that_was_named_is_kept() -> None:
    assert client(answers()).get("/bare/503?later").headers["retry-after"] == "7"


def test_the_pages_own_404_is_one_too_and_gradios_is_its_own() -> None:
    problem(client(answers()).get("/json"), 404)
    problem(client(answers()).get("/nothing"), 404)
    assert client(answers()).get("/gradio/json").json() == {"detail": "Not Found"}


def test_the_route_of_openais_protocol_has_its_own_words() -> None:
    path = "/v1/chat/completions"
    answer = client(silent).post(path)
    assert (answer.status_code, answer.headers["content-type"]) == (503, "application/json")
    assert answer.json()["error"]["type"] == "server_error" and int(answer.headers["retry-after"]) > 0

    async def bare(request: Request) -> PlainTextResponse:
        return PlainTextResponse("Internal Server Error", 500)

    async def ours(request: Request) -> JSONResponse:
        return JSONResponse({"error": {"message": "ours"}}, 400)

    for call, status, told in ((bare, 500, "a defect of the service"), (ours, 400, "ours")):
        answer = client(Starlette(routes=[Route(path, call, methods=["POST"])])).post(path)
        assert answer.status_code == status and answer.json()["error"]["message"].startswith(told)

    async def cut(scope: Scope, receive: Receive, send: Send) -> None:
        kind = (b"content-type", b"text/event-stream")
        await send({"type": "http.response.start", "status": 200, "headers": [kind]})
        await send({"type": "http.response.body", "body": b"data: {}\n\n", "more_body": True})

    first, last = client(cut).post(path).text.strip().split("\n\n")
    assert first == "data: {}" and last.startswith('data: {"error":{"message":"the part of the service')


def test_all_else_passes_as_it_is() -> None:
    assert client(answers()).get("/ours").json() == {"status": 422}
    assert client(answers()).get("/page").text == "<p>no</p>"
    assert client(answers()).get("/events").text == "event: report\ndata: {}\n\n"


@pytest.mark.parametrize(("given", "kept"), [("abc-1._Z", True), ("a" * 64, True), ("a" * 65, False), ("a b", False)])
def test_a_request_id_is_a_short_word_or_another_one(given: str, kept: bool) -> None:
    seen = client(answers()).get("/well", headers={"x-request-id": given}).text
    assert (seen == given) is kept
    assert edge.REQUEST_ID.fullmatch(seen)


@pytest.fixture
def door() -> Door:
    return Door()


def test_a_closed_door_lets_nobody_in_and_says_when_to_come(door: Door) -> None:
    door.closed = True
    for path in ("/v1/reports", "/well"):
        answer = client(answers(), door).get(path)
        assert problem(answer, 503)["type"] == "urn:medinterp:problem:service-busy"
        assert (answer.headers["connection"], answer.headers["retry-after"]) == ("close", str(edge.COME_AGAIN_S))
    assert client(answers(), door).get("/-/healthz").status_code == 404  # Serve's own question is let through


def test_what_is_under_way_is_counted_until_its_end(door: Door) -> None:
    seen: list[int] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(door.under_way)
        if scope["path"] == "/v1/defect":
            raise ZeroDivisionError
        await PlainTextResponse("well")(scope, receive, send)

    for path in ("/v1/reports", "/v1/defect", "/"):
        client(app, door).get(path)
    assert (seen, door.under_way) == ([1, 1, 0], 0)


def test_someone_already_inside_is_answered_after_the_door_was_closed(door: Door) -> None:
    async def run() -> None:
        entered, go = asyncio.Event(), asyncio.Event()

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            entered.set()
            await go.wait()
            await PlainTextResponse("well")(scope, receive, send)

        transport = httpx.ASGITransport(Edge(app, door))
        async with httpx.AsyncClient(transport=transport, base_url="http://x") as clients:
            first = asyncio.create_task(clients.get("/v1/reports"))
            await entered.wait()
            door.closed = True
            assert (await clients.get("/v1/reports")).status_code == 503
            assert door.under_way == 1
            go.set()
            assert (await first).text == "well"
        assert door.under_way == 0

    asyncio.run(run())
