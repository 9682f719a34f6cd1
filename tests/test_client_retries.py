"""What the clients try again, when, and for how long; the service is a script of answers."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import httpx
import pytest

import medinterp
from medinterp import errors
from medinterp.client import (
    ConflictError,
    ForbiddenError,
    KeyRefusedError,
    NotUnderstoodError,
    ProblemError,
    TooManyRequestsError,
    UnavailableError,
    UnreachableError,
    transport,
)
from medinterp.client.errors import KINDS, problem_from, retry_after
from medinterp.client.events import EventParser

METHODS = httpx.Response(200, json={"methods": []})
Answer = httpx.Response | Exception


def problem(status: int, name: str = "service-busy", **headers: str) -> httpx.Response:
    body = {"type": f"urn:medinterp:problem:{name}", "title": "t", "status": status, "detail": "d", "request_id": "r-1"}
    told = {key.replace("_", "-"): value for key, value in headers.items()}
    return httpx.Response(status, json=body, headers={"Content-Type": "application/problem+json", **told})


class Script:
    """Answers in turn, the last one for ever; both of httpx's clients can be given it."""

    def __init__(self, *answers: Answer) -> None:
        self._answers = list(answers)
        self.requests: list[httpx.Request] = []
        self.transport = httpx.MockTransport(self._answer)

    def _answer(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        request.read()
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if isinstance(answer, Exception):
            raise answer
        return httpx.Response(answer.status_code, content=answer.content, headers=answer.headers)


@pytest.fixture
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Nobody waits; the clock goes on as if."""
    pauses: list[float] = []
    now = time.monotonic

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)

    monkeypatch.setattr(time, "sleep", pauses.append)
    monkeypatch.setattr(asyncio, "sleep", sleep)
    monkeypatch.setattr(transport.time, "monotonic", lambda: now() + sum(pauses))
    return pauses


Ask = Callable[[Script, str, float], Any]


def ask_waiting(script: Script, call: str, patience_s: float) -> Any:
    client = medinterp.Client("http://service", patience_s=patience_s, transport=script.transport)
    asked = {"methods": (), "report": (b"film",), "delete": ("a" * 32,), "get": ("a" * 32,)}[call]
    with client:
        return getattr(client, call)(*asked)


def ask_awaiting(script: Script, call: str, patience_s: float) -> Any:
    async def ask() -> Any:
        client = medinterp.AsyncClient("http://service", patience_s=patience_s, transport=script.transport)
        asked = {"methods": (), "report": (b"film",), "delete": ("a" * 32,), "get": ("a" * 32,)}[call]
        async with client:
            return await getattr(client, call)(*asked)

    return asyncio.run(ask())


@pytest.fixture(params=[ask_waiting, ask_awaiting], ids=["sync", "async"])
def ask(request: pytest.FixtureRequest) -> Ask:
    asking: Ask = request.param
    return asking


@pytest.mark.parametrize("status", [429, 503])
def test_who_is_turned_away_comes_when_told(ask: Ask, slept: list[float], status: int) -> None:
    script = Script(problem(status, Retry_After="7"), problem(status, Retry_After="3"), METHODS)
    assert ask(script, "methods", 60.0) == ()
    assert len(slept) == 2
    assert 7 <= slept[0] <= 7.25 and 3 <= slept[1] <= 3.25


def test_patience_ends_and_the_last_problem_is_told(ask: Ask, slept: list[float]) -> None:
    script = Script(problem(503, Retry_After="25"))
    with pytest.raises(errors.ServiceBusyError) as caught:
        ask(script, "methods", 60.0)
    assert len(script.requests) == 3 and sum(slept) <= 60
    told = caught.value
    assert isinstance(told, ProblemError)
    assert (told.status, told.request_id, told.retry_after_s) == (503, "r-1", 25.0)
    assert str(told) == "d (HTTP 503, request r-1)"
    script = Script(problem(503, Retry_After="61"))
    with pytest.raises(errors.ServiceBusyError):
        ask(script, "methods", 60.0)
    assert len(script.requests) == 1


def test_no_patience_no_second_attempt(ask: Ask, slept: list[float]) -> None:
    for answer in (problem(503, Retry_After="1"), httpx.ConnectError("refused")):
        script = Script(answer)
        with pytest.raises(errors.ServiceError):
            ask(script, "methods", 0.0)
        assert len(script.requests) == 1 and slept == []


@pytest.mark.parametrize("call", ["methods", "report", "delete"])
def test_a_refused_connection_is_tried_again_by_longer_and_longer_pauses(
    ask: Ask, slept: list[float], call: str
) -> None:
    script = Script(httpx.ConnectError("[Errno 111] Connection refused"))
    with pytest.raises(UnreachableError, match="cannot be reached") as caught:
        ask(script, call, 30.0)
    assert 5 <= len(script.requests) <= 12 and 15 < sum(slept) <= 30
    assert slept[0] <= 0.5 and max(slept) <= 10
    assert caught.value.__suppress_context__


@pytest.mark.parametrize("broken", [httpx.ReadError(""), httpx.RemoteProtocolError("gone"), httpx.WriteError("")])
def test_what_breaks_off_is_asked_again_by_the_same_key(ask: Ask, slept: list[float], broken: Exception) -> None:
    script = Script(broken, problem(409, "about", Retry_After="2"), problem(404, "report-not-found"))
    with pytest.raises(errors.ReportNotFoundError):  # whatever: it stood for the answer
        ask(script, "report", 60.0)
    keys = {request.headers["idempotency-key"] for request in script.requests}
    assert len(script.requests) == 3 and len(keys) == 1 and len(keys.pop()) == 32
    assert 2 <= slept[1] <= 2.25


def test_what_is_slow_is_not_asked_again(ask: Ask, slept: list[float]) -> None:
    script = Script(httpx.ReadTimeout("timed out"))
    with pytest.raises(UnreachableError, match="in time"):
        ask(script, "report", 60.0)
    assert len(script.requests) == 1


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (401, KeyRefusedError),
        (403, ForbiddenError),
        (409, ConflictError),
        (500, UnavailableError),
        (504, UnavailableError),
    ],
)
def test_what_would_be_refused_again_is_not_asked_again(
    ask: Ask, slept: list[float], status: int, kind: type[ProblemError]
) -> None:
    script = Script(httpx.Response(status, text="<html>a proxy's page</html>", headers={"X-Request-ID": "r-2"}))
    with pytest.raises(kind) as caught:
        ask(script, "report", 60.0)
    assert len(script.requests) == 1 and caught.value.request_id == "r-2"
    assert "html" not in str(caught.value)


def test_a_service_that_is_starting_is_not_ready_and_no_error(slept: list[float]) -> None:
    script = Script(httpx.ConnectError(""), problem(404, "about"), problem(503), httpx.Response(200, json={}))
    with medinterp.Client("http://service", transport=script.transport) as client:
        client.wait_until_ready(60)
    assert len(script.requests) == 4 and slept == [0.5] * 3


def test_a_delete_whose_answer_was_lost_is_done(ask: Ask, slept: list[float]) -> None:
    ask(Script(httpx.ReadError(""), problem(404, "report-not-found")), "delete", 60.0)
    with pytest.raises(errors.ReportNotFoundError):
        ask(Script(problem(404, "report-not-found")), "delete", 60.0)


def test_no_redirect_is_followed(ask: Ask, slept: list[float]) -> None:
    script = Script(httpx.Response(307, headers={"Location": "http://elsewhere/"}))
    with pytest.raises(NotUnderstoodError, match="redirect"):
        ask(script, "report", 60.0)
    assert len(script.requests) == 1


def test_a_stream_that_cannot_begin_is_tried_again(slept: list[float]) -> None:
    busy = problem(503, Retry_After="1")
    script = Script(busy, httpx.ConnectError(""), httpx.Response(200, text="event: text\ndata: {}\n\n"))
    client = medinterp.Client("http://service", transport=script.transport)
    with client, pytest.raises(NotUnderstoodError, match="no event stream"), client.stream(b"film"):
        pass
    assert len(script.requests) == 3 and len({one.headers["idempotency-key"] for one in script.requests}) == 1
    text = 'event: text\ndata: {"delta": "a"}\n\n: alive\n\n'
    script = Script(busy, httpx.Response(200, text=text, headers={"Content-Type": "text/event-stream"}))
    client, got = medinterp.Client("http://service", transport=script.transport), []
    with client, pytest.raises(UnreachableError, match="broke off"), client.stream(b"film") as writing:
        for piece in writing:
            got.append(piece)
    assert got == ["a"] and len(script.requests) == 2


def test_a_key_goes_along_and_names_of_films_do_not(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    film = tmp_path / "DOE_JANE.dcm"
    film.write_bytes(b"film")
    monkeypatch.setenv("MEDINTERP_API_KEY", "from-the-environment")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    for key, sent in ((None, "from-the-environment"), ("given", "given")):
        script = Script(problem(404))
        client = medinterp.Client("http://service/", api_key=key, transport=script.transport)
        with client, pytest.raises(ProblemError):
            client.report(film, prior=film, methods=["raw", "consensus"], force=True, idempotency_key="mine")
        (request,) = script.requests
        assert request.headers["authorization"] == f"Bearer {sent}"
        assert request.headers["idempotency-key"] == "mine"
        assert request.headers["user-agent"] == f"medinterp/{medinterp.__version__}"
        assert str(request.url) == "http://service/v1/reports"
        assert b"DOE" not in request.content and request.content.count(b'filename="film"') == 2
        assert request.content.count(b'name="methods"') == 2 and b"\r\n\r\ntrue\r\n" in request.content


@pytest.mark.parametrize(
    ("url", "key"),
    [("service:8000", None), ("ftp://service", None), ("http://", None), ("http://me:secret@service", None),
     ("http://service", "secret\n"), ("http://service", "sécret"), ("http://service", "a secret")],
)  # fmt: skip
def test_addresses_and_keys_that_are_none(url: str, key: str | None) -> None:
    for kind in (medinterp.Client, medinterp.AsyncClient):
        with pytest.raises(ValueError, match=r"address|API key") as caught:
            kind(url, api_key=key)
        assert "secret" not in str(caught.value) and "sécret" not in str(caught.value)


def test_when_to_come_again() -> None:
    assert retry_after("7") == 7.0
    assert retry_after(None) is None and retry_after("soon") is None and retry_after("-1") is None
    later = format_datetime(datetime.now(UTC) + timedelta(seconds=90), usegmt=True)
    assert 85 < (retry_after(later) or 0) <= 90
    assert retry_after("Wed, 21 Oct 2015 07:28:00 GMT") == 0.0


def test_every_error_of_the_library_has_its_class() -> None:
    """By the names that the service gives them."""
    from medinterp.api.problems import problem_of

    def tree(kind: type[errors.MedInterpError]) -> list[type[errors.MedInterpError]]:
        children = [child for child in kind.__subclasses__() if child.__module__ == "medinterp.errors"]
        return [kind, *(one for child in children for one in tree(child))]

    for kind in tree(errors.MedInterpError):
        withheld = kind is errors.FilmWithheldError
        error = errors.FilmWithheldError((errors_warning(),), "prior") if withheld else kind("what to do")
        document = problem_of(error)
        made = problem_from(document.status, {}, document.model_dump_json())
        assert isinstance(made, kind) and isinstance(made, ProblemError), kind
        assert type(made) is KINDS[document.type] and type(made).__doc__ == kind.__doc__
        if isinstance(made, errors.FilmWithheldError):
            assert made.film == "prior" and made.warnings == (errors_warning(),)
            assert str(made).startswith(document.detail)
    assert issubclass(TooManyRequestsError, errors.ServiceBusyError)


def errors_warning() -> Any:
    from medinterp.types import FilmWarning

    return FilmWarning("no-chest", "This is no chest.", True)


def test_ids_are_short_in_errors() -> None:
    body = json.dumps({"type": "about:blank", "status": 404, "detail": f"no report {'ab' * 16} here"})
    assert str(problem_from(404, {}, body)) == "no report abababab... here (HTTP 404)"


def test_events_however_they_are_cut() -> None:
    stream = 'event: text\r\ndata: {"a":\ndata: "\u2028ö"}\n\n: alive\n\ndata: last\n\nevent: cut'.encode()
    for size in (1, 2, 3, 7, 1000):
        parser, found = EventParser(), []
        for start in range(0, len(stream), size):
            found += list(parser.push(stream[start : start + size]))
        assert found == [("text", '{"a":\n"\u2028ö"}'), ("", "last")]
