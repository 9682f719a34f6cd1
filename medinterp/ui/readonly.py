"""The page is read only: whatever is sent to it is refused unread."""

from __future__ import annotations

from http import HTTPStatus

from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

METHODS = ("GET", "HEAD")


class ReadOnly:
    """Refuses every method but GET and HEAD (405).

    Gradio has routes that take files and forms and write what they get, names included, to the directory for
    temporary files. The page uses none of them: films go to the HTTP API.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or answer it without a look at its body."""
        if scope["type"] == "http" and scope["method"] not in METHODS:
            refusal = PlainTextResponse(
                "The page takes nothing; films go to the HTTP API.",
                HTTPStatus.METHOD_NOT_ALLOWED,
                {"Allow": ", ".join(METHODS)},
            )
            await refusal(scope, receive, send)
            return
        await self._app(scope, receive, send)
