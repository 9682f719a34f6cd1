"""Who asks: told to the model's deployment, so that one caller's many requests keep no other one waiting."""

from __future__ import annotations

import hashlib
from contextvars import ContextVar

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

CALLER: ContextVar[str] = ContextVar("CALLER", default="")
"""Of the request that is being answered."""


class Callers:
    """Tells callers apart by their address, and by what proxies say of it.

    It is for sharing alone, no proof of anybody: whoever forges the header gets more turns, and nothing else.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, its caller noted."""
        if scope["type"] == "http":
            host = (scope.get("client") or ("",))[0]
            forwarded = Headers(scope=scope).get("x-forwarded-for", "")
            CALLER.set(hashlib.sha256(f"{host} {forwarded}".encode()).hexdigest()[:16])
        await self._app(scope, receive, send)
