"""The HTTP application over a fake backend, with a client: what tests of its routes share.

from tests.api_service import service  # noqa: F401 - pytest finds fixtures by name
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import httpx
import pytest
from fastapi.testclient import TestClient

from medinterp.api.access.settings import AccessSettings
from medinterp.api.app import create_api
from medinterp.api.store import open_store
from medinterp.imaging import read_film
from medinterp.imaging.workers import DecodingPool
from medinterp.types import Film
from tests.api_backend import FakeBackend, api_settings, png


class Here(DecodingPool):
    """Decodes at once and in this process: for tests of what is done with a film, not of how it is decoded."""

    def warm(self) -> None:
        """There are no workers."""

    async def read(self, data: bytes, *, window: str | None = None) -> Film:
        """Decode."""
        return read_film(data, limits=self._limits, window=window)


class Service:
    """The application, its backend and a client."""

    def __init__(
        self,
        directory: Path,
        lifetime_s: float = 3600,
        pool: DecodingPool | None = None,
        store_bytes: int = 50_000,
        when_full: Literal["evict", "refuse"] = "evict",
        access: AccessSettings | None = None,
        **limits: float,
    ) -> None:
        settings = api_settings(directory, lifetime_s, store_bytes, when_full, access, **limits)
        self.store = open_store(settings.store)
        self.backend = FakeBackend(self.store)
        self.app = create_api(self.backend, settings, self.store, pool or Here(settings.limits.film()))
        self.client = TestClient(self.app, raise_server_exceptions=False, client=("127.0.0.1", 50_000))

    def post(
        self, headers: dict[str, str] | None = None, image: bytes | None = None, **form: Any
    ) -> httpx.Response:
        files = {"image": ("film.png", png() if image is None else image, "image/png")}
        return self.client.post("/reports", files=files, data=form, headers=headers)

    def report(self) -> str:
        answer = self.post()
        assert answer.status_code == 201, answer.text
        return str(answer.json()["id"])


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    """Started, with the usual settings."""
    service = Service(tmp_path)
    with service.client:
        yield service


def problem(answer: httpx.Response, status: int) -> dict[str, Any]:
    """The problem document of an answer that has this status."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["cache-control"] == "no-store"
    document: dict[str, Any] = answer.json()
    assert document["status"] == status
    assert document["detail"]
    return document
