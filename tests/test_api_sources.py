"""What drove some words, over HTTP: the text by word, the film by layer and head."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
import pytest

from medinterp.api.backend import HeadsTask, SourcesTask
from medinterp.api.schema_sources import HeadsModel, TextSourcesModel
from medinterp.api.selection import FindingSelection, WordSelection
from medinterp.errors import SelectionError, ServiceBusyError
from medinterp.explanation import KEPT_TEXT_SOURCES
from tests.sources_samples import sample_heads
from tests.test_api_asking import events_of, service

STREAM = {"Accept": "text/event-stream"}
MSGPACK = {"Accept": "application/msgpack"}


def test_text_sources_by_word_add_up(tmp_path: Path) -> None:
    async def run() -> None:
        async with service(tmp_path) as (client, backend, report):
            answer = await client.post(f"/reports/{report}/text", json={"words": "1"})
            assert answer.status_code == 200, answer.text
            found = answer.json()
            assert backend.asked == [SourcesTask(WordSelection(1, 1))]
            assert found == {
                "id": report,
                "token_indices": [2, 3],
                "logprob": -1.25,
                "film": {"attention": 0.375, "gradient": 1.0},
                "images": [{"attention": 0.25, "gradient": 1.5}, {"attention": 0.125, "gradient": -0.5}],
                "first_token": {"attention": 0.125},
                "template": {"attention": 0.0625, "gradient": -0.25},
                "punctuation": {"attention": 0.0625, "gradient": 0.75},
                "prompt": [
                    {"start": 0, "end": 8, "text": "Describe", "attention": 0.0625, "gradient": 0.5},
                    {"start": 9, "end": 12, "text": "the", "attention": 0.03125, "gradient": -0.125},
                    {"start": 13, "end": 17, "text": "film", "attention": 0.03125, "gradient": 0.0},
                ],
                "report": [
                    {"index": 0, "attention": 0.125, "gradient": -2.0},
                    {"index": 1, "attention": 0.125, "gradient": 0.25},
                ],
            }
            single = [found[name]["attention"] for name in ("film", "first_token", "template", "punctuation")]
            words = [word["attention"] for word in (*found["prompt"], *found["report"])]
            assert sum(single) + sum(words) == 1.0
            packed = await client.post(f"/reports/{report}/text", json={"finding": 0}, headers=MSGPACK)
            assert backend.asked[1] == SourcesTask(FindingSelection(0))
            assert TextSourcesModel.model_validate(msgpack.unpackb(packed.content)).model_dump(mode="json") == found

    asyncio.run(run())


def test_they_are_kept_with_the_report_and_exported(tmp_path: Path) -> None:
    async def run() -> None:
        async with service(tmp_path) as (client, backend, report):
            for words in ("0", "1", "0-1", "1"):
                assert (await client.post(f"/reports/{report}/text", json={"words": words})).status_code == 200
            exported = json.loads((await client.get(f"/reports/{report}/export?format=json")).content)
            assert [kept["token_indices"] for kept in exported["text_sources"]] == [[1], [1, 2, 3], [2, 3]]
            assert len(exported["text_sources"]) < KEPT_TEXT_SOURCES
            await client.post(f"/reports/{report}/maps", json={"method": "occlusion"})
            assert len(backend.stored(report).text_sources) == 3, "maps that are kept later leave them"
            assert (await client.get(f"/reports/{report}")).status_code == 200

    asyncio.run(run())


def test_maps_by_head_are_scaled_so_that_halves_hold_them(tmp_path: Path) -> None:
    async def run() -> None:
        async with service(tmp_path) as (client, backend, report):
            answer = await client.post(f"/reports/{report}/heads", json={"words": "1", "image": 1})
            assert answer.status_code == 200, answer.text
            assert backend.asked == [HeadsTask(WordSelection(1, 1), 1)]
            found = HeadsModel.model_validate_json(answer.content)
            sample = sample_heads((2, 3), 1)
            assert (found.id, found.token_indices, found.image) == (report, (2, 3), 1)
            assert (found.rows, found.columns, found.sliding_window) == (4, 5, 32)
            assert found.layer_types == ("sliding_attention", "full_attention")
            assert found.maps.dtype == np.float16 and float(found.maps.max()) == 1.0
            assert found.range == (0.0, found.scale) and found.scale == float(sample.maps.max())
            np.testing.assert_allclose(found.maps.astype(np.float32) * found.scale, sample.maps, rtol=1e-3)
            np.testing.assert_array_equal(found.mass, sample.mass)
            packed = await client.post(f"/reports/{report}/heads", json={"finding": 0}, headers=MSGPACK)
            plain = msgpack.unpackb(packed.content)
            assert len(plain["maps"]["data"]) == 2 * 2 * 3 * 4 * 5
            assert backend.stored(report).text_sources == ()

    asyncio.run(run())


def test_events_end_with_the_answer(tmp_path: Path) -> None:
    async def run() -> None:
        async with service(tmp_path) as (client, _, report):
            for path, last in (("text", "text_sources"), ("heads", "heads")):
                answer = await client.post(f"/reports/{report}/{path}", json={"words": "0-1"}, headers=STREAM)
                name, data = events_of(answer.text)[-1]
                assert (name, data["token_indices"]) == (last, [1, 2, 3])

    asyncio.run(run())


@pytest.mark.parametrize("path", ["text", "heads"])
@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({}, 422),
        ({"words": "1", "finding": 0}, 422),
        ({"words": "x"}, 422),
        ({"words": "99"}, 422),
        ({"finding": 7}, 422),
        ({"words": "1", "image": -1}, 422),
        ({"words": "1", "method": "raw"}, 422),
    ],
)
def test_what_cannot_be_asked_is_refused(tmp_path: Path, path: str, body: dict[str, Any], status: int) -> None:
    async def run() -> None:
        async with service(tmp_path) as (client, backend, report):
            answer = await client.post(f"/reports/{report}/{path}", json=body)
            assert answer.status_code == status, answer.text
            assert answer.headers["content-type"] == "application/problem+json"
            await client.delete(f"/reports/{report}")
            backend.asked.clear()
            assert (await client.post(f"/reports/{report}/{path}", json={"words": "1"})).status_code == 404
            assert not backend.asked

    asyncio.run(run())


@pytest.mark.parametrize("path", ["text", "heads"])
def test_failures_are_told_and_keep_nothing(tmp_path: Path, path: str) -> None:
    async def run() -> None:
        async with service(tmp_path / "a", early=ServiceBusyError("busy")) as (client, _, report):
            assert (await client.post(f"/reports/{report}/{path}", json={"words": "1"})).status_code == 503
        async with service(tmp_path / "b", late=SelectionError("no image 3")) as (client, backend, report):
            answer = await client.post(f"/reports/{report}/{path}", json={"words": "1"}, headers=STREAM)
            assert answer.status_code == 422, "nothing was sent before it"
            assert backend.stored(report).text_sources == ()

    asyncio.run(run())
