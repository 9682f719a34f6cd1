"""Comparisons over HTTP: other words, changed films, the whole report."""

from __future__ import annotations

import asyncio
import json
import logging
from pathlib import Path
from typing import Any

import httpx
import msgpack
import pytest

from medinterp.api.backend import ComparingTask
from medinterp.api.schema_sensitivity import MAX_QUESTIONS, ComparisonModel, ReportComparisonModel
from medinterp.errors import GenerationCancelled, PromptError, ServiceBusyError
from medinterp.imaging.perturb import PERTURBATIONS
from tests.sensitivity_samples import sample_comparison, sample_report_comparison
from tests.test_api_asking import events_of, service

QUESTIONS = ["Is there a pleural effusion?", "Pleural fluid?", "Is fluid seen in the pleura?"]
STREAM = {"Accept": "text/event-stream"}


def test_questions_are_compared(tmp_path: Path) -> None:
    async def run() -> None:
        async with service(tmp_path) as (client, backend, report):
            body = {"questions": [f" {QUESTIONS[0]} ", *QUESTIONS[1:]], "methods": ["raw", "occlusion", "raw"]}
            answer = await client.post(f"/reports/{report}/sensitivity", json={**body, "seed": 3})
            assert answer.status_code == 200, answer.text
            assert answer.headers["cache-control"] == "no-store"
            assert backend.asked == [ComparingTask(tuple(QUESTIONS), ("raw", "occlusion"), None, 3)]
            sample = sample_comparison(QUESTIONS, ("raw", "occlusion"), None, 3)
            assert ComparisonModel.model_validate_json(answer.content) == ComparisonModel.model_validate(sample)
            found = answer.json()
            assert (found["kind"], found["consistency"]) == ("question", 0.5)
            assert [one["name"] for one in found["variants"]] == ["paraphrase"] * 2 + list(PERTURBATIONS)
            assert found["variants"][0]["shifts"] == [
                {"method": "raw", "bits": 0.009, "kept": 1.0, "other_answer": False},
                {"method": "occlusion", "bits": None, "kept": None, "other_answer": False},
            ]

    asyncio.run(run())


def test_without_questions_the_whole_report_is_compared(tmp_path: Path) -> None:
    async def run() -> None:
        async with service(tmp_path) as (client, backend, report):
            for body in ({}, {"questions": []}):
                answer = await client.post(f"/reports/{report}/sensitivity", json=body)
                assert answer.status_code == 200, answer.text
                assert answer.json()["kind"] == "report"
            body = {"perturbations": ["contrast"], "methods": []}
            packed = await client.post(
                f"/reports/{report}/sensitivity", json=body, headers={"Accept": "application/msgpack"}
            )
            sample = sample_report_comparison((), ("contrast",), 0)
            assert packed.headers["content-type"] == "application/msgpack"
            found = msgpack.unpackb(packed.content)
            assert ReportComparisonModel.model_validate(found) == ReportComparisonModel.model_validate(sample)
            told = {one["change"]: one for one in found["variants"][0]["findings"]}
            assert set(told) == {"same", "moved", "hedged", "gone", "new"}
            assert told["hedged"]["before"] == {"status": "present", "side": "left", "zones": ["lower"]}
            assert told["hedged"]["after"] == {"status": "uncertain", "side": "left", "zones": ["lower"]}
            assert backend.asked == [ComparingTask(), ComparingTask(), ComparingTask((), (), ("contrast",))]

    asyncio.run(run())


