"""Replicas of the HTTP application over one store, each with an event loop of its own that may stop dead."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from concurrent.futures import Future
from pathlib import Path
from typing import Any, TypeVar

import httpx

from medinterp.api.app import create_api
from medinterp.api.jobs.settings import JobSettings
from medinterp.api.store import open_store
from tests.api_backend import FakeBackend, api_settings
from tests.api_service import Here

Answer = TypeVar("Answer")


class Replica:
    """One of them. `drop` stops it as a power cut does: nothing is cleaned up. `resume` lets it go on where it was."""

    def __init__(self, directory: Path, backend: type[FakeBackend] = FakeBackend, **jobs: Any) -> None:
        settings = api_settings(directory, store_bytes=2**24).model_copy(update={"jobs": JobSettings(**jobs)})
        self.store = open_store(settings.store)
        self.backend = backend(self.store)
        self._app = create_api(self.backend, settings, self.store, Here(settings.limits.film()))
        self._loop = asyncio.new_event_loop()
        self._lifespan = self._app.router.lifespan_context(self._app)
        self.resume()
        self.call(self._lifespan.__aenter__())
        self.client = httpx.AsyncClient(transport=httpx.ASGITransport(self._app), base_url="http://test")

    def call(self, work: Coroutine[Any, Any, Answer]) -> Answer:
        """Do something in its loop."""
        return self.begin(work).result(20)

    def begin(self, work: Coroutine[Any, Any, Answer]) -> Future[Answer]:
        """The same without waiting for it."""
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    def request(self, method: str, path: str, **asked: Any) -> httpx.Response:
        """Ask it."""
        return self.call(self.client.request(method, path, **asked))

    def drop(self) -> None:
        """From now on it does nothing."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def resume(self) -> None:
        """Go on."""
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    def end(self) -> None:
        """End it as it should."""
        if not self._thread.is_alive():
            self.resume()
        self.call(self.client.aclose())
        self.call(self._lifespan.__aexit__(None, None, None))
        self.drop()
        self._loop.run_until_complete(self._loop.shutdown_default_executor())
        self._loop.close()
