"""What holds for every request: nothing is cached or sniffed, and no body is read past its limit."""

from __future__ import annotations

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

    A body that declares its length is refused before its first byte is read.
    """

    def __init__(self, app: ASGIApp, max_bytes: int) -> None:
        self._app = app
        self._max_bytes = max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on with a `receive` that counts."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        declared = Headers(scope=scope).get("content-length", "")
        counted = int(declared) if declared.isdecimal() else 0
        if counted <= self._max_bytes:
            counted = 0

        async def receive_counted() -> Message:
            nonlocal counted
            if counted <= self._max_bytes:
                message = await receive()
                counted += len(message.get("body", b""))
                if counted <= self._max_bytes:
                    return message
            raise HTTPException(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"the request is longer than {self._max_bytes} bytes"
            )

        await self._app(scope, receive_counted, send)
