"""Who asks reaches the model's deployment, plain and streamed, and is told apart by address and proxy."""

# ruff: noqa: F811 - a fixture is imported, and named again where it is used

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

import pytest

from deployments.backend import ServeBackend
from medinterp.api.backend import ReadingTask
from medinterp.api.caller import CALLER
from medinterp.types import Explanation, Film
from tests.api_samples import sample_film
from tests.api_service import Service, service  # noqa: F401 - pytest finds fixtures by name
from tests.test_api_http import EVENTS
from tests.test_serve_backend import ANSWER, TASK, Handle


def test_a_request_has_a_caller(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
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
    for headers in ({}, {"X-Forwarded-For": "192.0.2.1"}, {"X-Forwarded-For": "192.0.2.2"}):
        assert service.post(headers).status_code == 201
        assert service.post({**headers, **EVENTS}).status_code == 200
    plain, streamed = told[::2], told[1::2]
    assert plain == streamed and len(set(plain)) == 3
    assert all(len(one) == 16 and "192" not in one for one in plain)


def test_the_caller_goes_to_the_model(monkeypatch: pytest.MonkeyPatch) -> None:
    generation = Handle(None)
    backend = ServeBackend(generation, Handle(ANSWER), Handle())

    async def read() -> None:
        CALLER.set("somebody")
        await backend.read(sample_film(), TASK)

    asyncio.run(read())
    assert generation.calls[0].arguments[2] == "somebody"
