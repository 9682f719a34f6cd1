"""The page is read only: whatever is sent to it is refused unread, and no file of the machine is handed out."""

from __future__ import annotations

from http import HTTPStatus

from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

METHODS = ("GET", "HEAD")
CLOSED = ("file", "proxy", "stream", "custom_component", "deep_link", "upload_progress")
"""What Gradio's API would hand out: files of its cache for everything on this machine, other hosts' pages, streams."""


class ReadOnly:
    """Refuses every method but GET and HEAD (405), and what of Gradio's API hands out files (404).

    Gradio has routes that take files and forms and write what they get, names included, to the directory for
    temporary files, which it serves to everybody who has the address, allowed_paths or not. The page uses none of
    them: films go to the HTTP API.
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
        if scope["type"] == "http" and scope["path"].partition("/gradio_api/")[2].startswith(CLOSED):
            await PlainTextResponse("There are no files here.", HTTPStatus.NOT_FOUND)(scope, receive, send)
            return
        await self._app(scope, receive, send)
