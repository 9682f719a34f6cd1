"""Asking the model again over HTTP: maps on demand, and whether a map is true."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import msgpack
import pytest

from medinterp.api.app import create_api
from medinterp.api.backend import MeasuringTask
from medinterp.api.store.sqlite import SqliteStore
from medinterp.errors import MethodError, ServiceBusyError, StoreFullError
from tests.api_backend import FakeBackend, api_settings, png
from tests.api_service import Here, Service


@asynccontextmanager
async def service(directory: Path, **fields: Any) -> AsyncIterator[tuple[httpx.AsyncClient, FakeBackend, str]]:
    """A client, the backend, and the id of a report that is kept."""
    settings = api_settings(directory)
    assert settings.store.kind == "sqlite"
    store = SqliteStore(settings.store)
    backend = FakeBackend(store)
    app = create_api(backend, settings, store, Here(settings.limits.film()))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
        answer = await client.post("/reports", files={"image": ("film.png", png())})
        assert answer.status_code == 201
        for name, value in fields.items():
            setattr(backend, name, value)
        yield client, backend, answer.json()["id"]
    store.close()


def events_of(text: str) -> list[tuple[str, Any]]:
    blocks = [block for block in text.split("\n\n") if block.startswith("event:")]
    pairs = [block.split("\n", 1) for block in blocks]
    return [(name.removeprefix("event: "), json.loads(data.removeprefix("data: "))) for name, data in pairs]


def test_maps_on_demand_are_kept_with_the_report(tmp_path: Path) -> None:
    async def run() -> None:
        async with service(tmp_path) as (client, backend, report):
            missing = await client.get(f"/reports/{report}/maps", params={"method": "occlusion"})
            assert missing.status_code == 422
            assert "POST" in missing.json()["detail"]
            made = await client.post(f"/reports/{report}/maps", json={"method": "occlusion", "block": 2})
            assert made.status_code == 200, made.text
            assert made.json()["method"] == "occlusion"
            assert made.json()["signed"] is True
            assert made.json()["options"] == {"block": 2}
            assert backend.asked == [MeasuringTask("occlusion", {"block": 2})]
            again = await client.get(f"/reports/{report}/maps", params={"method": "occlusion"})
            assert again.json() == made.json()
            whole = (await client.get(f"/reports/{report}")).json()
            assert whole["methods"] == ["raw", "occlusion"]
            picture = await client.get(f"/reports/{report}/words/1/overlay.png", params={"method": "occlusion"})
            assert picture.status_code == 200
            packed = await client.post(
                f"/reports/{report}/maps", json={"method": "occlusion"}, headers={"Accept": "application/msgpack"}
            )
            assert msgpack.unpackb(packed.content)["method"] == "occlusion"
            last = await client.get(f"/reports/{report}/maps", params={"method": "occlusion"})
            assert last.json()["options"] == {}, "the last ones are kept"
            assert (await client.get(f"/reports/{report}")).json()["methods"] == ["raw", "occlusion"]

    asyncio.run(run())


def test_every_setting_of_a_method_can_be_asked_for(tmp_path: Path) -> None:
    """What `/methods` offers is what the request takes; the usual one has no options."""

    async def run() -> None:
        async with service(tmp_path) as (client, backend, report):
            methods = (await client.get("/methods")).json()["methods"]
            offered = {method["name"]: method["settings"] for method in methods if method["settings"]}
            assert offered.keys() == {"occlusion"}
            options = [setting["options"] for setting in offered["occlusion"]]
            assert options == [{}, {"coarse_to_fine": True}, {"block": 2}, {"block": 4}]
            for given in options:
                made = await client.post(f"/reports/{report}/maps", json={"method": "occlusion", **given})
                assert made.status_code == 200, made.text
                assert made.json()["options"] == given
            assert backend.asked == [MeasuringTask("occlusion", given) for given in options]

    asyncio.run(run())


def test_progress_comes_as_events_and_the_answer_last(tmp_path: Path) -> None:
    async def run() -> None:
        async with service(tmp_path) as (client, _, report):
            stream = {"Accept": "text/event-stream"}
            answer = await client.post(f"/reports/{report}/maps", json={"method": "edge_gradient"}, headers=stream)
            events = events_of(answer.text)
            assert [name for name, _ in events] == ["progress"] * 3 + ["maps"]
            assert events[0][1] == {"what": "edge_gradient", "done": 64, "of": 256}
            answer = await client.post(f"/reports/{report}/faithfulness", json={"words": "0-1"}, headers=stream)
            events = events_of(answer.text)
            assert [name for name, _ in events] == ["progress"] * 2 + ["faithfulness"]
            assert events[-1][1]["token_indices"] == [1, 2, 3]

    asyncio.run(run())


def test_a_map_is_judged(tmp_path: Path) -> None:
    async def run() -> None:
        async with service(tmp_path) as (client, _, report):
            answer = await client.post(f"/reports/{report}/faithfulness", json={"finding": 0, "method": "raw"})
            assert answer.status_code == 200, answer.text
            found = answer.json()
            assert found["verdict"] == "region"
            assert found["scores"]["srg"] == {"value": 0.6, "low": 0.5, "high": 0.7}

    asyncio.run(run())


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("maps", {"method": "nonsense"}, 422),
        ("maps", {"method": "raw"}, 422),
        ("maps", {"method": "occlusion", "block": 3}, 422),
        ("maps", {"method": "occlusion", "depth": 1}, 422),
        ("maps", {}, 422),
        ("faithfulness", {}, 422),
        ("faithfulness", {"words": "1", "finding": 0}, 422),
        ("faithfulness", {"words": "99"}, 422),
        ("faithfulness", {"words": "1", "method": "occlusion"}, 422),
    ],
)
def test_what_cannot_be_asked_is_refused(tmp_path: Path, path: str, body: dict[str, Any], status: int) -> None:
    async def run() -> None:
        async with service(tmp_path) as (client, backend, report):
            answer = await client.post(f"/reports/{report}/{path}", json=body)
            assert answer.status_code == status, answer.text
            assert answer.headers["content-type"] == "application/problem+json"
            assert path == "faithfulness" or not backend.asked
            unknown = await client.post(f"/reports/{'0' * 32}/{path}", json={"method": "occlusion", "words": "1"})
            assert unknown.status_code in (404, 422)

    asyncio.run(run())


def test_an_unknown_report_is_404(tmp_path: Path) -> None:
    async def run() -> None:
        async with service(tmp_path) as (client, backend, report):
            await client.delete(f"/reports/{report}")
            for path, body in (("maps", {"method": "occlusion"}), ("faithfulness", {"words": "1"})):
                assert (await client.post(f"/reports/{report}/{path}", json=body)).status_code == 404
            assert not backend.asked

    asyncio.run(run())


def test_failure_before_and_after_the_first_event(tmp_path: Path) -> None:
    async def run() -> None:
        stream = {"Accept": "text/event-stream"}
        async with service(tmp_path / "a", early=ServiceBusyError("busy")) as (client, _, report):
            answer = await client.post(f"/reports/{report}/maps", json={"method": "occlusion"}, headers=stream)
            assert answer.status_code == 503
        async with service(tmp_path / "b", late=MethodError("it broke")) as (client, _, report):
            answer = await client.post(f"/reports/{report}/maps", json={"method": "occlusion"}, headers=stream)
            assert events_of(answer.text)[-1][0] == "error"
            assert (await client.get(f"/reports/{report}")).json()["methods"] == ["raw"]

    asyncio.run(run())


def test_a_slow_answer_ends_at_the_limit_and_stops_the_work(tmp_path: Path) -> None:
    async def run() -> None:
        settings = api_settings(tmp_path, timeout_s=0.3)
        assert settings.store.kind == "sqlite"
        store = SqliteStore(settings.store)
        backend = FakeBackend(store)
        app = create_api(backend, settings, store, Here(settings.limits.film()))
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
            made = await client.post("/reports", files={"image": ("film.png", png())})
            backend.delay_s = 0.2
            answer = await client.post(f"/reports/{made.json()['id']}/maps", json={"method": "occlusion"})
            assert answer.status_code == 504
            assert backend.stopped == 1
        store.close()

    asyncio.run(run())


def test_an_answer_outlives_a_full_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the model was asked for is answered, though there is no room to keep it."""
    service = Service(tmp_path)
    place = f"/reports/{service.report()}"

    def full(*_: object) -> None:
        raise StoreFullError("full")

    monkeypatch.setattr(service.store, "update", full)
    for question, body in (
        ("faithfulness", {"words": "1", "method": "raw"}),
        ("text", {"words": "1"}),
        ("reliance", {}),
    ):
        answer = service.client.post(f"{place}/{question}", json=body)
        assert answer.status_code == 200, (question, answer.text)
