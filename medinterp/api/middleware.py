"""What holds for every request: nothing is cached or sniffed, and no body is read past its limit."""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send


class PrivateResponses:
    """Headers that keep answers out of caches and away from content sniffing."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on and add the headers to the answer."""

        async def send_private(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers["Cache-Control"] = "no-store"
                headers["X-Content-Type-Options"] = "nosniff"
                headers["Referrer-Policy"] = "no-referrer"
            await send(message)

        await self._app(scope, receive, send_private)


class BodyLimit:
    """Stops reading a request's body as soon as it is longer than the limit (HTTP 413).

    A body that declares its length is refused before its first byte is read. max_bytes: asked at every request, for
    limits may change; other_bytes: of what is no form with files; such a body is parsed in one piece, and everybody
    waits meanwhile.
    """

    def __init__(self, app: ASGIApp, max_bytes: Callable[[], int], other_bytes: int) -> None:
        self._app = app
        self._max_bytes = max_bytes
        self._other_bytes = other_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on with a `receive` that counts."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        is_form = headers.get("content-type", "").lower().startswith("multipart/form-data")
        limit = self._max_bytes() if is_form else self._other_bytes
        declared = headers.get("content-length", "")
        counted = int(declared) if declared.isdecimal() else 0
        if counted <= limit:
            counted = 0

        async def receive_counted() -> Message:
            nonlocal counted
            if counted <= limit:
                message = await receive()
                counted += len(message.get("body", b""))
                if counted <= limit:
                    return message
            raise HTTPException(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"the request is longer than {limit} bytes"
            )

        await self._app(scope, receive_counted, send)
