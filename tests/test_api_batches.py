"""Batches over HTTP."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import msgpack
import pytest

from medinterp.api.schema_jobs import BatchModel
from tests.api_backend import png
from tests.api_service import problem
from tests.test_api_jobs import ASYNC, Jobs, accepted, running

BROKEN = b"no film"


@pytest.fixture
def jobs(tmp_path: Path) -> Iterator[Jobs]:
    with running(tmp_path) as service:
        yield service


def send(jobs: Jobs, films: list[bytes], headers: dict[str, str] | None = None, **form: Any) -> httpx.Response:
    files = [("image", (f"patient-{index}.png", film)) for index, film in enumerate(films)]
    return jobs.client.post("/batches", files=files, data=form, headers=headers)


def ended(jobs: Jobs, answer: httpx.Response) -> dict[str, Any]:
    """The batch once every job has ended."""
    assert answer.status_code == 202, answer.text
    deadline = time.monotonic() + 10
    while True:
        found = jobs.client.get("/" + answer.headers["location"])
        assert found.status_code == 200, found.text
        BatchModel.model_validate_json(found.content)
        batch: dict[str, Any] = found.json()
        if batch["state"] == "ended":
            return batch
        assert time.monotonic() < deadline, batch["counts"]
        time.sleep(0.02)


def test_each_film_has_a_job_and_a_broken_one_fails_alone(jobs: Jobs) -> None:
    first = send(jobs, [png(), BROKEN, png(seed=4)], prompt="Look.")
    assert [job["index"] for job in first.json()["jobs"]] == [0, 1, 2]
    batch = ended(jobs, first)
    assert batch["id"] == first.json()["id"] and batch["forgotten"] == 0
    assert batch["counts"] == {"queued": 0, "running": 0, "done": 2, "failed": 1, "cancelled": 0}
    assert [job["state"] for job in batch["jobs"]] == ["done", "failed", "done"]
    assert batch["jobs"][1]["problem"]["status"] == 400
    assert {job["batch"] for job in batch["jobs"]} == {batch["id"]}
    films = {jobs.client.get("/" + job["result"]).json()["film"]["sha256"] for job in batch["jobs"] if job["result"]}
    assert len(films) == 2 and {task.prompt for task in jobs.backend.tasks} == {"Look."}
    assert "patient" not in jobs.client.get("/" + first.headers["location"]).text
    packed = jobs.client.get("/" + first.headers["location"], headers={"Accept": "application/msgpack"})
    assert BatchModel.model_validate(msgpack.unpackb(packed.content)).counts.done == 2


def test_reports_are_given_by_the_films_number(jobs: Jobs) -> None:
    given = {"report.1": "No nodule.\r\nNo more.", "max_new_tokens": "9"}
    ended(jobs, send(jobs, [png(), png(seed=4)], **given))
    assert {task.report for task in jobs.backend.tasks} == {None, "No nodule.\nNo more."}
    assert {task.max_new_tokens for task in jobs.backend.tasks if task.report is None} == {9}
    assert problem(send(jobs, [png()], **{"report.1": "Of no film."}), 422)["detail"].startswith("`report.1` is of no")
    problem(send(jobs, [png()], **{"report.0": " "}), 422)
    problem(send(jobs, [png()], report="Of which?"), 422)


def test_what_is_wrong_with_all_is_said_at_once_and_nothing_is_kept(tmp_path: Path) -> None:
    with running(tmp_path, batch_films=2, open_per_caller=3) as jobs:
        problem(send(jobs, [png()] * 3), 422)
        problem(send(jobs, [png()], methods="none"), 422)
        problem(send(jobs, [png(), b"x" * 100_001]), 413)
        problem(send(jobs, [png()], surname="X"), 422)
        problem(jobs.client.post("/batches", data={"prompt": "Look."}), 422)
        assert jobs.kinds() == []


def test_a_body_that_is_too_long_is_not_read(tmp_path: Path) -> None:
    with running(tmp_path, batch_films=2, batch_bytes=10_000) as jobs:
        problem(send(jobs, [b"x" * 99_999] * 6), 413)


def test_a_full_store_keeps_nothing_of_a_batch(tmp_path: Path) -> None:
    with running(tmp_path, store_bytes=500_000, look_s=60.0) as jobs:
        problem(send(jobs, [bytes([seed]) * 90_000 for seed in range(8)]), 507)
        jobs.settled()
        ended(jobs, send(jobs, [png()]))


def test_a_batch_is_called_off(jobs: Jobs) -> None:
    jobs.backend.delay_s = 0.4
    place = "/" + send(jobs, [png(seed=seed) for seed in (1, 2, 3, 4, 5)]).headers["location"]
    deadline = time.monotonic() + 5
    while jobs.client.get(place).json()["counts"]["running"] < 2:
        assert time.monotonic() < deadline
    assert jobs.client.delete(place).status_code == 204
    batch = jobs.client.get(place).json()
    assert batch["counts"]["cancelled"] == 5 and batch["state"] == "ended"
    jobs.settled("batch", *["job"] * 5)
    assert len(jobs.backend.tasks) == 2 and jobs.store.usage().reports == 0
    assert jobs.client.delete(place).status_code == 204
    problem(jobs.client.get(place), 404)
    problem(jobs.client.delete(place), 404)
    assert jobs.kinds() == []


def test_a_batch_leaves_places_to_others(tmp_path: Path) -> None:
    with running(tmp_path, at_once=3, batch_at_once=2) as jobs:
        jobs.backend.delay_s = 0.5
        send(jobs, [png(seed=seed) for seed in (1, 2, 3, 4)])
        time.sleep(0.2)
        alone = accepted(jobs.post(ASYNC))
        jobs.until(alone, lambda job: job["state"] == "running", within_s=1.5)


def test_a_job_of_a_batch_may_be_forgotten_alone(jobs: Jobs) -> None:
    answer = send(jobs, [png(), png(seed=4)])
    batch = ended(jobs, answer)
    assert jobs.client.delete(f"/jobs/{batch['jobs'][0]['id']}").status_code == 204
    found = jobs.client.get("/" + answer.headers["location"]).json()
    assert found["forgotten"] == 1 and [job["index"] for job in found["jobs"]] == [1]
