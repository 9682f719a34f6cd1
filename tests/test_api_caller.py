"""Who asks reaches the model's deployment, plain and streamed, and is told apart by address and proxy."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from pathlib import Path
from unittest.mock import Mock

import pytest

from deployments.backend import ServeBackend
from medinterp.api.access.settings import AccessSettings
from medinterp.api.backend import ReadingTask
from medinterp.api.caller import CALLER
from medinterp.types import Explanation, Film
from tests.api_access import bearer, guarded
from tests.api_samples import sample_film
from tests.api_service import Service
from tests.test_api_http import EVENTS
from tests.test_serve_backend import ANSWER, TASK, Handle


@pytest.mark.parametrize("trusted", [True, False])
def test_a_request_has_a_caller(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trusted: bool) -> None:
    """By the address that a trusted proxy forwards; what anybody else says of it counts for nothing."""
    told: list[str] = []
    proxies = ("127.0.0.1",) if trusted else ()
    service = Service(tmp_path, access=AccessSettings(allowed_hosts=("*",), trusted_proxies=proxies))
    backend = service.backend
    read, aloud = type(backend).read, type(backend).read_aloud

    async def noted(film: Film, task: ReadingTask, prior: Film | None = None) -> Explanation:
        told.append(CALLER.get())
        return await read(backend, film, task, prior)

    async def noted_aloud(
        film: Film, task: ReadingTask, prior: Film | None = None
    ) -> AsyncGenerator[str | Explanation]:
        told.append(CALLER.get())
        async for item in aloud(backend, film, task, prior):
            yield item

    monkeypatch.setattr(backend, "read", noted)
    monkeypatch.setattr(backend, "read_aloud", noted_aloud)
    with service.client:
        for headers in ({}, {"X-Forwarded-For": "192.0.2.1"}, {"X-Forwarded-For": "192.0.2.2"}):
            assert service.post(headers).status_code == 201
            assert service.post({**headers, **EVENTS}).status_code == 200
    plain, streamed = told[::2], told[1::2]
    assert plain == streamed and len(set(plain)) == (3 if trusted else 1)
    assert all(len(one) == 16 and "192" not in one for one in plain)


def test_keys_share_by_key_wherever_they_ask_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    with guarded(tmp_path, trusted_proxies=["127.0.0.1"]) as (service, keys):
        read = service.backend.read

        async def noted(film: Film, task: ReadingTask, prior: Film | None = None) -> Explanation:
            told.append(CALLER.get())
            return await read(film, task, prior)

        monkeypatch.setattr(service.backend, "read", noted)
        for name, address in (("ward", "192.0.2.1"), ("ward", "192.0.2.2"), ("clinic", "192.0.2.1")):
            assert service.post({**bearer(keys[name]), "X-Forwarded-For": address}).status_code == 201
    first, again, other = told
    assert first == again != other and "ward" not in first


def test_the_caller_goes_to_the_model(monkeypatch: pytest.MonkeyPatch) -> None:
    generation = Handle(ANSWER)
    backend = ServeBackend(generation, Handle(ANSWER), Handle(), Mock(), ("phantom",))

    async def read() -> None:
        CALLER.set("somebody")
        await backend.read(sample_film(), TASK)

    asyncio.run(read())
    assert generation.calls[0].arguments[2] == "somebody"
