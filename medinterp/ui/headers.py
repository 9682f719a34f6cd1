"""Headers of every answer of the page: it loads nothing from elsewhere and tells nobody where it was."""

from __future__ import annotations

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

GRADIO_POLICY = "; ".join(
    (
        "default-src 'self'",
        "img-src 'self' blob: data:",
        "font-src 'self' data:",
        "style-src 'self' 'unsafe-inline'",
        # Gradio configures itself by inline scripts and compiles its HTML templates.
        "script-src 'self' 'unsafe-inline' 'unsafe-eval'",
        "object-src 'none'",
        "base-uri 'self'",
        "form-action 'self'",
    )
)
"""For what Gradio serves; the reading room names its own, which allows its script and its style alone."""


class PageHeaders:
    """Adds the policy headers, and no-cache, unless the answer names its own."""

    def __init__(self, app: ASGIApp, ancestors: str) -> None:
        """ancestors: the directive that says who may frame the page."""
        self._app = app
        self._policy = f"{GRADIO_POLICY}; {ancestors}"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on and add the headers to the answer."""

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.setdefault("Cache-Control", "no-cache")
                headers.setdefault("Content-Security-Policy", self._policy)
                headers["X-Content-Type-Options"] = "nosniff"
                headers["Referrer-Policy"] = "no-referrer"
            await send(message)

        await self._app(scope, receive, send_with_headers)
