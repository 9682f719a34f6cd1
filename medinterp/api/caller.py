"""Who asks: told to the model's deployment, so that one caller's many requests keep no other one waiting."""

from __future__ import annotations

import hashlib
from contextvars import ContextVar

from starlette.types import ASGIApp, Receive, Scope, Send

from medinterp.api.access.principal import VISIT

CALLER: ContextVar[str] = ContextVar("CALLER", default="")
"""Of the request that is being answered."""


class Callers:
    """Tells callers apart by their key, and where nobody is asked for one by their address.

    It stands behind the door, which knows both; what is forwarded is believed of trusted proxies alone.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, its caller noted."""
        if scope["type"] == "http":
            visit = VISIT.get()
            who = "" if visit is None else visit.owner or visit.address
            CALLER.set(hashlib.sha256(who.encode()).hexdigest()[:16])
        await self._app(scope, receive, send)
