"""What every word loses with another film, over HTTP: asked of the model once, then kept with the report."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
import pytest

from medinterp.api.answers import explanation_model
from medinterp.api.backend import RelianceTask
from medinterp.api.schema_sources import RelianceModel
from medinterp.api.source_answers import reliance_model
from medinterp.errors import SelectionError, ServiceBusyError
from tests.api_samples import sample_explanation
from tests.sources_samples import sample_reliance
from tests.test_api_asking import events_of, service

STREAM = {"Accept": "text/event-stream"}
MSGPACK = {"Accept": "application/msgpack"}
WORDS = [
    {"index": 0, "logprob": -0.25, "reliance": 0.5, "blank_drop": 0.0, "swap_drops": [0.5, -0.25]},
    {"index": 1, "logprob": -1.25, "reliance": 4.5, "blank_drop": 2.5, "swap_drops": [3.0, 4.5]},
    {"index": 2, "logprob": -1.5, "reliance": 0.0, "blank_drop": 0.25, "swap_drops": [-0.125, 0.0]},
]


def test_the_model_is_asked_once_and_the_report_keeps_the_answer(tmp_path: Path) -> None:
    async def run() -> None:
        async with service(tmp_path) as (client, backend, report):
            words = (await client.get(f"/reports/{report}")).json()["report"]["words"]
            assert [word["reliance"] for word in words] == [None] * 3
            answer = await client.post(f"/reports/{report}/reliance")
            assert answer.status_code == 200, answer.text
            assert answer.json() == {"id": report, "films": 2, "words": WORDS}
            again = await client.post(f"/reports/{report}/reliance", json={})
            packed = await client.post(f"/reports/{report}/reliance", headers=MSGPACK)
            assert again.json() == answer.json()
            assert RelianceModel.model_validate(msgpack.unpackb(packed.content)).model_dump(mode="json") == again.json()
            assert backend.asked == [RelianceTask()]
            words = (await client.get(f"/reports/{report}")).json()["report"]["words"]
            assert [word["reliance"] for word in words] == [0.5, 4.5, 0.0]
            exported = json.loads((await client.get(f"/reports/{report}/export?format=json")).content)
            assert exported["reliance"]["reliance"] == [0.5, 4.5, 0.0]
            await client.post(f"/reports/{report}/maps", json={"method": "occlusion"})
            await client.post(f"/reports/{report}/text", json={"words": "1"})
            assert backend.stored(report).reliance is not None, "what is kept later leaves it"

    asyncio.run(run())


def test_events_end_with_the_answer(tmp_path: Path) -> None:
    async def run() -> None:
        async with service(tmp_path) as (client, _, report):
            expected = {"id": report, "films": 2, "words": WORDS}
            told = events_of((await client.post(f"/reports/{report}/reliance", headers=STREAM)).text)
            assert told == [("progress", {"what": "reliance", "done": 2, "of": 3}), ("reliance", expected)]
            kept = events_of((await client.post(f"/reports/{report}/reliance", headers=STREAM)).text)
            assert kept == [("reliance", expected)], "nothing is worked on the second time"

    asyncio.run(run())


@pytest.mark.parametrize("body", [{"words": "1"}, {"swaps": 3}, [], "all", 1])
def test_only_the_whole_report_is_asked_about(tmp_path: Path, body: Any) -> None:
    async def run() -> None:
        async with service(tmp_path) as (client, backend, report):
            answer = await client.post(f"/reports/{report}/reliance", json=body)
            assert answer.status_code == 422, answer.text
            assert answer.headers["content-type"] == "application/problem+json"
            await client.delete(f"/reports/{report}")
            assert (await client.post(f"/reports/{report}/reliance")).status_code == 404
            assert (await client.post("/reports/none/reliance")).status_code == 404
            assert not backend.asked

    asyncio.run(run())


def test_failures_are_told_and_keep_nothing(tmp_path: Path) -> None:
    async def run() -> None:
        async with service(tmp_path / "a", early=ServiceBusyError("busy")) as (client, _, report):
            assert (await client.post(f"/reports/{report}/reliance")).status_code == 503
        async with service(tmp_path / "b", late=SelectionError("no word")) as (client, backend, report):
            answer = await client.post(f"/reports/{report}/reliance", headers=STREAM)
            assert [name for name, _ in events_of(answer.text)] == ["progress", "error"]
            assert (await client.post(f"/reports/{report}/reliance")).status_code == 422
            assert backend.stored(report).reliance is None
            backend.late = None
            assert (await client.post(f"/reports/{report}/reliance")).status_code == 200

    asyncio.run(run())


def test_a_word_that_no_token_wrote_is_left_out() -> None:
    sample = sample_explanation()
    first, second, third = sample.report.words
    report = replace(sample.report, words=(first, replace(second, token_indices=()), third))
    nobody = np.array([1.0, np.nan, 1.0], np.float32)
    reliance = sample_reliance()
    reliance = replace(reliance, reliance=reliance.reliance * nobody, blank_drop=reliance.blank_drop * nobody)
    assert [word.index for word in reliance_model("id", report, reliance).words] == [0, 2]
    kept = replace(sample, report=report, reliance=reliance)
    answer = explanation_model("id", kept, 0.0, with_maps=False)
    assert [word.reliance for word in answer.report.words] == [0.5, None, 0.0]
