"""What stands before Serve's own middleware in its HTTP proxies.

Serve calls `middlewares` in each proxy, where the environment names it:
RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH=deployments.edge:middlewares (`python -m deployments` sets it).
"""

from __future__ import annotations

from starlette.middleware import Middleware

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
    """Called by Serve. The last one is the first to see a request."""
    return [Middleware(RequestIds, dropped=DROPPED)]
