"""At the outermost edge, in the server that clients speak to: what is answered when nothing behind it answers.

Serve's proxy answers in bare text, or not at all where the replica died that was to answer; here every error becomes a
problem document with a request id, and what may be tried again says when. This is also where a service that is being
ended turns new requests away while those under way are finished.
"""

from __future__ import annotations

import re
import uuid
from http import HTTPStatus

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from medinterp import errors
from medinterp.api.problems import MEDIA_TYPE, Problem, problem_of, problem_of_status

API_ROOT = "/v1/"
CHAT = "/v1/chat/completions"
"""Answers errors as JSON in OpenAI's words, and so does the edge in its place."""
FOREIGN = "/gradio"
"""Under this path Gradio answers in its own words to its own client."""
REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
COME_AGAIN_S = 30
"""After the service is being ended: until another one is likely to stand in its place."""
SAID = {
    HTTPStatus.NOT_FOUND: "nothing is to be found at this address",
    HTTPStatus.REQUEST_TIMEOUT: "no answer within the time limit",
    HTTPStatus.INTERNAL_SERVER_ERROR: "a defect of the service; its log has the details",
    HTTPStatus.SERVICE_UNAVAILABLE: "the part of the service that answers here is busy or not there yet; try again",
}
"""In place of what the server's own texts say, some of which repeat the address."""
WENT_AWAY = "the part of the service that was to answer went away; try again shortly"
EVENTS = "text/event-stream"


class Door:
    """Whether new requests are let in, and how many calls of the API are under way, in this process."""

    def __init__(self) -> None:
        self.closed = False
        self.under_way = 0


DOOR = Door()
"""This process's."""


class Edge:
    """The outermost middleware of the server."""

    def __init__(self, app: ASGIApp, door: Door = DOOR) -> None:
        self._app, self._door = app, door

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, unless the door is closed."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        answer = _Answer(scope, send)
        counts = scope["path"].startswith(API_ROOT)
        if self._door.closed and scope["path"] != "/-/healthz":
            problem = problem_of(errors.ServiceBusyError("the service is being ended", retry_after_s=COME_AGAIN_S))
            await answer.say(problem, {"Connection": "close"})
            return
        self._door.under_way += counts
        try:
            await self._app(scope, receive, answer.pass_on)
            await answer.end()
        finally:
            self._door.under_way -= counts


class _Answer:
    """One answer on its way to the client."""

    def __init__(self, scope: Scope, send: Send) -> None:
        headers = MutableHeaders(scope=scope)
        given = headers.get("x-request-id", "")
        if not REQUEST_ID.fullmatch(given):
            headers["x-request-id"] = str(uuid.uuid4())
        self._id = headers["x-request-id"]
        self._foreign = scope["path"].startswith(FOREIGN)
        self._chat = scope["path"] == CHAT
        self._send = send
        self._started = self._ended = self._replaced = self._streams = False

    async def pass_on(self, message: Message) -> None:
        """Send what the service answers; of an error in bare text, its status in our words."""
        if message["type"] == "http.response.start":
            self._started = True
            kind = Headers(raw=message["headers"]).get("content-type", "")
            self._streams = kind.startswith(EVENTS)
            bare = kind == "" or kind.startswith("text/plain" if self._chat else ("text/plain", "application/json"))
            if message["status"] >= HTTPStatus.BAD_REQUEST and bare and not self._foreign:
                self._replaced = True
                status = HTTPStatus(message["status"])
                told = Headers(raw=message["headers"]).get("retry-after")
                await self.say(
                    problem_of_status(status, SAID.get(status)), {} if told is None else {"Retry-After": told}
                )
                return
        elif message["type"] == "http.response.body":
            if self._replaced:
                return
            self._ended = not message.get("more_body", False)
        await self._send(message)

    async def end(self) -> None:
        """After the service has had its say: where it broke off, say so as far as that is still possible."""
        if self._replaced or self._ended:
            return
        problem = problem_of(errors.ServiceInterruptedError(WENT_AWAY))
        if not self._started:
            await self.say(problem)
        elif self._streams:
            name = "" if self._chat else "event: error\n"
            event = f"{name}data: {self._said(problem)}\n\n".encode()
            await self._send({"type": "http.response.body", "body": event, "more_body": False})
        # Of any other answer that has begun, the server closes the connection: it must not look whole.

    def _said(self, problem: Problem) -> str:
        if not self._chat:
            return problem.model_dump_json()
        from medinterp.api.chat_errors import error_of  # with the whole schema: for this route alone

        return error_of(problem).model_dump_json()

    async def say(self, problem: Problem, headers: dict[str, str] | None = None) -> None:
        """Answer with a problem document."""
        named = {
            "Content-Type": "application/json" if self._chat else MEDIA_TYPE,
            "Cache-Control": "no-store",
            "X-Content-Type-Options": "nosniff",
            "X-Request-ID": self._id,
            **problem.headers,
            **(headers or {}),
        }
        body = self._said(problem).encode()
        raw = [(name.lower().encode(), value.encode()) for name, value in named.items()]
        raw.append((b"content-length", str(len(body)).encode()))
        await self._send({"type": "http.response.start", "status": problem.status, "headers": raw})
        await self._send({"type": "http.response.body", "body": body, "more_body": False})
