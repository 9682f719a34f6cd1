"""What Serve's proxies run around every request, named by RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH."""

from __future__ import annotations

from starlette.middleware import Middleware

from medinterp.api.edge import DOOR, Edge


def middlewares() -> list[Middleware]:
    """Called by a proxy when it starts."""
    return [Middleware(Edge)]


def close_door(_: object) -> int:
    """Run inside a proxy: new requests are refused from now on. Returns how many calls of the API are under way."""
    DOOR.closed = True
    return DOOR.under_way