def test_progress_comes_as_events_and_the_comparison_last(tmp_path: Path) -> None:
    async def run() -> None:
        async with service(tmp_path) as (client, _, report):
            plain = await client.post(f"/reports/{report}/sensitivity", json={"questions": QUESTIONS})
            answer = await client.post(
                f"/reports/{report}/sensitivity", json={"questions": QUESTIONS}, headers=STREAM
            )
            events = events_of(answer.text)
            assert [name for name, _ in events] == ["progress", "progress", "sensitivity"]
            assert events[1][1] == {"what": "sensitivity", "done": 2, "of": 2}
            assert events[-1][1] == plain.json()

    asyncio.run(run())


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({"questions": ["Q?", " "]}, "a question is empty"),
        ({"questions": ["Tube?", "tube", " Tube? "]}, "twice"),
        ({"questions": ["x" * 8001]}, "longer than 8000 characters"),
        ({"questions": [f"Q{k}?" for k in range(MAX_QUESTIONS + 1)]}, f"at most {MAX_QUESTIONS} items"),
        ({"questions": "Q?"}, "body.questions"),
        ({"methods": ["tea leaves"]}, "no method 'tea leaves'"),
        ({"perturbations": ["blur"]}, "no perturbation 'blur'; there are: noise, "),
        ({"seed": -1}, "body.seed"),
        ({"prompt": "Q?"}, "body.prompt"),
    ],
)
def test_what_cannot_be_compared_is_refused(tmp_path: Path, body: dict[str, Any], says: str) -> None:
    async def run() -> None:
        async with service(tmp_path) as (client, backend, report):
            for headers in ({}, STREAM):
                answer = await client.post(f"/reports/{report}/sensitivity", json=body, headers=headers)
                assert answer.status_code == 422, answer.text
                assert answer.headers["content-type"] == "application/problem+json"
                assert says in answer.json()["detail"]
            assert not backend.asked

    asyncio.run(run())


def test_an_unknown_report_is_404(tmp_path: Path) -> None:
    async def run() -> None:
        async with service(tmp_path) as (client, backend, report):
            assert (await client.post("/reports/nonsense/sensitivity", json={})).status_code == 404
            await client.delete(f"/reports/{report}")
            assert (await client.post(f"/reports/{report}/sensitivity", json={})).status_code == 404
            assert not backend.asked

    asyncio.run(run())


def test_failure_before_and_after_the_first_event(tmp_path: Path) -> None:
    async def run() -> None:
        for error, status in ((PromptError("no words"), 422), (ServiceBusyError("busy"), 503)):
            async with service(tmp_path / error.args[0], early=error) as (client, _, report):
                answer = await client.post(f"/reports/{report}/sensitivity", json={}, headers=STREAM)
                assert answer.status_code == status
                assert answer.json()["detail"] == error.args[0]
        async with service(tmp_path / "late", late=GenerationCancelled("it ended")) as (client, _, report):
            answer = await client.post(f"/reports/{report}/sensitivity", json={}, headers=STREAM)
            assert answer.status_code == 200
            assert events_of(answer.text)[-1][0] == "error"
            assert (await client.post(f"/reports/{report}/sensitivity", json={})).status_code == 503

    asyncio.run(run())


def test_who_goes_away_stops_the_work(tmp_path: Path) -> None:
    async def run() -> None:
        async with service(tmp_path, delay_s=30.0) as (client, backend, report):
            asking = asyncio.create_task(client.post(f"/reports/{report}/sensitivity", json={}, headers=STREAM))
            while not backend.asked:
                await asyncio.sleep(0.01)
            asking.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asking
            assert backend.stopped == 1

    asyncio.run(run())


def test_the_changes_that_can_be_asked_for_are_told(tmp_path: Path) -> None:
    async def run() -> None:
        async with service(tmp_path) as (client, _, _):
            found = (await client.get("/perturbations")).json()["perturbations"]
            assert [(one["name"], one["meaning"]) for one in found] == [
                (one.name, one.meaning) for one in PERTURBATIONS.values()
            ]
            assert [one["name"] for one in found if one["mirrors"]] == ["flip"]

    asyncio.run(run())


def test_questions_and_answers_are_neither_logged_nor_kept(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def run() -> httpx.Response:
        async with service(tmp_path) as (client, _, report):
            before = (await client.get(f"/reports/{report}")).json()
            answer = await client.post(f"/reports/{report}/sensitivity", json={"questions": ["Is Mrs. Miller ill?"]})
            assert (await client.get(f"/reports/{report}")).json() == before
            return answer

    with caplog.at_level(logging.DEBUG, logger="medinterp"):
        answer = asyncio.run(run())
    assert json.loads(answer.text)["question"] == "Is Mrs. Miller ill?"
    assert "Miller" not in caplog.text
    for path in tmp_path.rglob("*"):
        assert path.is_dir() or b"Miller" not in path.read_bytes()
