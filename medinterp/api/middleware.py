"""What holds for every request: nothing is cached or sniffed, and no body is read past its limit."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from http import HTTPStatus
from types import MappingProxyType

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from medinterp.api.validators import KEPT
from medinterp.web.peers import path_of


class PrivateResponses:
    """Headers that keep answers out of caches and away from content sniffing."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on and add the headers to the answer."""

        async def send_private(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                if headers.get("Cache-Control") != KEPT:
                    headers["Cache-Control"] = "no-store"
                headers["X-Content-Type-Options"] = "nosniff"
                headers["Referrer-Policy"] = "no-referrer"
                headers["Cross-Origin-Resource-Policy"] = "same-origin"
            await send(message)

        await self._app(scope, receive, send_private)


class BodyLimit:
    """Stops reading a request's body as soon as it is longer than the limit (HTTP 413).

    A body that declares its length is refused before its first byte is read. max_bytes: asked at every request, for
    limits may change; other_bytes: of what is no form with files; such a body is parsed in one piece, and everybody
    waits meanwhile. forms_at, others_at: limits of forms and of other bodies at single addresses.
    """

    def __init__(
        self,
        app: ASGIApp,
        max_bytes: Callable[[], int],
        other_bytes: int,
        forms_at: Mapping[str, Callable[[], int]] = MappingProxyType({}),
        others_at: Mapping[str, Callable[[], int]] = MappingProxyType({}),
    ) -> None:
        self._forms_at, self._others_at = forms_at, others_at
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
        path = path_of(scope)
        if is_form:
            limit = self._forms_at.get(path, self._max_bytes)()
        else:
            limit = self._others_at[path]() if path in self._others_at else self._other_bytes
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
