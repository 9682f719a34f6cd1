"""The HTTP application over a fake backend, listening on a port of this machine as it is served: for real clients."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.routing import Mount

from tests.api_service import Service
from tests.served import free_port


class Listening:
    """A service at `url`, in a thread."""

    def __init__(self, directory: Path, **limits: Any) -> None:
        self.service = Service(directory, **limits)
        self.backend, self.store = self.service.backend, self.service.store
        app = self.service.app
        outer = Starlette(routes=[Mount("/v1", app)], lifespan=lambda _: app.router.lifespan_context(app))
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        self._server = uvicorn.Server(
            uvicorn.Config(outer, host="127.0.0.1", port=port, interface="asgi3", log_config=None, log_level="critical")
        )
        self._thread = threading.Thread(target=lambda: asyncio.run(self._server.serve()), name="service")

    def start(self) -> None:
        """Return when it listens."""
        self._thread.start()
        while not self._server.started:
            if not self._thread.is_alive():
                raise AssertionError("the service did not start")
            self._thread.join(0.01)

    def stop(self) -> None:
        """Return when its thread has ended."""
        self._server.should_exit = True
        self._thread.join()

    def reset(self) -> None:
        """Nothing remembered, and good manners."""
        self.backend.tasks.clear()
        self.backend.asked.clear()
        self.backend.early = self.backend.late = None
        self.backend.delay_s = 0.0
        self.backend.stopped = 0


@contextmanager
def listening(directory: Path, **limits: Any) -> Iterator[Listening]:
    """Started, and stopped at the end."""
    served = Listening(directory, **limits)
    served.start()
    try:
        yield served
    finally:
        served.stop()
