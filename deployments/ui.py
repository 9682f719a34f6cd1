"""The ingress of application `ui`: the page. Fixed replicas; its queue and sessions live in one."""

from __future__ import annotations

from http import HTTPStatus

from fastapi import FastAPI
from ray import serve
from starlette.types import Message

from deployments.settings import UiArgs
from medinterp.errors import ServiceInterruptedError


@serve.ingress()
class UiDeployment:
    """Serves the Gradio page, which talks to the HTTP API from the browser."""

    def __init__(self, settings: UiArgs) -> None:
        """Keep the settings; Blocks cannot be pickled, so the page is built in the replica."""
        self._settings = settings
        self._app: FastAPI | None = None

    def __serve_build_asgi_app__(self) -> FastAPI:
        """Called by Serve after __init__."""
        from medinterp.ui import create_app

        self._app = create_app(**self._settings.model_dump())
        return self._app

    async def check_health(self) -> None:
        """Raise when the page cannot be had from the application itself; that takes milliseconds."""
        if self._app is not None and (status := await status_of(self._app, "/")) != HTTPStatus.OK:
            raise ServiceInterruptedError(f"the page answers {status}")


async def status_of(app: FastAPI, path: str) -> int:
    """What a GET answers, asked without a server."""
    found: list[int] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Message) -> None:
        if message["type"] == "http.response.start":
            found.append(message["status"])

    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": b"",
        "headers": [(b"host", b"127.0.0.1")],
        "client": ("127.0.0.1", 0),
        "server": ("127.0.0.1", 80),
    }
    await app(scope, receive, send)
    return found[0] if found else HTTPStatus.INTERNAL_SERVER_ERROR
