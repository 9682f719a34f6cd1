"""What Serve's proxies run around every request, named by RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH."""

from __future__ import annotations

from starlette.middleware import Middleware

from medinterp.api.edge import DOOR, Edge
from medinterp.web.request_id import RequestIds

DROPPED = (
    "x-request-timeout-seconds",
    "x-request-disconnect-disabled",
    "serve_multiplexed_model_id",
    "serve-multiplexed-model-id",
)
"""Hints of Serve's own balancer to its replicas, which a client must not give: the first sets or ends the time limit,
the second has an answer made that nobody waits for. Their settings stand in serve_config.yaml."""


def middlewares() -> list[Middleware]:
    """Called by a proxy when it starts. The last one is the first to see a request."""
    return [Middleware(Edge), Middleware(RequestIds, dropped=DROPPED)]


def close_door(_: object) -> int:
    """Run inside a proxy: new requests are refused from now on. Returns how many calls of the API are under way."""
    DOOR.closed = True
    return DOOR.under_way
