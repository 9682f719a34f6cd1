"""The id of a request: a client's own where it is short and plain, else a new one; in every answer and log line."""

from __future__ import annotations

import re
import secrets
from collections.abc import Sequence
from contextvars import ContextVar

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

HEADER = "X-Request-ID"
REQUEST_ID: ContextVar[str | None] = ContextVar("REQUEST_ID", default=None)
"""Of the request that is being answered."""

_RAW = HEADER.lower().encode()
_PLAIN = re.compile(r"[A-Za-z0-9._-]{1,64}")


def plain_id(told: str | None) -> str:
    """What a client calls its request when that is at most 64 of A-Z a-z 0-9 . _ -, else 128 random bits in hex."""
    return told if told is not None and _PLAIN.fullmatch(told) else secrets.token_hex(16)


class RequestIds:
    """Sees to it that a request has one id, a plain one, from here inwards and in its answer.

    It stands in the applications, and before Serve's own middleware in its proxy (deployments/edge.py), which takes
    whatever a client sends. dropped: headers that a client has no business to send; nobody behind sees them.
    """

    def __init__(self, app: ASGIApp, dropped: Sequence[str] = ()) -> None:
        self._app = app
        self._dropped = frozenset(name.lower().encode("latin-1") for name in (HEADER, *dropped))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on under its id."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        told = Headers(scope=scope).getlist(HEADER)
        request_id = plain_id(told[0] if len(told) == 1 else None)
        headers = [(name, value) for name, value in scope["headers"] if name.lower() not in self._dropped]
        scope = {**scope, "headers": [*headers, (_RAW, request_id.encode())]}
        REQUEST_ID.set(request_id)

        async def send_named(message: Message) -> None:
            if message["type"] == "http.response.start":
                # Once, however many named it further inside.
                told = [(name, value) for name, value in message["headers"] if name.lower() != _RAW]
                message = {**message, "headers": [*told, (_RAW, request_id.encode())]}
            await send(message)

        await self._app(scope, receive, send_named)
